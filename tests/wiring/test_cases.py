"""A file of cases is answered on the roster and the instant that stand in it."""

import asyncio
from pathlib import Path

from watchkey.model.access import Allow, Reason
from watchkey.settings.cases import load_cases
from watchkey.wiring import CaseBench

CASES = """roster:
  people: {alice: {name: Alice}, bob: {name: Bob}}
  schedules: {q: {name: Q, layers: [{participants: [alice, bob], turn: daily, handoff: "09:00", from: 2026-06-30}]}}
  policies: {p: {name: P, levels: [[q]]}}
  services: {s: {name: S, policy: p}}
resources: {db: {privileges: [read], opened_by: [{service: s}]}}
at: 2026-06-30T12:00:00Z
cases:
  - {name: on call, ask: alice read db, want: allow}
  - {name: not yet, ask: bob read db, want: deny, reason: not_on_call}
"""


def test_each_case_is_decided_by_its_own_roster(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text(CASES)
    file = load_cases(tmp_path / "cases.yaml")
    bench = CaseBench(file)
    alice, bob = (asyncio.run(bench.ask(case)) for case in file.cases)
    assert isinstance(alice, Allow)
    assert bob.reason is Reason.NOT_ON_CALL
