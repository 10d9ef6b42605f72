"""The only module that opens outgoing HTTP connections: bounded, always verified, without secrets in its errors."""

import asyncio
import ipaddress
import logging
import math
import random
import re
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, TypeVar, cast

import certifi
import httptools
import httpx
import msgspec

from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.model.secret import Secret
from watchkey.ports import Clock
from watchkey.rules.gathering import Gathered, Window

# Both libraries write complete URLs to their logs, and some providers keep a credential in the path or the query.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

Params = Sequence[tuple[str, str]]
"""Query parameters in the order in which they are sent; a name may repeat."""

_Row = TypeVar("_Row")
_Shape = TypeVar("_Shape")

_NO_HEADERS: Final[Mapping[str, str | Secret]] = {}
_PASSING: Final = frozenset({408, 425, 429})
"""The statuses below 500 that say *later* and not *no*."""
_ADVICE: Final = {
    401: "the credential is not accepted: check that it is the right one and has not been revoked",
    402: "the provider's plan does not include this",
    403: "the credential may not read this: give it the right to, or leave this part out of the configuration",
    404: "there is no such thing: check the id and the base URL",
    406: "the provider does not speak the version that is asked for: check the base URL",
}


class TooSlow(Unavailable):
    """There was no complete answer in time. The other side may have done what it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one operation (a whole sync) may cost at most. All times in seconds."""

    request_seconds: float = 15.0
    """One request, from the first byte sent to the last byte read."""
    operation_seconds: float = 60.0
    """Everything between `HttpClient.operation()` and its last answer, pauses included."""
    body_bytes: int = 16 * 1024 * 1024
    """One decoded body."""
    json_depth: int = 64
    attempts: int = 4
    """Tries of one request when the other side fails; answers of 429 are bounded by the deadline alone."""
    requests: int = 2_000
    """Requests of one operation, retries included."""
    pause_seconds: float = 0.5
    """The first pause between two tries; it doubles."""
    pause_max_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer. `what` names the request for people: method and URL, without query and without secrets."""

    what: str
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    json_depth: int = 64

    def json(self) -> Any:
        """Decode the body as JSON; raises `Malformed` when it is not, or nested too deeply."""
        value = self.decode(object)
        if _is_deeper(value, self.json_depth):
            raise Malformed(f"{self.what} answered JSON nested deeper than {self.json_depth} levels")
        return value

    def decode(self, shape: type[_Shape]) -> _Shape:
        """Decode the body into `shape` (a msgspec type), strictly; raises `Malformed` naming what does not fit.

        Fields that the shape does not name are skipped, whatever they hold.
        """
        try:
            return msgspec.json.decode(self.body, type=shape)
        except msgspec.ValidationError as error:
            raise Malformed(f"{self.what} answered an unknown shape: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Malformed(f"{self.what} answered {self._looks_like()} instead of JSON") from None
        except RecursionError:
            raise Malformed(f"{self.what} answered JSON nested deeper than {self.json_depth} levels") from None

    def _looks_like(self) -> str:
        """What the body is, without quoting it: it may hold anything."""
        if not self.body.strip():
            return "nothing"
        if self.body.lstrip()[:1] == b"<":
            return "HTML (a proxy's or a login page?)"
        if self.body.lstrip()[:1] in {b"{", b"["}:
            return f"{len(self.body)} bytes of broken or cut-off JSON"
        return f"{len(self.body)} bytes of something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetPage(Generic[_Row]):
    """One page of an answer that is read by offset; `total` None when the provider does not count."""

    rows: Sequence[_Row]
    more: bool
    total: int | None = None
    limit: int | None = None
    """The page size as the provider understood it; it may have clamped the one that was asked for."""
    offset: int | None = None
    """The offset as the provider understood it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetPaging(Generic[_Row]):
    """How one provider pages by offset. `row_cap` is where it refuses to go on; a longer list is not readable."""

    page: Callable[[Answer], OffsetPage[_Row]]
    key: Callable[[_Row], Hashable]
    """What makes a row the same row when it comes twice."""
    size: int = 100
    row_cap: int = 10_000
    offset_name: str = "offset"
    limit_name: str = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedPage(Generic[_Row]):
    """One page that names the next one: by URL for `linked_rows`, by cursor for `cursor_rows`; None on the last."""

    rows: Sequence[_Row]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request as it may be sent several times."""

    method: str
    url: httpx.URL
    what: str
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    body: bytes | None = None
    may_retry: bool = True
    accepted: Collection[int] = ()
    has_body_always: bool = False


class HttpClient:
    """Talks to one provider. Keeps connections alive; `close()` gives them back."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        headers: Mapping[str, str | Secret] = _NO_HEADERS,
        limits: Limits | None = None,
        ca_file: str | None = None,
        hide_path: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Check the URL and the CA file; no connection is opened yet.

        Args:
            base_url: `https://…`, or plain `http://` on loopback only. A path in it is kept as a prefix.
            clock: where pauses and deadlines come from.
            headers: sent with every request; credentials as `Secret`.
            limits: what one operation may cost.
            ca_file: PEM file of the authorities to trust instead of the public ones.
            hide_path: the path itself is a credential (calendar feeds): errors name the host only.
            jitter: a number from 0 to 1, so that many clients do not come back at the same instant.

        Raises:
            Refused: the URL is not acceptable, or the CA file cannot be read.
        """
        self._base = _checked_base(base_url)
        self._clock = clock
        self._headers = dict(headers)
        self._limits = limits or Limits()
        self._hide_path = hide_path
        self._jitter = jitter
        context = _tls_context(ca_file, None)
        self._http = httpx.AsyncClient(
            verify=context,
            follow_redirects=False,
            trust_env=False,  # a netrc file or a proxy variable must not redirect a credential
            timeout=httpx.Timeout(self._limits.request_seconds),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4),
        )

    def operation(self) -> "Operation":
        """Start the budget of one operation: one deadline, one request count, one measurement of the clock."""
        return Operation(self)

    async def close(self) -> None:
        """Give back the connections. Calling it twice is fine."""
        await self._http.aclose()


class Operation:
    """One piece of work made of several requests, under one deadline. Serial use only."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._limits = client._limits  # noqa: SLF001 - the two are one unit; callers need neither field
        self._clock = client._clock  # noqa: SLF001 - same
        self._ends_at = self._clock.monotonic() + self._limits.operation_seconds
        self._skew: tuple[timedelta, timedelta] | None = None
        self._sent_at = self._clock.now()
        self.requests = 0
        """How many requests were sent so far, retries included."""

    @property
    def clock_skew(self) -> timedelta:
        """The other side's clock minus ours, the smallest that agrees with all `Date` headers seen; 0 without any.

        `Date` counts whole seconds, so each answer only bounds the skew; the bounds of several answers are intersected.
        """
        if self._skew is None:
            return timedelta(0)
        low, high = self._skew
        if low <= timedelta(0) <= high:
            return timedelta(0)
        return low if low > timedelta(0) else high

    async def get(self, path: str, params: Params = (), *, accepted: Collection[int] = ()) -> Answer:
        """Send a GET and return its 2xx answer; `path` begins with `/`, or is an absolute URL of the same origin.

        Statuses in `accepted` are returned like a 2xx, without their body.

        Raises:
            Refused: 3xx, 4xx other than below, or a certificate that is not trusted.
            Malformed: the body is larger than the bound or cannot be decompressed.
            Unavailable: no answer in time, 408, 425, 429, 5xx, or the budget of the operation is used up.
        """
        return await self._send(replace(self._call("GET", path, params), accepted=accepted))

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes,
        headers: Mapping[str, str | Secret] = _NO_HEADERS,
        may_retry: bool = False,
        accepted: Collection[int] = (),
    ) -> Answer:
        """Send a request with a body. Statuses in `accepted` are returned like a 2xx; errors are those of `get`.

        `may_retry` only when sending it twice does no harm.
        """
        call = self._call(method, path, ())
        return await self._send(replace(call, headers=headers, body=body, may_retry=may_retry, accepted=accepted))

    async def exchange(
        self,
        method: str,
        path: str,
        params: Params = (),
        *,
        body: bytes,
        headers: Mapping[str, str | Secret] = _NO_HEADERS,
    ) -> Answer:
        """Send once and return the answer whatever its status, with its body; what it means is the caller's to say.

        Raises:
            Refused: the certificate is not trusted.
            Malformed: the body is larger than the bound or cannot be decompressed.
            TooSlow: no complete answer in time.
            Unavailable: there was no answer, or it broke off.
        """
        call = self._call(method, path, params)
        return await self._once(replace(call, headers=headers, body=body, has_body_always=True))

    async def graphql(self, path: str, query: str, variables: Mapping[str, Any], shape: type[_Shape]) -> _Shape:
        """Ask a GraphQL query (never a mutation: it may be sent twice) and decode its `data` into `shape`.

        Raises:
            Refused: the answer carries errors. Otherwise as `get`.
        """
        answer = await self.send(
            "POST",
            path,
            body=msgspec.json.encode({"query": query, "variables": dict(variables)}),
            headers={"Content-Type": "application/json"},
            may_retry=True,
        )
        envelope = answer.decode(_GraphQlAnswer)
        if envelope.errors:
            raise Refused(
                f"{answer.what} answered {len(envelope.errors)} GraphQL error(s): check the credential's rights"
            )
        try:
            return msgspec.convert(envelope.data, type=shape)
        except msgspec.ValidationError as error:
            raise Malformed(f"{answer.what} answered an unknown shape: data: {error}") from None

    async def offset_rows(self, path: str, params: Params, paging: OffsetPaging[_Row]) -> list[_Row]:
        """Read all pages of a list, following `more`. See `_settled` for rows that move while they are read.

        Raises:
            Malformed: the list is longer than the provider lets anybody read, or a page announces more and is empty.
        """

        async def once() -> _Reading[_Row]:
            reading = _Reading(paging.key)
            offset = 0
            while True:
                if offset + paging.size > paging.row_cap:
                    raise Malformed(
                        f"GET {self._name(path)} has more than {paging.row_cap} rows and the provider stops there:"
                        " narrow the source's filters, or split it into several sources"
                    )
                query = [*params, (paging.limit_name, str(paging.size)), (paging.offset_name, str(offset))]
                page = paging.page(await self.get(path, query))
                if page.more and not page.rows:
                    raise Malformed(f"GET {self._name(path)} announces more rows and gives none")
                if page.offset not in {None, offset}:
                    raise Malformed(f"GET {self._name(path)} answered page {page.offset} when {offset} was asked for")
                reading.add(page.rows, page.total)
                if not page.more:
                    return reading
                offset += page.limit if page.limit is not None and 0 < page.limit < paging.size else paging.size

        return await self._settled(path, once)

    async def linked_rows(
        self,
        path: str,
        params: Params,
        page: Callable[[Answer], LinkedPage[_Row]],
        key: Callable[[_Row], Hashable],
    ) -> list[_Row]:
        """Read all pages of a list in which each page names the URL of the next, of the same origin.

        Raises:
            Malformed: a link leads to another host, or in a circle.
        """

        async def once() -> _Reading[_Row]:
            reading = _Reading(key)
            seen: set[str] = set()
            url, query = path, params
            while True:
                answer = page(await self.get(url, query))
                reading.add(answer.rows, None)
                if answer.next is None:
                    return reading
                if answer.next in seen:
                    raise Malformed(f"GET {self._name(path)} has pages that lead in a circle")
                seen.add(answer.next)
                url, query = answer.next, ()

        return await self._settled(path, once)

    async def cursor_rows(
        self,
        path: str,
        params: Params,
        page: Callable[[Answer], LinkedPage[_Row]],
        key: Callable[[_Row], Hashable],
        cursor_name: str = "cursor",
    ) -> list[_Row]:
        """Read all pages of a list in which each page gives the cursor of the next.

        Raises:
            Malformed: a cursor comes twice.
        """

        async def once() -> _Reading[_Row]:
            reading = _Reading(key)
            seen: set[str] = set()
            query: Params = params
            while True:
                answer = page(await self.get(path, query))
                reading.add(answer.rows, None)
                if answer.next is None:
                    return reading
                if answer.next in seen:
                    raise Malformed(f"GET {self._name(path)} has pages that lead in a circle")
                seen.add(answer.next)
                query = [*params, (cursor_name, answer.next)]

        return await self._settled(path, once)

    async def stream(self, path: str, params: Params = ()) -> AsyncGenerator[bytes, None]:
        """Read one large body in pieces, without holding it: decoded bytes, at most `Limits.body_bytes` in all.

        Nothing is retried once the first piece was given out; close the iterator early with `contextlib.aclosing`.
        Raises as `get`.
        """
        call = self._call("GET", path, params)
        self._count(call)
        try:
            async with self._request(call) as response:
                self._measure(response)
                if not response.is_success:
                    raise _failure(call.what, response.status_code, response.headers, self._clock.now())
                async with aclosing(_decoded(call.what, response, self._limits.body_bytes)) as pieces:
                    async for piece in pieces:
                        if self._remaining() <= 0:
                            raise self._too_late(call, None)
                        yield piece
        except httpx.HTTPError as error:
            raise _broken(call.what, error) from error

    async def _settled(self, path: str, once: Callable[[], Awaitable["_Reading[_Row]"]]) -> list[_Row]:
        """Read a list until its pages fit together.

        A row that is inserted or deleted between two pages moves all rows behind it: one comes twice, or one is never
        seen. When a reading shows that, the list is read once more; two readings that agree row for row are taken as
        they are (then the provider really lists something twice), otherwise nothing is.
        """
        first = await once()
        if first.is_consistent:
            return first.rows
        second = await once()
        if second.is_consistent:
            return second.rows
        if second.has_count and second.sequence == first.sequence:
            return second.rows
        raise Unavailable(
            f"GET {self._name(path)} changed twice while its pages were read: nothing was taken over;"
            " it is read again at the next poll"
        )

    async def _send(self, call: _Call) -> Answer:
        """Send until there is an answer that counts, the tries are used up, or the deadline would pass."""
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._once(call)
            except Unavailable as error:
                failure: PortError = error
                is_limit = False
            else:
                if HTTPStatus(200) <= answer.status < HTTPStatus(300) or answer.status in call.accepted:
                    return answer
                failure = _failure(call.what, answer.status, answer.headers, self._clock.now())
                is_limit = answer.status == HTTPStatus.TOO_MANY_REQUESTS
            if not isinstance(failure, Unavailable) or not call.may_retry:
                raise failure
            if attempt >= self._limits.attempts and not is_limit:
                raise failure
            await self._pause(call, attempt, failure)

    async def _once(self, call: _Call) -> Answer:
        """Send once and read the whole body within the request's time."""
        self._count(call)
        seconds = min(self._limits.request_seconds, self._remaining())
        try:
            async with asyncio.timeout(seconds), self._request(call) as response:
                self._measure(response)
                body = b""
                if response.is_success or call.has_body_always:
                    body = b"".join([piece async for piece in _decoded(call.what, response, self._limits.body_bytes)])
                return Answer(
                    what=call.what,
                    status=response.status_code,
                    headers=dict(response.headers.items()),
                    body=body,
                    json_depth=self._limits.json_depth,
                )
        except TimeoutError:
            raise TooSlow(
                f"{call.what} gave no complete answer within {seconds:g} s: it is tried again later"
            ) from None
        except httpx.HTTPError as error:
            raise _broken(call.what, error) from error

    def _request(self, call: _Call) -> Any:
        headers = {"Accept-Encoding": "gzip"}
        headers |= {name: _shown(value) for name, value in (*self._client._headers.items(), *call.headers.items())}  # noqa: SLF001 - one unit
        http = self._client._http  # noqa: SLF001 - one unit
        self._sent_at = self._clock.now()
        return http.stream(call.method, call.url, headers=headers, content=call.body)

    async def _pause(self, call: _Call, attempt: int, failure: Unavailable) -> None:
        """Wait before the next try, as long as the other side said and at least an own, growing time."""
        own = min(self._limits.pause_seconds * 2.0 ** min(attempt - 1, 16), self._limits.pause_max_seconds)
        own *= 0.5 + 0.5 * self._client._jitter()  # noqa: SLF001 - one unit
        wait = max(own, (failure.retry_after or 0.0) + own * 0.1)
        if wait >= self._remaining():
            raise self._too_late(call, failure)
        await self._clock.sleep(wait)

    def _too_late(self, call: _Call, failure: Unavailable | None) -> TooSlow:
        cause = f"{failure}; " if failure else f"{call.what}: "
        return TooSlow(
            f"{cause}the whole read may take {self._limits.operation_seconds:g} s and gave up after"
            f" {self.requests} requests",
            retry_after=failure.retry_after if failure else None,
        )

    def _count(self, call: _Call) -> None:
        if self._remaining() <= 0:
            raise self._too_late(call, None)
        if self.requests >= self._limits.requests:
            raise Unavailable(
                f"{call.what} would be more than the {self._limits.requests} requests that one read may cost:"
                " narrow the filters"
            )
        self.requests += 1

    def _remaining(self) -> float:
        return self._ends_at - self._clock.monotonic()

    def _measure(self, response: httpx.Response) -> None:
        """Narrow down the other side's clock: its second of answering lies between our sending and our receiving."""
        date = _http_date(response.headers.get("date"))
        if date is None:
            return
        bounds = (date - self._clock.now(), date + timedelta(seconds=1) - self._sent_at)
        if self._skew is not None:
            both = (max(bounds[0], self._skew[0]), min(bounds[1], self._skew[1]))
            # A clock that was set in between: only the latest answer still says something.
            bounds = both if both[0] <= both[1] else bounds
        self._skew = bounds

    def _call(self, method: str, path: str, params: Params) -> _Call:
        base = self._client._base  # noqa: SLF001 - one unit
        if path.startswith("/"):
            url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + httpx.URL(path).raw_path)
        else:
            url = _checked_link(base, path)
        if params:
            url = url.copy_merge_params(list(params))
        return _Call(method=method, url=url, what=f"{method} {self._name_of(url)}")

    def _name(self, path: str) -> str:
        return self._call("GET", path, ()).what.removeprefix("GET ")

    def _name_of(self, url: httpx.URL) -> str:
        port = f":{url.port}" if url.port else ""
        hidden = self._client._hide_path  # noqa: SLF001 - one unit
        return f"{url.scheme}://{url.host}{port}{'/…' if hidden else url.path}"


