"""What another policy would have done: decisions of the audit log made again, with the roster as it was at each.

The facts, the resources and the links are those of now; the rosters are those of then. What a request's `context` said
is not in the log, so a policy that judges it sees an empty one.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from watchkey.model.access import AccessRequest, Decision, Reason, Subject
from watchkey.model.errors import PortError
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.rules.policy_change import Change, change_between

_NOT_JUDGED: Final = frozenset(
    {
        Reason.CALLER_NOT_ALLOWED,
        Reason.UNKNOWN_RESOURCE,
        Reason.AUDIT_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
        Reason.GRACE,  # what it rested on is in no roster any more
    }
)
"""Denials that no policy had a part in, and allows that no roster shows."""


class _Ground(msgspec.Struct, frozen=True):
    source: str
    revision: int
    age_s: float


class _Body(msgspec.Struct, frozen=True):
    """What is read of an entry; everything else in it is passed over."""

    kind: str
    at: datetime
    subject: str = ""
    resource: str = ""
    privilege: str = ""
    caller: str = ""
    reason: str = ""
    groups: tuple[str, ...] = ()
    grounds: tuple[_Ground, ...] = ()
    of: int = -1
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """A decision of the log, as far as it can be asked again."""

    seq: int
    at: datetime
    request: AccessRequest
    reason: str
    grounds: tuple[tuple[SourceName, int, timedelta], ...]
    """Source, revision and age of each roster that it stood on."""
    times: int = 1
    """How often this answer was given."""


def logged_decisions(entries: Iterable[tuple[int, bytes]]) -> tuple[list[LoggedDecision], int]:
    """The decisions among entries (number, body) of a log, with their repetitions, and how many could not be read."""
    found: dict[int, LoggedDecision] = {}
    unreadable = 0
    for seq, raw in entries:
        try:
            body = msgspec.json.decode(raw, type=_Body)
        except (msgspec.DecodeError, msgspec.ValidationError):
            unreadable += 1
            continue
        if body.kind == "decision" and body.reason not in _NOT_JUDGED:
            found[seq] = _logged(seq, body)
        elif body.kind == "decisions_repeated" and body.of in found:
            before = found[body.of]
            found[body.of] = _again(before, before.times + body.count)
    return list(found.values()), unreadable


def _logged(seq: int, body: _Body) -> LoggedDecision:
    return LoggedDecision(
        seq=seq,
        at=body.at,
        request=AccessRequest(
            subject=Subject(id=SubjectId(body.subject), groups=frozenset(body.groups)),
            privilege=PrivilegeName(body.privilege),
            resource=ResourceId(body.resource),
            caller=CallerId(body.caller),
        ),
        reason=body.reason,
        grounds=tuple((SourceName(one.source), one.revision, timedelta(seconds=one.age_s)) for one in body.grounds),
    )


def _again(one: LoggedDecision, times: int) -> LoggedDecision:
    return LoggedDecision(
        seq=one.seq, at=one.at, request=one.request, reason=one.reason, grounds=one.grounds, times=times
    )


# --- comparing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changes for one subject on one privilege, over all decisions in which it does."""

    kind: Change
    subject: str
    privilege: str
    resource: str
    old: str
    """The reason of the first of these decisions under the old policy."""
    new: str
    times: int
    first_at: datetime
    last_at: datetime
    first_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of a replay."""

    compared: int
    """Answers that were given, repetitions included."""
    differences: tuple[Difference, ...]
    lost: Mapping[str, int] = field(default_factory=dict)
    """Why decisions could not be made again -> how many."""


Ask = Callable[[LoggedDecision], Awaitable[Decision]]
"""Makes a decision again. Raises a port error when it cannot be: its roster was forgotten, its resource is gone."""


async def replay(
    decisions: Sequence[LoggedDecision],
    old: Ask,
    new: Ask,
    step: Callable[[int], None] = lambda _done: None,
) -> Comparison:
    """Make each decision again under both policies, and tell who gains and who loses what."""
    found: dict[tuple[Any, ...], Difference] = {}
    lost: dict[str, int] = {}
    compared = 0
    for done, logged in enumerate(decisions):
        step(done)
        try:
            before, after = await old(logged), await new(logged)
        except PortError as error:
            lost[str(error)] = lost.get(str(error), 0) + 1
            continue
        compared += logged.times
        change = change_between(before, after)
        if change is not None:
            _add(found, change, logged, before, after)
    return Comparison(compared=compared, differences=tuple(sorted(found.values(), key=_order)), lost=lost)


def _add(
    found: dict[tuple[Any, ...], Difference], kind: Change, logged: LoggedDecision, before: Decision, after: Decision
) -> None:
    request = logged.request
    key = (kind, request.subject.id, request.privilege, request.resource)
    known = found.get(key)
    found[key] = Difference(
        kind=kind,
        subject=request.subject.id,
        privilege=request.privilege,
        resource=request.resource,
        old=known.old if known else before.reason,
        new=known.new if known else after.reason,
        times=logged.times + (known.times if known else 0),
        first_at=known.first_at if known else logged.at,
        last_at=logged.at,
        first_seq=known.first_seq if known else logged.seq,
    )


def _order(one: Difference) -> tuple[int, str, str, str]:
    return (list(Change).index(one.kind), one.subject, one.resource, one.privilege)
