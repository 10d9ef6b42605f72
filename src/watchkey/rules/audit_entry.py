"""Turns an audit event into the bytes that are hashed and kept: canonical JSON (RFC 8785) of an allow-list of fields.

What is not named here is not logged: a request's `context`, credentials and raw bodies have no way in. The bytes are
made once, from the event; later they are only ever copied, never made again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final, assert_never

import msgspec

from watchkey.model.access import Allow, Deny, Evidence, Ground
from watchkey.model.audit import (
    AuditEvent,
    DecisionMade,
    DecisionsRepeated,
    Noted,
    OpaDecision,
    PolicySwapped,
    RosterHeld,
    RosterSwapped,
    ServiceStarted,
    ServiceStopped,
)
from watchkey.model.errors import Malformed

ENTRY_BYTES_MAX: Final = 1024 * 1024
"""An event that would be longer is refused: a caller must not fill the disk with one question."""
REORDER_MAX: Final = timedelta(seconds=1)
"""Decisions taken at the same time may be queued in another order; only a larger step back is called one."""
INTEGER_MAX: Final = 2**53 - 1
"""Above it RFC 8785 cannot write an integer exactly."""
DEPTH_MAX: Final = 32
_INSTANT_LENGTH: Final = len("2026-11-25T03:04:05.678901Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: the bytes, and the highest time that any entry up to this one carries."""

    seq: int
    body: bytes
    high_water: datetime


def instant(moment: datetime) -> str:
    """`2026-11-25T03:04:05.678901Z`; equal lengths, so that text order is time order."""
    if moment.tzinfo is None:
        raise Malformed("an instant without a time zone cannot be logged")
    text: str = msgspec.to_builtins(moment.astimezone(UTC))
    return text if len(text) == _INSTANT_LENGTH else f"{text[:-1]}.000000Z"


def _seconds(span: timedelta) -> int | float:
    """Seconds to the millisecond, in a number that JSON writes the same way everywhere."""
    seconds = round(span.total_seconds(), 3)
    return int(seconds) if seconds.is_integer() else seconds


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)