# --- one URL, many times a second ----------------------------------------------------------------------------------

_HEAD_BYTES_MAX: Final = 32 * 1024
"""Status line and headers of an answer."""
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Who must vouch for the other side, and who we are; paths of PEM files."""

    ca_file: str | None = None
    """None: the public authorities."""
    client_certificate: tuple[str, str] | None = None
    """Our certificate with its chain, and its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostLimits:
    """What a `PostClient` may use."""

    body_bytes: int = 256 * 1024
    """One answer; compressed ones are not asked for and not taken."""
    json_depth: int = 64
    connections: int = 64
    """Open at the same time; who comes when all are in use waits, within its own time."""
    is_kept_open: bool = True
    """False closes each connection with its answer, and then nothing is left that must be closed."""


class PostClient:
    """Asks one URL by POST, where a general client would cost more than the question. It never asks twice by itself.

    Any status is an answer; what it means is the caller's to say. Redirects are not followed.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        params: Params = (),
        *,
        headers: Mapping[str, str | Secret] = _NO_HEADERS,
        limits: PostLimits | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Open no connection yet. `base_url` as for `HttpClient`; `path` begins with `/` and is put behind it.

        Raises `Refused` when the URL, a header or a file of TLS is not acceptable.
        """
        base, tls = _checked_base(base_url), tls or Tls()
        url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + httpx.URL(path).raw_path)
        url = url.copy_merge_params(list(params)) if params else url
        port = f":{url.port}" if url.port else ""
        self.what: Final = f"POST {url.scheme}://{url.host}{port}{url.path}"
        self._head = _request_head(url, headers)
        self._address = (url.host, url.port or (443 if url.scheme == "https" else 80))
        self._tls = _tls_context(tls.ca_file, tls.client_certificate) if url.scheme == "https" else None
        self._limits = limits or PostLimits()
        self._idle: list[_Wire] = []
        self._free = asyncio.Semaphore(self._limits.connections)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, body: bytes, *, seconds: float, is_fresh: bool = False) -> Answer:
        """One answer within the time, waiting for a free connection included. `is_fresh`: over a new connection.

        Raises:
            Refused: the certificate is not trusted.
            Malformed: what came is no HTTP, or longer than the bound.
            TooSlow: no complete answer in time.
            Unavailable: there was no answer, or it broke off.
        """
        self._adopt_loop()
        try:
            async with asyncio.timeout(seconds), self._free:
                wire = await self._connected(is_fresh=is_fresh)
                try:
                    answer = await wire.exchange(self._head + b"%d\r\n\r\n" % len(body) + body)
                except BaseException:
                    wire.abort()
                    raise
        except TimeoutError:
            raise TooSlow(f"{self.what} gave no complete answer within {seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Refused(
                f"{self.what}: the certificate is not trusted ({error.verify_message}):"
                " set ca_file to the authority that signed it"
            ) from error
        except OSError as error:
            raise Unavailable(
                f"{self.what} failed: {error.__class__.__name__}; is the host reachable from here?"
            ) from error
        if wire.is_usable and self._limits.is_kept_open:
            self._idle.append(wire)
        else:
            wire.abort()
        return answer

    async def close(self) -> None:
        """Close the connections. Calling it twice is fine."""
        for wire in self._idle:
            wire.abort()
        self._idle.clear()

    def _adopt_loop(self) -> None:
        """Connections belong to the loop that made them: commands run one after the other, each in its own."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._idle = loop, []
            self._free = asyncio.Semaphore(self._limits.connections)

    async def _connected(self, *, is_fresh: bool) -> "_Wire":
        while self._idle and not is_fresh:
            wire = self._idle.pop()
            if wire.is_usable:
                return wire
            wire.abort()
        host, port = self._address
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: _Wire(self.what, self._limits),
            host,
            port,
            ssl=self._tls,
            server_hostname=host if self._tls else None,
        )
        return wire


def _request_head(url: httpx.URL, headers: Mapping[str, str | Secret]) -> bytes:
    lines = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "Content-Type": "application/json"}
    lines |= {name: _shown(value) for name, value in headers.items()}
    for name, value in lines.items():
        if not _HEADER_TEXT.fullmatch(value):
            raise Refused(f"the value of the header {name} has characters that no header may have")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {url.raw_path.decode('ascii')} HTTP/1.1\r\n{text}Content-Length: ".encode("ascii")


class _Wire(asyncio.Protocol):
    """One connection: a question out, exactly one answer in, nothing in between. llhttp says what HTTP is."""

    def __init__(self, what: str, limits: PostLimits) -> None:
        self._what = what
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._is_over = False
        self._begin()

    def _begin(self) -> None:
        # httptools calls back the methods below named on_*; its stub wants a protocol with all of them.
        self._parser = httptools.HttpResponseParser(cast("Any", self))
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = self._head_size = self._named_size = 0
        self._is_in_body = self._is_complete = self._is_last = False

    @property
    def is_usable(self) -> bool:
        """Whether another question may go over it."""
        return not self._is_over and self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close it at once; what was not sent is not sent."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, question: bytes) -> Answer:
        """Send and wait. Raises `Malformed`, `Unavailable` or OSError; then the connection is of no more use."""
        if self._transport is None:
            raise Unavailable(f"{self._what} failed: not connected")
        self._begin()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        try:
            return await self._waiting
        finally:
            self._waiting = None

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.abort()  # an answer to no question; whose would the next one be?
            return
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            self._fail(Malformed(f"{self._what} answered another protocol"))
        except httptools.HttpParserError as error:
            inner = error.__context__
            self._fail(inner if isinstance(inner, Malformed) else Malformed(f"{self._what} answered no HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        why = "the connection broke" if exc else "the connection was closed"
        self._fail(Unavailable(f"{self._what} failed: {why} before the answer was whole"))

    # -- inside

    def _feed(self, data: bytes) -> None:
        if not self._is_in_body:
            self._head_size += len(data)
        self._parser.feed_data(data)
        if not self._is_in_body and self._head_size > _HEAD_BYTES_MAX:
            self._fail(self._too_many_headers())
        elif self._is_complete:
            self._answer()

    def _too_many_headers(self) -> Malformed:
        return Malformed(f"{self._what} answered more than {_HEAD_BYTES_MAX} bytes of headers")

    def _fail(self, error: Exception) -> None:
        self._is_over = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def _answer(self) -> None:
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", ""}:
            self._fail(Malformed(f"{self._what} answered a body compressed in a way that was not asked for"))
            return
        self._is_over = self._is_over or self._is_last
        if self._waiting is not None and not self._waiting.done():
            answer = Answer(
                what=self._what,
                status=self._parser.get_status_code(),
                headers=self._headers,
                body=b"".join(self._body),
                json_depth=self._limits.json_depth,
            )
            self._waiting.set_result(answer)

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise Malformed(f"{self._what} answered twice")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._named_size += len(name) + len(value)
        if self._named_size > _HEAD_BYTES_MAX:
            raise self._too_many_headers()
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        if self._parser.get_status_code() < HTTPStatus.OK:
            raise Malformed(f"{self._what} answered {self._parser.get_status_code()}, which is no answer")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._limits.body_bytes:
            raise Malformed(f"{self._what} answered more than {self._limits.body_bytes} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_complete = True
        self._is_last = not self._parser.should_keep_alive()


class HttpSourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that every source over HTTP has."""

    base_url: Annotated[
        str | None,
        msgspec.Meta(description="Instead of the provider's own address; https, or http on loopback."),
    ] = None
    ca_file: Annotated[
        str | None,
        msgspec.Meta(description="PEM file of the authorities to trust instead of the public ones."),
    ] = None
    deadline: Annotated[
        timedelta, msgspec.Meta(description="What one read of everything may take, pauses included.")
    ] = timedelta(seconds=60)
    request_timeout: Annotated[timedelta, msgspec.Meta(description="What one request may take.")] = timedelta(
        seconds=15
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How one provider is reached, and what it knows."""

    base_url: str
    """Where to ask unless the section says otherwise."""
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    """Sent with every request; credentials as `Secret`."""
    window_max: timedelta = timedelta(days=90)
    """How far ahead it knows shifts."""
    unlisted: bool | None = False
    """See `Gathered.unlisted`."""
    hide_path: bool = False
    """See `HttpClient`."""
    body_bytes: int = Limits().body_bytes


class HttpSource:
    """A source of which each read is one operation: everything or nothing. Implements `ports.Source`."""

    def __init__(
        self,
        config: HttpSourceConfig,
        provider: Provider,
        read: Callable[[Operation, Gathered], Awaitable[None]],
        *,
        name: SourceName,
        clock: Clock,
    ) -> None:
        """Open no connection yet. Raises `Refused` when the URL or the CA file is not acceptable.

        `read` asks for everything and puts it into its second argument, or raises a port error.
        """
        self._name = name
        self._read = read
        self._provider = provider
        self._notes: tuple[str, ...] = ()
        self._requests = 0
        self._client = HttpClient(
            config.base_url or provider.base_url,
            clock=clock,
            ca_file=config.ca_file,
            headers={"Accept": "application/json", **provider.headers},
            hide_path=provider.hide_path,
            limits=Limits(
                request_seconds=config.request_timeout.total_seconds(),
                operation_seconds=config.deadline.total_seconds(),
                body_bytes=provider.body_bytes,
            ),
        )

    @property
    def name(self) -> SourceName:
        """The configured name."""
        return self._name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the last complete read could not learn, in sentences for the operator."""
        return self._notes

    @property
    def requests(self) -> int:
        """How many requests the last complete read cost, retries included."""
        return self._requests

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """Read everything from `now` to `now + window`, all pages, or raise as `ports.Source.fetch` says."""
        if not timedelta(0) < window <= self._provider.window_max:
            most = self._provider.window_max
            raise Refused(f"{self._name}: a window of {window} is not readable; the most is {most}")
        operation = self._client.operation()
        gathered = Gathered(window=Window.of(now, window), unlisted=self._provider.unlisted)
        await self._read(operation, gathered)
        self._notes, self._requests = tuple(gathered.notes), operation.requests
        return gathered.roster(self._name, now, operation.clock_skew)

    async def close(self) -> None:
        """Give back the connections. Calling it twice is fine."""
        await self._client.close()


class _GraphQlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    data: Any = None
    errors: list[Any] | None = None


class _Reading(Generic[_Row]):
    """One passage through all pages of a list, and whether the pages fit together."""

    def __init__(self, key: Callable[[_Row], Hashable]) -> None:
        self._key = key
        self._counted = 0
        self._totals: set[int] = set()
        self._is_doubled = False
        self._by_key: dict[Hashable, _Row] = {}
        self.sequence: list[Hashable] = []

    def add(self, rows: Iterable[_Row], total: int | None) -> None:
        """Take one page. The same row twice on one page is the provider's doing; on two pages it may have moved."""
        page: dict[Hashable, _Row] = {}
        for row in rows:
            self._counted += 1
            page[self._key(row)] = row
        self._is_doubled = self._is_doubled or not self._by_key.keys().isdisjoint(page)
        self.sequence.extend(page)
        self._by_key |= page
        if total is not None:
            self._totals.add(total)

    @property
    def rows(self) -> list[_Row]:
        """Each row once, in the order of the list."""
        return list(self._by_key.values())

    @property
    def has_count(self) -> bool:
        """Whether there are as many rows as the provider said, where it said so."""
        return self._totals <= {self._counted}

    @property
    def is_consistent(self) -> bool:
        """Whether no row moved, as far as can be seen."""
        return self.has_count and not self._is_doubled


def _tls_context(ca_file: str | None, client_certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """Verify against that authority, else the public ones; show our own certificate where one is given."""
    try:
        context = ssl.create_default_context(cafile=ca_file or certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"the CA file {ca_file} cannot be read: {error.__class__.__name__}; give a PEM file") from error
    if client_certificate is None:
        return context
    certificate, key = client_certificate
    try:
        # A key with a passphrase would ask for it on the terminal; this refuses it instead.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"the certificate {certificate} with the key {key} cannot be used: {error.__class__.__name__}; give PEM"
            " files that belong together, the key without a passphrase"
        ) from error
    return context


def _shown(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _checked_base(url: str) -> httpx.URL:
    """Accept `https`, and `http` on loopback; nobody on the way may read the credential or change an answer."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise Refused("the base URL cannot be read: write it as https://host") from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise Refused(
            f"the base URL of {parsed.host} may hold a host, a port and a path only; credentials go elsewhere"
        )
    if not parsed.host or parsed.scheme not in {"https", "http"}:
        raise Refused("the base URL must begin with https:// and name a host")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise Refused(f"http://{parsed.host} is not encrypted: use https:// (plain http is for loopback only)")
    return parsed


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_link(base: httpx.URL, link: str) -> httpx.URL:
    """Resolve a link that the provider sent; it must not carry the credential to another host."""
    try:
        url = base.join(link)
    except httpx.InvalidURL:
        raise Malformed(f"{base.host} answered a link that cannot be read") from None
    if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port) or url.userinfo:
        raise Malformed(f"{base.host} answered a link to another host, which is not followed")
    return url


def _failure(what: str, status: int, headers: Mapping[str, str], now: datetime) -> PortError:
    """Turn a status that is not a success into the error that fits what the caller can do about it."""
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = _retry_after(headers, now)
        reason = "the rate limit is reached" if status == HTTPStatus.TOO_MANY_REQUESTS else "it failed"
        return Unavailable(f"{what} answered {status}: {reason}", retry_after=wait)
    if HTTPStatus(300) <= status < HTTPStatus(400):
        return Refused(f"{what} answered {status}: redirects are not followed, set the base URL to where it leads")
    return Refused(f"{what} answered {status}: {_ADVICE.get(status, 'the request is not accepted as it is')}")


def _broken(what: str, error: httpx.HTTPError) -> PortError:
    """Turn a failed exchange into a port error; a certificate that is not trusted stays so until somebody acts."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Refused(
                f"{what}: the certificate is not trusted ({cause.verify_message}):"
                " set ca_file to the authority that signed it"
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.DecodingError):
        return Malformed(f"{what} answered a body that cannot be decompressed")
    return Unavailable(f"{what} failed: {error.__class__.__name__}; is the host reachable from here?")


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long to wait: `ratelimit-reset` (seconds) or `Retry-After` (seconds or date); the longer counts."""
    waits = [_seconds(headers.get("ratelimit-reset")), _seconds(headers.get("retry-after"))]
    date = _http_date(headers.get("retry-after"))
    if date is not None:
        waits.append(max(0.0, (date - (_http_date(headers.get("date")) or now)).total_seconds()))
    known = [wait for wait in waits if wait is not None]
    return max(known) if known else None


def _seconds(text: str | None) -> float | None:
    """Read a plain number of seconds up to a day; anything else is as if it were not there."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= timedelta(days=1).total_seconds() else None


def _http_date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


async def _decoded(what: str, response: httpx.Response, bound: int) -> AsyncGenerator[bytes, None]:
    """Decode a body piece by piece and stop at the bound, so that a small compressed body cannot fill the memory."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", ""}:
        raise Malformed(f"{what} answered a body compressed in a way that was not asked for")
    unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    size = 0
    async for raw in response.aiter_raw():
        try:
            piece = unzip.decompress(raw, bound - size + 1) if unzip else raw
        except zlib.error:
            raise Malformed(f"{what} answered a body that cannot be decompressed") from None
        size += len(piece)
        if size > bound:
            raise Malformed(f"{what} answered more than {bound} bytes")
        yield piece
    if unzip and not unzip.eof:
        raise Malformed(f"{what} answered a compressed body that is cut off")


def _is_deeper(value: Any, bound: int) -> bool:
    """Whether lists and objects are nested deeper than the bound; without recursion."""
    level: list[Any] = [value]
    for _ in range(bound + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()
