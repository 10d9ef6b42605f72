"""A short, bounded time after somebody's part in an incident has ended, for who held the privilege at that instant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from watchkey.model.access import Evidence, FactKind
from watchkey.model.oncall import EndKind, Involvement, Scope, ScopeKind
from watchkey.rules.roster import RosterIndex

GRACE_MAX: Final = timedelta(minutes=30)
"""No configuration gives more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Somebody's part in an incident, as it stood when an allow rested on it, and when it was seen to have ended."""

    was: Evidence
    ended_at: datetime

    def until(self, grace: timedelta) -> datetime:
        """The end of the grace, which is absolute."""
        return self.ended_at + max(timedelta(0), min(grace, GRACE_MAX))

    def evidence(self, scope: Scope, grace: timedelta) -> Evidence:
        """What it still proves, as a fact of its own kind."""
        return replace(
            self.was,
            kind=FactKind.GRACE,
            scope=scope,
            starts_at=self.ended_at,
            until=self.until(grace),
            end_kind=EndKind.EXACT,
        )


def partings(held: Iterable[Evidence], index: RosterIndex, now: datetime) -> Iterator[Parting]:
    """Which of the parts that an allow rests on a newer roster does not show any more; who declined parts for good."""
    for fact in held:
        if fact.kind is not FactKind.RESPONDING or fact.scope.source != index.source:
            continue
        if not is_at_it(fact, index) and not has_declined(fact, index):
            yield Parting(was=fact, ended_at=now)


def has_declined(fact: Evidence, index: RosterIndex) -> bool:
    """Whether the person is known to have declined that incident."""
    return any(
        responder.person == fact.person and responder.involvement is Involvement.DECLINED
        for incident in index.incidents(incident_scope(fact))
        if incident.id == fact.incident
        for responder in incident.responders
    )


def incident_scope(fact: Evidence) -> Scope:
    """Whose incident it is: the scope's, or that of the service at the far end of the path."""
    return Scope(fact.scope.source, ScopeKind.SERVICE, fact.path[0]) if fact.path else fact.scope


def is_at_it(fact: Evidence, index: RosterIndex) -> bool:
    """Whether the roster still shows that part of that person in that incident."""
    return any(
        incident.id == fact.incident
        and fact.involvement == (responder.role if responder.involvement is Involvement.ROLE else responder.involvement)
        for incident, responder in index.incidents_of(fact.person, incident_scope(fact))
    )