def _evidence(fact: Evidence) -> dict[str, Any]:
    """A fact in full; what it does not have is left out."""
    fields = {
        "kind": fact.kind,
        "person": fact.person,
        "scope": str(fact.scope),
        "level": fact.level,
        "starts_at": _optional(fact.starts_at),
        "until": _optional(fact.until),
        "end_kind": fact.end_kind,
        "schedule": fact.schedule,
        "policy": fact.policy,
        "provenance": fact.provenance,
        "incident": fact.incident,
        "involvement": fact.involvement,
        "is_vetted": fact.is_vetted,
        "path": list(fact.path) or None,
        "escalated_to": fact.escalated_to,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _ground(ground: Ground) -> dict[str, Any]:
    return {"source": ground.source, "revision": ground.revision, "age_s": _seconds(ground.age)}


def _decision(decision: Allow | Deny) -> dict[str, Any]:
    request = decision.request
    fields: dict[str, Any] = {
        "kind": "decision",
        "at": instant(decision.decided_at),
        "outcome": "allow" if isinstance(decision, Allow) else "deny",
        "reason": decision.reason,
        "sentence": decision.sentence,
        "subject": request.subject.id,
        "resource": request.resource,
        "privilege": request.privilege,
        "caller": request.caller,
        "policy": {"hash": decision.policy_hash, "revision": decision.policy_revision},
        "grounds": [_ground(ground) for ground in decision.grounds],
        "evidence": [_evidence(fact) for fact in decision.evidence],
    }
    if isinstance(decision, Allow):
        fields["until"] = instant(decision.until)
    if request.subject.groups:
        fields["groups"] = sorted(request.subject.groups)
    return fields


def _fields(event: AuditEvent) -> dict[str, Any]:  # noqa: PLR0911 - one return for each kind of event
    match event:
        case DecisionMade():
            return _decision(event.decision)
        case DecisionsRepeated():
            return {"kind": "decisions_repeated", "at": instant(event.at), "of": event.seq, "count": event.count}
        case RosterSwapped():
            return {
                "kind": "roster_swapped",
                "at": instant(event.at),
                "source": event.source,
                "revision": event.revision,
                "digest": event.digest,
                "people": event.people,
                "shifts": event.shifts,
                "incidents": event.incidents,
                "appeared": event.appeared,
                "vanished": event.vanished,
            }
        case RosterHeld():
            return {"kind": "roster_held", "at": instant(event.at), "source": event.source, "why": event.why}
        case PolicySwapped():
            policy = {"hash": event.policy_hash, "revision": event.revision, "name": event.name}
            return {"kind": "policy_swapped", "at": instant(event.at), "policy": policy}
        case OpaDecision():
            return _opa_decision(event)
        case ServiceStarted():
            return {"kind": "service_started", "at": instant(event.at), "version": event.version}
        case ServiceStopped():
            return {"kind": "service_stopped", "at": instant(event.at)}
        case Noted():
            fields = {"kind": "noted", "at": instant(event.at), "what": event.what, "fields": dict(event.fields)}
            return fields if event.caller is None else fields | {"caller": event.caller}
        case _:
            assert_never(event)


def _opa_decision(event: OpaDecision) -> dict[str, Any]:
    return {
        "kind": "opa_decision",
        "at": instant(event.at),
        "caller": event.caller,
        "fleet": event.fleet,
        "decision_id": event.decision_id,
        "opa": event.opa,
        "decided_at": event.decided_at,
        "path": event.path,
        "revision": event.revision,
        "outcome": event.outcome,
        "event": event.event,
        "digest": event.digest,
    }


def event_time(event: AuditEvent) -> datetime:
    """When the event says that it happened."""
    return event.decision.decided_at if isinstance(event, DecisionMade) else event.at


def make_entry(event: AuditEvent, *, seq: int, high_water: datetime | None) -> Entry:
    """The entry of an event at a place in the log; `high_water` is that of the entry before, None for the first.

    An entry that goes back in time says so: `high_water` with any step, `clock_stepped_back` above REORDER_MAX.
    Raises Malformed when the event cannot be written exactly: no Unicode, a number beyond JSON, too long.
    """
    at = event_time(event)
    fields = _fields(event)
    fields["seq"] = seq
    if high_water is not None and at < high_water:
        fields["high_water"] = instant(high_water)
        if high_water - at > REORDER_MAX:
            fields["clock_stepped_back"] = True
    body = canonical_json(fields) if isinstance(event, Noted) else _canonical_own(fields)
    if len(body) > ENTRY_BYTES_MAX:
        raise Malformed(f"an audit entry of {len(body)} bytes; at most {ENTRY_BYTES_MAX} are kept")
    return Entry(seq, body, at if high_water is None else max(at, high_water))


_own_encoder: Final = msgspec.json.Encoder(order="sorted")


def _canonical_own(fields: dict[str, Any]) -> bytes:
    """Canonical JSON of fields that were built above, many times as fast as the general way.

    Right for them because their keys are ASCII, their integers small, and their fractions have at most three digits
    after the point, where both write numbers alike. A test holds both ways against each other.
    """
    try:
        return _own_encoder.encode(fields)
    except UnicodeEncodeError as error:
        raise Malformed("text that is not valid Unicode cannot be logged") from error
    except (TypeError, ValueError) as error:
        raise Malformed(f"a value that JSON cannot hold: {error}") from error


def canonical_json(value: Any) -> bytes:
    """RFC 8785. Raises Malformed for what JSON cannot hold exactly: NaN, large integers, lone surrogates."""
    try:
        return _canonical(value, DEPTH_MAX).encode()
    except UnicodeEncodeError as error:
        raise Malformed("text that is not valid Unicode cannot be logged") from error


def _canonical(value: Any, depth: int) -> str:
    if depth == 0:
        raise Malformed(f"a value nested deeper than {DEPTH_MAX} cannot be logged")
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            if abs(value) > INTEGER_MAX:
                raise Malformed("an integer beyond 2^53 cannot be logged as a number")
            return str(int(value))
        case float():
            return _number(value)
        case Mapping():
            return "{" + ",".join(f"{_canonical(k, 1)}:{_canonical(v, depth - 1)}" for k, v in _sorted(value)) + "}"
        case list() | tuple():
            return "[" + ",".join(_canonical(item, depth - 1) for item in value) + "]"
        case _:
            raise Malformed(f"a value of type {type(value).__name__} cannot be logged")


def _sorted(mapping: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """The members in the order of RFC 8785 section 3.2.3: by UTF-16 code units."""
    if not all(isinstance(key, str) for key in mapping):
        raise Malformed("a key that is not text cannot be logged")
    return sorted(mapping.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))


def _number(value: float) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString); Python finds the same shortest digits."""
    if not isfinite(value):
        raise Malformed("a number that is not finite cannot be logged")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"
