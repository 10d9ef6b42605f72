"""What an OPA is given as data so that it can decide by time itself: rosters, links, groups and resources.

Made for `policies/fleet/access.rego`, and documented in docs/how-to/opa-fleet.md. Instants are nanoseconds since 1970.
Of people it holds id, name and whether they are active; no addresses, and no titles of incidents. Of rosters it holds
what the pagers of the resources touch.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from watchkey.model.access import Agreement, Resource
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import Incident, Involvement, Responder, Scope, ScopeKind, Shift
from watchkey.rules.evidence import RESPONDING
from watchkey.rules.identity import Ambiguous, Links
from watchkey.rules.incidents import is_vetted
from watchkey.rules.policy_input import nanoseconds
from watchkey.rules.roster import RosterIndex

_MICROSECOND: Final = timedelta(microseconds=1)
_NO_LEVEL: Final = 1 << 30

_encode: Final = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFacts:
    """One roster with what a reader must know of its age."""

    index: RosterIndex
    revision: int
    read_at: datetime
    """When its last complete read ended, by our clock."""


def canonical_data(value: Any) -> bytes:
    """JSON whose bytes are what OPA hashes, so that writing and hashing are one pass.

    For values of objects with text keys, lists, texts, whole numbers, booleans and null; `walked` agrees on these.
    """
    return _encode(value).replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def span_ns(span: timedelta) -> int:
    """A span in nanoseconds."""
    return span // _MICROSECOND * 1000


# -- rosters -------------------------------------------------------------------------------------------------------


def roster_document(held: HeldFacts, scopes: Iterable[Scope], linked: Iterable[PersonId] = ()) -> dict[str, Any]:
    """One roster, cut down to what the scopes touch; of people, to those and to the `linked` ones."""
    index = held.index
    mine = [scope for scope in scopes if scope.source == index.source]
    known = _known(index, mine)
    policies = {policy for kind in ("service", "escalation_policy") for policy in known[kind].values()} - {None}
    services, schedules = set(known["service"]), set(known["schedule"])
    shifts: dict[PersonId, list[Shift]] = defaultdict(list)
    for shift in index.roster.shifts:
        if shift.policy in policies or shift.schedule in schedules:
            shifts[shift.person].append(shift)
    parts: dict[PersonId, list[dict[str, Any]]] = defaultdict(list)
    for incident in index.roster.incidents:
        policy = index.policy_of(incident.service) if incident.policy is None and incident.service else incident.policy
        if incident.is_open and (incident.service in services or policy in policies):
            for responder in incident.responders:
                if responder.involvement in RESPONDING:
                    parts[responder.person].append(_part(incident, policy, responder))
    named = {*shifts, *parts, *linked}
    return {
        "revision": held.revision,
        "window_ends_ns": nanoseconds(index.roster.window_ends_at),
        "clock_skew_ns": span_ns(index.roster.clock_skew),
        "scopes": known,
        "people": {
            person.id: {"name": person.name, "active": person.active}
            for person in index.roster.people
            if person.id in named
        },
        "shifts": {person: [_shift(one) for one in sorted(mine, key=_by_level)] for person, mine in shifts.items()},
        "responding": dict(parts),
    }


def shared(new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The new roster document with the old one's parts wherever they are equal: less memory, and quicker deltas."""
    for name in ("people", "shifts", "responding"):
        part, known = new[name], old[name]
        new[name] = {key: known[key] if known.get(key) == value else value for key, value in part.items()}
    return new


def freshness_document(held: HeldFacts) -> dict[str, int | None]:
    """How old a roster is; apart from the roster itself because it changes with each read."""
    return {"read_ns": nanoseconds(held.read_at), "taken_ns": nanoseconds(held.index.roster.taken_at)}


