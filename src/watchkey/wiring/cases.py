"""The cases of a policy's test file, answered as the service would."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

import msgspec

from watchkey.engines import rego
from watchkey.flows.test_policy import Case
from watchkey.model.access import Decision, Link
from watchkey.model.ids import SubjectId
from watchkey.ports import PolicyEngine
from watchkey.rego import Trace
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.rules.roster import RosterIndex, index_roster
from watchkey.settings.cases import SOURCE as CASES
from watchkey.settings.cases import CaseFile
from watchkey.sources import roster_file
from watchkey.wiring.dry import dry_access
from watchkey.wiring.policies import policy_config

CASE_WINDOW: Final = timedelta(days=14)
"""How far ahead the rosters of policy cases are rendered: enough for a sentence to name one's own next shift."""


class CaseBench:
    """Answers the cases of one file as the service would, on the rosters that stand in it."""

    def __init__(self, file: CaseFile, policy: rego.Config | None = None, *, traces: list[Trace] | None = None) -> None:
        """`policy` is the one to try where the file names none; left out, the one that ships. Raises `ConfigError`.

        `traces` collects what of the policy ran.
        """
        self._file = file
        self._traces = traces
        self._config = policy_config(file.policy) if policy is None or file.policy is not None else policy
        self._engines: dict[str, PolicyEngine] = {}
        self._texts = {name: roster_file.read_located_roster(located) for name, located in file.rosters.items()}

    @property
    def modules(self) -> Mapping[str, str]:
        """The texts of the policy that is tried, by the name that traces have of them."""
        return self._config.modules

    async def ask(self, case: Case) -> Decision:
        """Decide one case. Raises `Malformed` when its parameters do not fit the policy."""
        rosters = [] if case.roster is None else [(self._index(case, case.roster), 1, case.read_ago)]
        links = self._file.links
        if links is None:
            people = [person for index, _, _ in rosters for person in index.roster.people]
            links = tuple(Link(subject=SubjectId(one.id), source=CASES, person=one.id) for one in people)
        policy = {resource.policy for resource in self._file.resources.values()}
        access = dry_access(
            rosters,
            dict.fromkeys(policy, self._engine(case)),
            Directory(resources=self._file.resources, links=Links(links), groups=self._file.groups),
            at=case.at,
            zone=self._file.zone,
        )
        return (await access.explain(case.request)).decision

    def _index(self, case: Case, name: str) -> RosterIndex:
        read_at = case.at - case.read_ago
        roster = roster_file.make_roster(self._texts[name], source=CASES, now=read_at, window=CASE_WINDOW)
        shifts = (*roster.shifts, *case.more_shifts)
        return index_roster(replace(roster, shifts=shifts, taken_at=case.taken_at or read_at))

    def _engine(self, case: Case) -> PolicyEngine:
        key = msgspec.json.encode(case.parameters, order="deterministic").decode()
        if key not in self._engines:
            parameters = {**self._config.parameters, **case.parameters}
            engine = rego.build(msgspec.structs.replace(self._config, parameters=parameters))
            self._engines[key] = engine if self._traces is None else engine.traced(self._traces)
        return self._engines[key]
