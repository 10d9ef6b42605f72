"""A decision as JSON: everything for a trusted caller, and for any other only what it needs to act on."""

import math
from datetime import UTC, datetime
from typing import Final

import msgspec

from watchkey.model.access import Allow, Caller, Decision, Evidence, Ground, OnCallInstead


class FactAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact that the decision rests on, or that was found and did not suffice."""

    kind: str
    person: str
    scope: str
    """`source/kind/id`."""
    end_kind: str
    until: datetime | None = None
    level: int | None = None
    provenance: str | None = None
    incident: str | None = None
    involvement: str | None = None
    path: tuple[str, ...] = ()
    """The services from the incident's to the resource's, when it came in by way of a dependency."""
    escalated_to: int | None = None
    """How far that incident has escalated, for a level that counts only then."""


class InsteadAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who holds the pager now."""

    name: str
    level: int | None = None
    until: datetime | None = None


class GroundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which roster it rests on: its revision, and the age of its last complete read in seconds at the decision."""

    source: str
    revision: int
    age_s: float


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no decision."""

    code: str
    message: str


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one question. Only `allow` is always there; `until` and `ttl_s` stand with every allow.

    An untrusted caller gets no other field. `until` is exclusive; `ttl_s` are whole seconds until then, rounded down.
    """

    allow: bool
    until: datetime | None = None
    ttl_s: int | None = None
    reason: str | None = None
    sentence: str | None = None
    evidence: tuple[FactAnswer, ...] | None = None
    seq: int | None = None
    """The entry of the audit log that proves it."""
    decided_at: datetime | None = None
    instead: tuple[InsteadAnswer, ...] | None = None
    next_shift_at: datetime | None = None
    grounds: tuple[GroundAnswer, ...] | None = None
    policy_hash: str | None = None
    policy_revision: int | None = None
    error: ErrorAnswer | None = None
    """Set when the question could not be put at all; `allow` is false then."""


NO: Final = DecisionAnswer(allow=False)
"""All that an untrusted caller learns of any denial."""


def answer(decision: Decision, seq: int | None, caller: Caller, now: datetime) -> DecisionAnswer:
    """Shape a decision for that caller at that instant.

    An allow that ended on its way out is a denial: nobody may act on it any more.
    """
    if isinstance(decision, Allow):
        if now >= decision.until:
            return DecisionAnswer(allow=False, reason="no_time_left") if caller.is_trusted else NO
        ttl_s = math.floor((decision.until - now).total_seconds())
        if not caller.is_trusted:
            return DecisionAnswer(allow=True, until=_utc(decision.until), ttl_s=ttl_s)
        return DecisionAnswer(
            allow=True,
            until=_utc(decision.until),
            ttl_s=ttl_s,
            reason=decision.reason.value,
            sentence=decision.sentence,
            evidence=tuple(_fact(each) for each in decision.evidence),
            seq=seq,
            decided_at=_utc(decision.decided_at),
            grounds=tuple(_ground(each) for each in decision.grounds),
            policy_hash=decision.policy_hash or None,
            policy_revision=decision.policy_revision,
        )
    if not caller.is_trusted:
        return NO
    return DecisionAnswer(
        allow=False,
        reason=decision.reason.value,
        sentence=decision.sentence,
        evidence=tuple(_fact(each) for each in decision.evidence),
        seq=seq,
        decided_at=_utc(decision.decided_at),
        instead=tuple(_instead(each) for each in decision.instead),
        next_shift_at=_utc(decision.next_shift_at),
        grounds=tuple(_ground(each) for each in decision.grounds),
        policy_hash=decision.policy_hash or None,
        policy_revision=decision.policy_revision,
    )


def _fact(fact: Evidence) -> FactAnswer:
    return FactAnswer(
        kind=fact.kind.value,
        person=fact.person,
        scope=str(fact.scope),
        end_kind=fact.end_kind.value,
        until=_utc(fact.until),
        level=fact.level,
        provenance=fact.provenance.value,
        incident=fact.incident,
        involvement=fact.involvement,
        path=fact.path,
        escalated_to=fact.escalated_to,
    )


def _instead(person: OnCallInstead) -> InsteadAnswer:
    return InsteadAnswer(name=person.name, level=person.level, until=_utc(person.until))


def _ground(ground: Ground) -> GroundAnswer:
    return GroundAnswer(source=ground.source, revision=ground.revision, age_s=round(ground.age.total_seconds(), 3))


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
