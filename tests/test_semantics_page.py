"""The table of on-call semantics: each row names tests, each test exists, and no known case is missing."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs/reference/semantics.md").read_text(encoding="utf-8")
ROWS: Final = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Case ")]
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

CASES: Final = (
    "handoff at t", "inclusive at both ends", "while an allow, a session is live", "a margin around the handoff",
    "an override begins and ends inside", "shift-based override on one of two", "Lord Howe", "the end of the window",
    "a gap", "several layers", "several people at once", "several policies, at two levels", "levels 1, 2, 3 and none",
    "role collapse", "vacation", "a permanent target", "no policy uses", "does not ask", "renamed", "deactivated",
    "merged into one", "plus tags", "one address in two sources", "one id of two kinds", "acknowledged by a service",
    "ran out", "reassigned", "delegated", "declined", "`acknowledgements: null`", "merged into another",
    "longer than a month", "opened by the one who profits", "depends on this one", "time of grace", "10,000 rows",
    "move between two pages", "beyond the end", "429", "401, 403, 404, 5xx", "HTML", "certificate", "unknown service",
    "an outage over a handoff", "clock is off", "much shorter", "a signature that is bad", "a replay", "out of order",
    "unknown type", "55 KB", "switches the subscription off",
)  # fmt: skip
"""What is known to happen at providers, by words of its row; a case that is found later is added here first."""


@pytest.mark.parametrize("case", CASES)
def test_each_known_case_has_its_row(case: str) -> None:
    assert [row for row in ROWS if case in row.split("|")[1]], f"no row for: {case}"


def test_each_row_names_tests_and_each_test_exists() -> None:
    assert len(ROWS) >= 50
    missing = [row.split("|")[1].strip() for row in ROWS if not NAMED.findall(row.split("|")[3])]
    assert missing == []
    gone = [
        f"{path}::{name}"
        for path, name in NAMED.findall(PAGE)
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert gone == []


def test_a_row_has_three_cells_and_a_case_stands_once() -> None:
    assert {row.count("|") for row in ROWS} == {4}
    cases = [row.split("|")[1] for row in ROWS]
    assert len(set(cases)) == len(cases)
