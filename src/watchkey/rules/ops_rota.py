"""Timelines, escalations and alerts as Opsgenie and its successor in Jira Service Management write them.

A level is the ordinal of a distinct delay: everybody who is paged after the same time is on the same level.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from watchkey.model.ids import IncidentId, PersonId
from watchkey.model.oncall import Incident, IncidentStatus, Involvement, Provenance, Responder
from watchkey.rules.gathering import Gathered, Id, Instant, Rung, in_utc

_BY_HAND: Final = frozenset({"override", "forwarding"})
"""Periods that somebody put in; who did is not said."""
_MINUTES: Final = {"minutes": 1, "hours": 60, "days": 60 * 24}


class Party(msgspec.Struct, frozen=True):
    """Who is paged: `user`, `team`, `escalation`, `schedule`; `noone` is a turn that is not filled."""

    type: str
    id: Id | None = None
    name: str | None = None


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """One stretch of a rotation. The two products name the same thing responder and recipient."""

    start_date: Instant
    end_date: Instant
    type: str | None = None
    responder: Party | None = None
    recipient: Party | None = None
    flattened_responders: list[Party] | None = None
    flattened_recipients: list[Party] | None = None

    def parties(self) -> Sequence[Party]:
        """Whoever is on call, as far down to people as the answer goes."""
        single = self.responder or self.recipient
        return self.flattened_responders or self.flattened_recipients or ([single] if single else [])


class Rotation(msgspec.Struct, frozen=True):
    """One rotation; without periods when nobody is in it."""

    name: str | None = None
    periods: list[Period] | None = None


class FinalTimeline(msgspec.Struct, frozen=True):
    """What holds after overrides and forwarding."""

    rotations: list[Rotation]


class Timeline(msgspec.Struct, frozen=True, rename="camel"):
    """The timeline of one schedule."""

    final_timeline: FinalTimeline


class Delay(msgspec.Struct, frozen=True, rename="camel"):
    """How long until a rule pages."""

    time_amount: int
    time_unit: str = "minutes"


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """One rule of an escalation; a bare number as delay is minutes."""

    delay: int | Delay
    recipient: Party
    notify_type: str = "default"

    def minutes(self) -> int:
        """The delay in minutes."""
        if isinstance(self.delay, int):
            return self.delay
        return self.delay.time_amount * _MINUTES.get(self.delay.time_unit, 1)


class Escalation(msgspec.Struct, frozen=True):
    """An escalation policy."""

    id: Id
    name: str
    rules: list[Rule]


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What became of an alert."""

    acknowledged_by: str | None = None


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """An alert, as far as it is used."""

    id: Id
    status: str
    acknowledged: bool
    owner: str | None = None
    message: str | None = None
    responders: list[Party] | None = None
    created_at: Instant | None = None
    report: Report | None = None


def take_timeline(gathered: Gathered, schedule: str, name: str, timeline: Timeline) -> None:
    """Take all turns of one schedule. Teams that are not broken down to people open nothing and are noted."""
    unnamed: set[str] = set()
    for rotation in timeline.final_timeline.rotations:
        for period in rotation.periods or ():
            grade = Provenance.SELF_OVERRIDE if period.type in _BY_HAND else Provenance.UNKNOWN
            for party in period.parties():
                if party.type == "user" and party.id is not None:
                    person = gathered.mention(party.id, party.name)
                    gathered.turn(person, schedule, period.start_date, period.end_date, grade)
                elif party.type not in {"user", "noone", "none"}:
                    unnamed.add(party.type)
    gathered.notes.extend(
        f"schedule {name}: a {kind} is on call and its members are not named, so it opens nothing"
        for kind in sorted(unnamed)
    )


def take_escalation(gathered: Gathered, escalation: Escalation) -> None:
    """Take a policy with its levels."""
    gathered.policy(escalation.id, escalation.name, _rungs(gathered, escalation))


def _rungs(gathered: Gathered, escalation: Escalation) -> Iterator[Rung]:
    delays = sorted({rule.minutes() for rule in escalation.rules})
    for level, delay in enumerate(delays, start=1):
        schedules: list[str] = []
        people: list[PersonId] = []
        for rule in escalation.rules:
            if rule.minutes() != delay:
                continue
            party = rule.recipient
            if rule.notify_type != "default" or party.id is None or party.type not in {"user", "schedule"}:
                gathered.notes.append(
                    f"escalation {escalation.name}, level {level}: a {party.type} is paged ({rule.notify_type}) and"
                    " nobody is named, so it opens nothing"
                )
            elif party.type == "user":
                people.append(PersonId(party.id))
            else:
                schedules.append(party.id)
        yield Rung(level=level, schedules=tuple(schedules), people=tuple(people))


def incident(alert: Alert, owner: PersonId | None, acknowledger: PersonId | None) -> Incident:
    """An alert as an incident of the one escalation that it pages; None when it pages none or several.

    The owner is assigned; only who is named as acknowledging has acknowledged.
    """
    since = in_utc(alert.created_at)
    parts: list[Responder] = []
    if owner is not None:
        parts.append(Responder(person=owner, involvement=Involvement.ASSIGNED, since=since))
    if acknowledger is not None and alert.acknowledged:
        parts.append(Responder(person=acknowledger, involvement=Involvement.ACKNOWLEDGED))
    return Incident(
        id=IncidentId(alert.id),
        title=alert.message or alert.id,
        service=None,
        policy=_only(party.id for party in alert.responders or () if party.type == "escalation"),
        status=IncidentStatus.ACKNOWLEDGED if alert.acknowledged else IncidentStatus.TRIGGERED,
        responders=tuple(parts),
        opened_at=since,
    )


def _only(ids: Iterable[str | None]) -> str | None:
    found = {id_ for id_ in ids if id_ is not None}
    return found.pop() if len(found) == 1 else None