def _known(index: RosterIndex, scopes: Iterable[Scope]) -> dict[str, dict[str, str | None]]:
    """Whose shifts each known scope means: by kind and id, the escalation policy (None: nobody's) or the schedule."""
    known: dict[str, dict[str, str | None]] = {kind.value: {} for kind in ScopeKind}
    for scope in scopes:
        if index.knows(scope):
            is_service = scope.kind is ScopeKind.SERVICE
            known[scope.kind.value][scope.id] = index.policy_of(scope.id) if is_service else scope.id
    return known


def _by_level(shift: Shift) -> int:
    return _NO_LEVEL if shift.level is None else shift.level


def _shift(shift: Shift) -> dict[str, Any]:
    return {
        "starts_ns": nanoseconds(shift.starts_at),
        "ends_ns": nanoseconds(shift.ends_at),
        "end_kind": shift.end_kind.value,
        "level": shift.level,
        "schedule": shift.schedule,
        "policy": shift.policy,
        "provenance": shift.provenance.value,
    }


def _part(incident: Incident, policy: str | None, responder: Responder) -> dict[str, Any]:
    is_role = responder.involvement is Involvement.ROLE
    return {
        "incident": incident.id,
        "service": incident.service,
        "policy": policy,
        "involvement": responder.role if is_role else responder.involvement.value,
        "since_ns": nanoseconds(responder.since),
        "is_vetted": is_vetted(incident, responder.person),
    }


def bundle_document(
    *, fleet: str, revision: int, built_at: datetime, trusts_groups: bool = False
) -> dict[str, str | int | bool | None]:
    """What the bundle says of itself. An OPA whose clock is far behind `built_ns` allows nothing."""
    return {
        "fleet": fleet,
        "revision": revision,
        "built_ns": nanoseconds(built_at),
        "trusts_groups": trusts_groups,
    }


# -- what the configuration says -----------------------------------------------------------------------------------


def resource_document(resource: Resource) -> dict[str, Any]:
    """One resource: everything that a decision about it needs, and nothing of how it is reached.

    What an OPA is not told of narrows: a level that follows the escalation opens at level 1 only, incidents of
    dependents open nothing, there is no time of grace, and where a second source must always agree nothing opens.
    """
    asks_two = bool(resource.second_scopes) and resource.agreement is Agreement.ALWAYS
    return {
        "id": resource.id,
        "kind": resource.kind,
        "privileges": list(resource.privileges),
        "scopes": [{"source": scope.source, "kind": scope.kind.value, "id": scope.id} for scope in resource.scopes],
        "needs": resource.needs.value,
        "max_level": 1 if resource.level_follows_escalation else resource.max_level,
        "incident_roles": [] if asks_two else sorted(resource.incident_roles),
        "ttl_max_ns": span_ns(resource.ttl_max),
        "age_max_ns": span_ns(resource.age_max),
        "stale_mode": resource.stale_mode.value,
        "forecast_max_ns": span_ns(resource.forecast_max),
        "opens": {grade.value: [] if asks_two else sorted(given) for grade, given in resource.opens.items()},
        "unvetted": sorted(resource.unvetted),
        "eligible_groups": sorted(resource.eligible_groups),
        "labels": dict(resource.labels),
    }


def links_document(links: Links, sources: Iterable[SourceName]) -> dict[str, Any]:
    """Who is whom: subject, source, person. A link that contradicts another says so instead of naming anybody."""
    wanted = set(sources)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for subject, source in links.linked:
        if source in wanted:
            person = links.person_of(subject, source)
            is_unclear = person is None or isinstance(person, Ambiguous)
            found[subject][source] = {"ambiguous": True} if is_unclear else {"person": person}
    return dict(found)


def linked_people(links: Links, source: SourceName) -> frozenset[PersonId]:
    """Everybody in that source who is clearly one subject."""
    found = (links.person_of(subject, name) for subject, name in links.linked if name == source)
    return frozenset(person for person in found if person is not None and not isinstance(person, Ambiguous))


def groups_document(groups: Mapping[SubjectId, frozenset[str]]) -> dict[str, list[str]]:
    """The groups that the configuration puts each subject in."""
    return {subject: sorted(names) for subject, names in groups.items()}
