"""Watchkey's own dialect: decide one question or many, who is on call, what the roster says."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec

from watchkey.entrypoints.http.answer import DecisionAnswer
from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.questions import Questions
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.access import AccessRequest, Caller, Resource, Subject
from watchkey.model.errors import Malformed
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Scope, ScopeKind, Shift
from watchkey.ports import Clock, HeldRoster, RosterStore

_WINDOW: Final = timedelta(hours=24)
_WINDOW_MAX: Final = timedelta(days=31)
_UNDERSTOOD_MAX: Final = 4096
_UNDERSTOOD_BYTES: Final = 1024
"""Bodies that are remembered: their number and their length, 4 MiB at most."""
_PAGE: Final = 500
_PAGE_MAX: Final = 5000

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class SubjectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants to act. `groups` count only when the caller is trusted."""

    id: Word
    groups: Annotated[tuple[Word, ...], msgspec.Meta(max_length=1000)] = ()


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May this subject use this privilege on that resource, now? `context` is what the policy may see besides."""

    subject: SubjectBody
    privilege: Word
    resource: Word
    context: dict[str, Any] = {}

    def access_request(self, caller: Caller) -> AccessRequest:
        """The same question in the words of the model."""
        return AccessRequest(
            subject=Subject(id=SubjectId(self.subject.id), groups=frozenset(self.subject.groups)),
            privilege=PrivilegeName(self.privilege),
            resource=ResourceId(self.resource),
            caller=caller.id,
            context=self.context,
        )


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many questions at once."""

    requests: Annotated[tuple[Question, ...], msgspec.Meta(min_length=1)]


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer a question, in the order of the questions."""

    decisions: tuple[DecisionAnswer, ...]


class PersonAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A person of a source."""

    id: str
    name: str
    emails: tuple[str, ...]
    active: bool | None


class ShiftAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One person's turn, `[starts_at, ends_at)`; null where the source does not say."""

    person: str
    name: str | None
    level: int | None
    schedule: str | None
    policy: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    end_kind: str
    provenance: str


