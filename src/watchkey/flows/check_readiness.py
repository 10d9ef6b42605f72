"""Will the next days go well? For each resource and shift: would its holder get in, and is there always somebody.

The answers come from the same decision as in the service, asked for the instants at which the shifts begin.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from watchkey.model.access import AccessRequest, Agreement, Allow, Decision, Reason, Resource, Subject
from watchkey.model.ids import CallerId, PrivilegeName, SourceName, SubjectId
from watchkey.rules.identity import Links
from watchkey.rules.readiness import CheckedTurn, Readiness, Turn, gaps_of, nothing_to_check, stands_by, turns_of
from watchkey.rules.roster import RosterIndex

CALLER: Final = CallerId("readiness")


class Told(Protocol):
    """A decision with what led to it."""

    @property
    def decision(self) -> Decision:
        """The decision."""
        ...


class Explains(Protocol):
    """The decision without effect."""

    async def explain(self, request: AccessRequest, *, at: datetime | None = None, is_escalated: bool = False) -> Told:
        """The decision as it would be at that instant; recorded nowhere."""
        ...


class CheckReadiness:
    """The use case, on rosters that were read far enough ahead."""

    def __init__(self, *, explains: Explains, rosters: Mapping[SourceName, RosterIndex], links: Links) -> None:
        self._explains = explains
        self._rosters = rosters
        self._links = links

    async def check(
        self, resource: Resource, start: datetime, end: datetime, privileges: Sequence[PrivilegeName] = ()
    ) -> Readiness:
        """One resource over `[start, end)`; with `privileges`, for those alone. What was not read is not judged."""
        wanted = tuple(one for one in resource.privileges if not privileges or one in privileges)
        remark = nothing_to_check(resource)
        always_both = resource.agreement is Agreement.ALWAYS
        scopes = (*resource.scopes, *resource.second_scopes) if always_both else resource.scopes
        sources = dict.fromkeys(scope.source for scope in scopes)
        unread = tuple(name for name in sources if name not in self._rosters)
        read = [self._rosters[name] for name in sources if name in self._rosters]
        end = min([end, *(index.roster.window_ends_at for index in read)])
        if remark or not wanted or not read:
            return Readiness(resource=resource, starts_at=start, ends_at=end, unread=unread, remark=remark)
        turns = [
            await self._checked(resource, turn, wanted)
            for turn in turns_of(resource, self._rosters, self._links, start, end)
        ]
        return Readiness(
            resource=resource,
            starts_at=start,
            ends_at=end,
            turns=tuple(turns),
            # Where one of several sources is unread, a gap may be nothing but that.
            gaps=() if unread else gaps_of(wanted, turns, start, end),
            unread=unread,
            unknown=tuple(
                scope
                for scope in (*resource.scopes, *resource.second_scopes)
                if scope.source in self._rosters and not self._rosters[scope.source].knows(scope)
            ),
        )

    async def _checked(self, resource: Resource, turn: Turn, privileges: Sequence[PrivilegeName]) -> CheckedTurn:
        if turn.subject is None:
            return CheckedTurn(turn=turn, opens=(), problem=turn.unlinked)
        decisions = {privilege: await self._ask(resource, turn, turn.subject, privilege) for privilege in privileges}
        opens = tuple(privilege for privilege, decision in decisions.items() if isinstance(decision, Allow))
        first = next(iter(decisions.values()))
        problem: Reason | None = None if opens else first.reason
        return CheckedTurn(
            turn=turn,
            opens=opens,
            problem=problem,
            denied={one: decision.reason for one, decision in decisions.items() if not isinstance(decision, Allow)},
            sentence="" if opens else first.sentence,
            is_standby=stands_by(resource, turn),
        )

    async def _ask(self, resource: Resource, turn: Turn, subject: SubjectId, privilege: PrivilegeName) -> Decision:
        request = AccessRequest(subject=Subject(id=subject), privilege=privilege, resource=resource.id, caller=CALLER)
        is_escalated = stands_by(resource, turn)
        return (await self._explains.explain(request, at=turn.starts_at, is_escalated=is_escalated)).decision
