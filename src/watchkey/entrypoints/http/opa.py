"""The dialect of OPA's Data API, so that whatever can ask OPA can ask Watchkey: `POST` and `GET /v1/data/{path}`.

The only document is `data.watchkey`: `allow`, a boolean, and `decision`, the native answer. Any other path is
undefined, which OPA answers with 200 and no `result`. Shapes and texts follow OPA 1.x (`v1/server/server.go` and
`docs/rest-api.md` in its repository).
"""

from time import perf_counter_ns
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from watchkey import __version__
from watchkey.entrypoints.http.answer import DecisionAnswer, ErrorAnswer
from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Question, SubjectBody, Word
from watchkey.entrypoints.http.questions import Questions
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.entrypoints.http.unpack import unpacked_body
from watchkey.model.access import Caller
from watchkey.model.errors import Malformed

_PREFIX: Final = "/v1/data"
_TEXT: Final = b"text/plain; charset=utf-8"
_CODES: Final = {400: "invalid_parameter", 401: "unauthorized", 404: "resource_not_found", 500: "internal_error"}
_MISSING_INPUT: Final = {"code": "api_usage_warning", "message": "'input' key missing from the request"}


class DataBody(msgspec.Struct, frozen=True, kw_only=True):
    """What OPA's clients post. Keys besides `input` are theirs and mean nothing."""

    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class InputBody(msgspec.Struct, frozen=True, kw_only=True):
    """The question in `input`. Other keys may stand beside these: clients send what their platform gives them."""

    subject: SubjectBody | Word
    privilege: Word
    resource: Word
    context: dict[str, Any] = {}

    def question(self) -> Question:
        """The native question."""
        subject = SubjectBody(id=self.subject) if isinstance(self.subject, str) else self.subject
        return Question(subject=subject, privilege=self.privilege, resource=self.resource, context=self.context)


class OpaWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something the client probably did not mean."""

    code: str
    message: str


class DataAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; without `result` when the path is undefined."""

    decision_id: str | msgspec.UnsetType = msgspec.UNSET
    """For trusted callers: the entry of the audit log."""
    metrics: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    provenance: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    result: Any = msgspec.UNSET
    warning: OpaWarning | msgspec.UnsetType = msgspec.UNSET


class OpaError(msgspec.Struct, frozen=True, kw_only=True):
    """OPA's shape of an error."""

    code: str
    message: str


