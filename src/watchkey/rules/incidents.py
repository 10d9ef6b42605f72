"""What open incidents prove: whether somebody else has seen one, and how far an escalation has come."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from watchkey.model.access import Reason
from watchkey.model.ids import IncidentId, PersonId
from watchkey.model.oncall import Incident, Involvement

_HANDS_ON: Final = frozenset({Involvement.ACKNOWLEDGED, Involvement.JOINED})


def is_vetted(incident: Incident, person: PersonId) -> bool:
    """Whether the incident is more than that person's own word.

    Somebody else opened it, a machine did, or somebody else has acknowledged or joined it. When nobody can tell who
    opened it, it may have been whoever profits from it.
    """
    if incident.is_opened_by_machine or (incident.opened_by is not None and incident.opened_by != person):
        return True
    return any(other.person != person and other.involvement in _HANDS_ON for other in incident.responders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """An open incident has come to that level."""

    level: int
    incident: IncidentId
    is_vetted: bool


def escalation(incidents: Iterable[Incident], level: int, person: PersonId) -> Escalated | Reason:
    """The incident that has escalated to the level or beyond; one that is vetted for the person goes first.

    `NOT_ESCALATED` when every open incident is known to be below, `ESCALATION_UNKNOWN` when one might not be.
    """
    is_unknown = False
    reached: list[Escalated] = []
    for incident in incidents:
        if incident.escalation_level is None:
            is_unknown = True
        elif incident.escalation_level >= level:
            vetted = is_vetted(incident, person)
            reached.append(Escalated(level=incident.escalation_level, incident=incident.id, is_vetted=vetted))
    if reached:
        return min(reached, key=lambda one: (not one.is_vetted, -one.level, one.incident))
    return Reason.ESCALATION_UNKNOWN if is_unknown else Reason.NOT_ESCALATED
