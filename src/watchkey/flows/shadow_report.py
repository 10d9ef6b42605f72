"""What a shadow policy would have decided differently, read from the audit log: who, what, how often it was told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from watchkey.rules.policy_change import Change

WHAT = "policy.shadow_differs"


class _Fields(msgspec.Struct, frozen=True):
    policy: str
    policy_hash: str
    change: Change
    subject: str
    privilege: str
    resource: str
    reason: str
    would_be: str


class _Body(msgspec.Struct, frozen=True):
    """What tells one of our entries from all others; the rest is read when it is one."""

    kind: str
    at: datetime
    what: str = ""


class _Note(msgspec.Struct, frozen=True):
    fields: _Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowDifference:
    """One change for one subject on one privilege, over all entries that tell of it."""

    change: Change
    policy: str
    subject: str
    privilege: str
    resource: str
    was: str
    """The reason of the policy that decided."""
    would_be: str
    times: int
    """Entries that tell of it: at most one an hour is written."""
    first_at: datetime
    last_at: datetime
    first_seq: int


def shadow_differences(
    entries: Iterable[tuple[int, bytes]], *, since: datetime | None = None, policies: frozenset[str] = frozenset()
) -> tuple[list[ShadowDifference], int]:
    """The differences among entries (number, body) of a log, the gravest first, and how many could not be read.

    `policies`: only those; empty means all.
    """
    found: dict[tuple[str, ...], ShadowDifference] = {}
    unreadable = 0
    for seq, raw in entries:
        try:
            body = msgspec.json.decode(raw, type=_Body)
            if body.kind != "noted" or body.what != WHAT or (since is not None and body.at < since):
                continue
            note = msgspec.json.decode(raw, type=_Note).fields
        except (msgspec.DecodeError, msgspec.ValidationError):
            unreadable += 1
            continue
        if policies and note.policy not in policies:
            continue
        key = (note.change, note.policy, note.subject, note.privilege, note.resource, note.reason, note.would_be)
        found[key] = _counted(found.get(key), note, seq, body.at)
    order = list(Change)
    return sorted(found.values(), key=lambda one: (order.index(one.change), one.subject, one.resource)), unreadable


def _counted(known: ShadowDifference | None, note: _Fields, seq: int, at: datetime) -> ShadowDifference:
    return ShadowDifference(
        change=note.change,
        policy=note.policy,
        subject=note.subject,
        privilege=note.privilege,
        resource=note.resource,
        was=note.reason,
        would_be=note.would_be,
        times=1 + (known.times if known else 0),
        first_at=known.first_at if known else at,
        last_at=at,
        first_seq=known.first_seq if known else seq,
    )