class DataApi:
    """The handlers."""

    def __init__(self, questions: Questions, limits: Limits) -> None:
        self._questions = questions
        self._limits = limits
        self._body: StrictDecoder[DataBody] = StrictDecoder(DataBody, depth_max=limits.depth_max)
        self._input: StrictDecoder[InputBody] = StrictDecoder(InputBody, depth_max=limits.depth_max)
        self._any: StrictDecoder[Any] = StrictDecoder(Any, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode

    async def post(self, request: Request, caller: Caller | None) -> Response:
        """Evaluate a path with the body's `input`. The content type is not looked at: pam_opa sends a form's."""
        raw = self._raw_body(request)
        raw_input: bytes | None = None
        if raw.strip():
            try:
                found = self._body.decode(raw).input
            except Malformed as error:
                raise _invalid(f"body contains malformed input document: {error}") from None
            raw_input = None if isinstance(found, msgspec.UnsetType) else bytes(found)
        raw_input = None if raw_input is None or raw_input.strip() == b"null" else raw_input
        return await self._evaluate(request, required(caller), raw_input, warns=raw_input is None)

    async def get(self, request: Request, caller: Caller | None) -> Response:
        """Evaluate a path with the query's `input`."""
        text = _flags(request).get("input", "")
        if text:
            try:
                self._any.decode(text.encode("utf-8", "surrogateescape"))
            except Malformed as error:
                raise _invalid(f"parameter contains malformed input document: {error}") from None
        raw_input = text.encode("utf-8", "surrogateescape") if text else None
        return await self._evaluate(request, required(caller), raw_input, warns=False)

    def _raw_body(self, request: Request) -> bytes:
        if b"yaml" in request.headers.get(b"content-type", b"").lower():
            raise _invalid("YAML bodies are not taken; send JSON")
        return unpacked_body(request, self._limits.body_bytes)

    async def _evaluate(self, request: Request, caller: Caller, raw_input: bytes | None, *, warns: bool) -> Response:
        started_at = perf_counter_ns()
        parts = _parts(request.path)
        flags = _flags(request)
        given = await self._decide(request, caller, raw_input) if _is_defined(parts) else None
        body = DataAnswer(
            decision_id=str(given.seq) if given is not None and given.seq is not None else msgspec.UNSET,
            metrics=_metrics(started_at) if _is_set(flags, "metrics") and caller.is_trusted else msgspec.UNSET,
            provenance=_PROVENANCE if _is_set(flags, "provenance") else msgspec.UNSET,
            result=msgspec.UNSET if given is None else _result(given, parts),
            warning=OpaWarning(**_MISSING_INPUT) if warns else msgspec.UNSET,
        )
        encoded = self._encode(body)
        if _is_set(flags, "pretty"):
            encoded = msgspec.json.format(encoded, indent=2)
        return Response(status=200, body=encoded + b"\n")

    async def _decide(self, request: Request, caller: Caller, raw_input: bytes | None) -> DecisionAnswer:
        """The decision; an input that is no question is a *no*, as a policy with a default would say it."""
        if raw_input is None:
            return _no_question("there is no input")
        try:
            question = self._input.decode(raw_input).question()
        except Malformed as error:
            return _no_question(f"input: {error}")
        return await self._questions.ask(question.access_request(caller), caller, request)


_PROVENANCE: Final = {"version": __version__, "build_commit": "", "build_timestamp": "", "build_hostname": ""}


def opa_fault(fault: Fault) -> Response:
    """Write an error as OPA does: indented by two spaces, with one of its codes where it has one for the status."""
    if fault.status == 405:
        return Response(status=405, content_type=_TEXT, headers=fault.headers)
    error = OpaError(code=_CODES.get(fault.status, fault.code), message=fault.message)
    body = msgspec.json.format(msgspec.json.encode(error), indent=2) + b"\n"
    return Response(status=fault.status, body=body, headers=fault.headers)


def routes(questions: Questions, limits: Limits) -> tuple[Route, ...]:
    """The routes of this dialect."""
    api = DataApi(questions, limits)
    return tuple(
        Route(
            name="data",
            method=method,
            path=path,
            door=Door.CALLER,
            handler=api.post if method == "POST" else api.get,
            write_fault=opa_fault,
            body_bytes=limits.body_bytes,
        )
        for path in (_PREFIX, _PREFIX + "/")
        for method in ("POST", "GET")
    )


def _invalid(message: str) -> Fault:
    return Fault(400, "invalid_parameter", message)


def _metrics(started_at: int) -> dict[str, int]:
    return {"timer_server_handler_ns": perf_counter_ns() - started_at}


def _no_question(message: str) -> DecisionAnswer:
    return DecisionAnswer(allow=False, error=ErrorAnswer(code="malformed", message=message))


def _parts(path: str) -> tuple[str, ...]:
    """The path below `data`: empty parts skipped, the others percent-decoded. Dots are names like any other."""
    parts: list[str] = []
    for part in path[len(_PREFIX) :].split("/"):
        if not part:
            continue
        try:
            text = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid("invalid path: not UTF-8") from None
        if '"' in text:
            raise _invalid("invalid path: a part has a quotation mark")
        parts.append(text)
    return tuple(parts)


def _is_defined(parts: tuple[str, ...]) -> bool:
    """Whether a decision is needed to answer that path."""
    return not parts or (parts[0] == "watchkey" and (len(parts) == 1 or parts[1] in {"allow", "decision"}))


def _result(given: DecisionAnswer, parts: tuple[str, ...]) -> Any:
    """The value at that path of the document, or UNSET where there is none."""
    value: Any = {"watchkey": {"allow": given.allow, "decision": msgspec.to_builtins(given)}}
    for part in parts:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and part.isascii() and part.isdigit() and int(part[:9]) < len(value):
            value = value[int(part[:9])]
        else:
            return msgspec.UNSET
    return value


def _flags(request: Request) -> dict[str, str]:
    if not request.query:
        return {}
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=20, errors="surrogateescape")
    except ValueError:
        raise _invalid("too many parameters") from None
    flags: dict[str, str] = {}
    for name, value in pairs:
        flags.setdefault(name, value)
    return flags


def _is_set(flags: dict[str, str], name: str) -> bool:
    """A flag without a value counts as true, as in OPA."""
    value = flags.get(name)
    return value is not None and value.lower() in {"", "true"}