class ScopeOnCall(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call in one scope, by level. `age_s` is the age of the last complete read; null: there was none."""

    scope: str
    known: bool
    age_s: float | None
    revision: int | None
    on_call: tuple[ShiftAnswer, ...]


class OnCallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call at an instant."""

    at: datetime
    scopes: tuple[ScopeOnCall, ...]


class RosterAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of one source's shifts that overlap the span `[start, end)`, with the people in them."""

    source: str
    revision: int
    age_s: float
    taken_at: datetime
    window_ends_at: datetime
    start: datetime
    end: datetime
    people: tuple[PersonAnswer, ...]
    shifts: tuple[ShiftAnswer, ...]
    next: int | None
    """The `after` of the next page; null on the last one. Pages belong together while `revision` is the same."""


class Known(Protocol):
    """What the answers come from."""

    @property
    def resources(self) -> Mapping[ResourceId, Resource]:
        """What is protected."""
        ...

    @property
    def rosters(self) -> RosterStore:
        """The rosters that decisions use now."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...


class _Peek(msgspec.Struct, frozen=True):
    """Whether a body is a batch."""

    requests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Native:
    """The handlers."""

    def __init__(self, known: Known, questions: Questions, limits: Limits) -> None:
        self._known = known
        self._questions = questions
        self._limits = limits
        self._peek: StrictDecoder[_Peek] = StrictDecoder(_Peek, depth_max=limits.depth_max)
        self._one: StrictDecoder[Question] = StrictDecoder(Question, depth_max=limits.depth_max)
        self._many: StrictDecoder[Batch] = StrictDecoder(Batch, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode
        self._understood: OrderedDict[tuple[CallerId, bytes], AccessRequest] = OrderedDict()

    async def decide(self, request: Request, caller: Caller | None) -> Response:
        """Answer one question, or a batch of them."""
        caller = required(caller)
        # A proxy asks the same on every request: equal bytes are the same question, and are not read again.
        access = self._understood.get((caller.id, request.body))
        if access is None:
            try:
                if b'"requests"' in request.body and self._peek.decode(request.body).requests is not msgspec.UNSET:
                    return await self._decide_many(self._many.decode(request.body), request, caller)
                access = self._one.decode(request.body).access_request(caller)
            except Malformed as error:
                raise Fault(400, "malformed", str(error)) from None
            self._remember(request.body, access)
        given = await self._questions.ask(access, caller, request)
        return Response(status=200, body=self._encode(given))

    def _remember(self, body: bytes, access: AccessRequest) -> None:
        if len(body) > _UNDERSTOOD_BYTES:
            return
        if len(self._understood) >= _UNDERSTOOD_MAX:
            self._understood.popitem(last=False)
        self._understood[access.caller, body] = access

    async def _decide_many(self, batch: Batch, request: Request, caller: Caller) -> Response:
        if len(batch.requests) > self._limits.batch_max:
            raise Fault(400, "batch_too_large", f"a batch has at most {self._limits.batch_max} questions")
        questions = [each.access_request(caller) for each in batch.requests]
        given = await self._questions.ask_all(questions, caller, request)
        return Response(status=200, body=self._encode(BatchAnswer(decisions=given)))

    async def on_call(self, request: Request, caller: Caller | None) -> Response:
        """Answer who is on call for a resource or in a scope, now or at a given instant."""
        caller = required(caller)
        asked = _query(request, {"resource", "scope", "at"})
        at = _instant(asked, "at", self._known.clock.now())
        scopes = self._scopes_asked(asked, caller)
        held = self._known.rosters.held()
        answers = tuple(self._scope_answer(scope, held.get(scope.source), at) for scope in scopes)
        return Response(status=200, body=self._encode(OnCallAnswer(at=at, scopes=answers)))

    def _scopes_asked(self, asked: Mapping[str, str], caller: Caller) -> tuple[Scope, ...]:
        if ("resource" in asked) == ("scope" in asked):
            raise Fault(400, "malformed", "give either resource=ID or scope=SOURCE/KIND/ID")
        if "resource" in asked:
            resource = self._known.resources.get(ResourceId(asked["resource"]))
            if resource is None or not caller.may_ask_about(resource.id):
                raise Fault(404, "unknown_resource", "there is no such resource for this caller")
            return resource.scopes
        scope = _scope(asked["scope"])
        if caller.resources is not None and scope not in set(self._scopes_of(caller)):
            raise Fault(404, "unknown_scope", "there is no such scope for this caller")
        return (scope,)

    def _scopes_of(self, caller: Caller) -> Iterator[Scope]:
        for resource in self._known.resources.values():
            if caller.may_ask_about(resource.id):
                yield from resource.scopes

    def _scope_answer(self, scope: Scope, held: HeldRoster | None, at: datetime) -> ScopeOnCall:
        if held is None:
            return ScopeOnCall(scope=str(scope), known=False, age_s=None, revision=None, on_call=())
        shifts = held.index.on_call(scope, at) if held.index.knows(scope) else ()
        return ScopeOnCall(
            scope=str(scope),
            known=held.index.knows(scope),
            age_s=self._age_s(held),
            revision=held.revision,
            on_call=tuple(_shift(shift, held) for shift in shifts),
        )

    async def roster(self, request: Request, caller: Caller | None) -> Response:
        """Answer what one source's roster has in a span of time, in pages."""
        caller = required(caller)
        asked = _query(request, {"source", "start", "end", "after", "limit"})
        held = self._held(asked)
        start = _instant(asked, "start", self._known.clock.now())
        end = _instant(asked, "end", start + _WINDOW)
        if not start < end <= start + _WINDOW_MAX:
            raise Fault(400, "malformed", f"end must be after start, by at most {_WINDOW_MAX.days} days")
        after, limit = _number(asked, "after", 0, maximum=None), _number(asked, "limit", _PAGE, maximum=_PAGE_MAX)
        shifts = self._shifts(held, caller, start, end)
        page = shifts[after : after + limit]
        people = {shift.person: held.index.person(shift.person) for shift in page}
        body = RosterAnswer(
            source=held.index.source,
            revision=held.revision,
            age_s=self._age_s(held),
            taken_at=held.index.roster.taken_at,
            window_ends_at=held.index.roster.window_ends_at,
            start=start,
            end=end,
            people=tuple(
                PersonAnswer(id=person.id, name=person.name, emails=person.emails, active=person.active)
                for person in people.values()
                if person is not None
            ),
            shifts=tuple(_shift(shift, held) for shift in page),
            next=after + limit if after + limit < len(shifts) else None,
        )
        return Response(status=200, body=self._encode(body))

    def _held(self, asked: Mapping[str, str]) -> HeldRoster:
        held = self._known.rosters.held()
        if "source" not in asked and len(held) == 1:
            return next(iter(held.values()))
        found = held.get(SourceName(asked.get("source", "")))
        if found is None:
            raise Fault(404, "no_roster", "there is no complete roster of that source; give source=NAME")
        return found

    def _shifts(self, held: HeldRoster, caller: Caller, start: datetime, end: datetime) -> list[Shift]:
        index = held.index
        if caller.resources is None:
            found = {shift: None for shift in index.roster.shifts if _overlaps(shift, start, end)}
        else:
            scopes = (scope for scope in self._scopes_of(caller) if scope.source == index.source)
            found = {shift: None for scope in scopes for shift in index.shifts(scope, start, end)}
        return sorted(found, key=_order)

    def _age_s(self, held: HeldRoster) -> float:
        return round(max(0.0, self._known.clock.monotonic() - held.read_at), 3)


def routes(known: Known, questions: Questions, limits: Limits) -> tuple[Route, ...]:
    """The routes of this dialect."""
    native = Native(known, questions, limits)

    def route(name: str, method: str, path: str, door: Door) -> Route:
        handler = {"decide": native.decide, "on-call": native.on_call, "roster": native.roster}[name]
        return Route(
            name=name,
            method=method,
            path=path,
            door=door,
            handler=handler,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        )

    return (
        route("decide", "POST", "/v1/decide", Door.CALLER),
        route("on-call", "GET", "/v1/on-call", Door.TRUSTED),
        route("roster", "GET", "/v1/roster", Door.TRUSTED),
    )


def _query(request: Request, known: set[str]) -> dict[str, str]:
    try:
        parsed = parse_qs(
            request.query,
            keep_blank_values=True,
            strict_parsing=bool(request.query),
            max_num_fields=20,
            errors="strict",
        )
    except ValueError:
        raise Fault(400, "malformed", "the query is not name=value pairs in UTF-8") from None
    for name, values in parsed.items():
        if name not in known:
            raise Fault(400, "malformed", f"unknown parameter; known are {', '.join(sorted(known))}")
        if len(values) != 1:
            raise Fault(400, "malformed", f"the parameter {name} stands more than once")
    return {name: values[0] for name, values in parsed.items()}


def _instant(asked: Mapping[str, str], name: str, default: datetime) -> datetime:
    text = asked.get(name)
    if text is None:
        return default
    try:
        at = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise Fault(400, "malformed", f"{name} must be an instant such as 2026-03-01T09:00:00Z") from None
    if at.tzinfo is None:
        raise Fault(400, "malformed", f"{name} needs its offset from UTC, e.g. a Z at its end")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Fault(400, "malformed", f"{name} is outside the calendar") from None


def _number(asked: Mapping[str, str], name: str, default: int, *, maximum: int | None) -> int:
    text = asked.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or (maximum is not None and int(text) > maximum):
        raise Fault(400, "malformed", f"{name} must be a whole number" + (f" up to {maximum}" if maximum else ""))
    return int(text)


def _scope(text: str) -> Scope:
    source, _, rest = text.partition("/")
    kind, _, name = rest.partition("/")
    if not source or not name or kind not in set(ScopeKind):
        raise Fault(400, "malformed", f"scope must be SOURCE/KIND/ID with a kind of {', '.join(ScopeKind)}")
    return Scope(source=SourceName(source), kind=ScopeKind(kind), id=name)


def _overlaps(shift: Shift, start: datetime, end: datetime) -> bool:
    return (shift.starts_at is None or shift.starts_at < end) and (shift.ends_at is None or start < shift.ends_at)


def _order(shift: Shift) -> tuple[bool, float, str, str, str, int]:
    starts = 0.0 if shift.starts_at is None else shift.starts_at.timestamp()
    return (
        shift.starts_at is not None,
        starts,
        shift.policy or "",
        shift.schedule or "",
        shift.person,
        shift.level or 0,
    )


def _shift(shift: Shift, held: HeldRoster) -> ShiftAnswer:
    person = held.index.person(shift.person)
    return ShiftAnswer(
        person=shift.person,
        name=person.name if person else None,
        level=shift.level,
        schedule=shift.schedule,
        policy=shift.policy,
        starts_at=shift.starts_at,
        ends_at=shift.ends_at,
        end_kind=shift.end_kind.value,
        provenance=shift.provenance.value,
    )
