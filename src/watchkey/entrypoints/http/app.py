"""The HTTP way in, put together: which dialects there are, who may use which route, and what a failure looks like."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from watchkey.entrypoints.http import (
    confirmations,
    health,
    held_reads,
    native,
    opa,
    openapi,
    rootly_webhooks,
    svix_webhooks,
    tokens,
    webhooks,
)
from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.questions import Deciding, Questions
from watchkey.model.access import Caller, Resource
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import ResourceId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, IdentityVerifier, RosterStore

log = logging.getLogger("watchkey.http")

_SCHEME: Final = "bearer "
_NO_TOKEN: Final = Fault(
    401,
    "unauthorized",
    "a token of a known caller is needed: Authorization: Bearer wk_…",
    headers=((b"www-authenticate", b'Bearer realm="watchkey"'),),
)


class Hints(held_reads.Lets, Protocol):
    """Who reads the sources."""

    def hint(self, name: SourceName, /) -> bool:
        """Something may have changed there: read it soon. False when there is no such source."""
        ...

    def last_error(self, name: SourceName, /) -> str | None:
        """Why the last read was not taken over; None when it was."""
        ...


class Tokens(tokens.Issues, confirmations.Recognises, Protocol):
    """Who makes and knows the tokens of people."""


class Service(Protocol):
    """What this way in needs of the wired service."""

    @property
    def request_access(self) -> Deciding:
        """The use case that decides."""
        ...

    @property
    def resources(self) -> Mapping[ResourceId, Resource]:
        """What is protected."""
        ...

    @property
    def rosters(self) -> RosterStore:
        """The rosters that decisions use now."""
        ...

    @property
    def sync(self) -> Hints:
        """Who reads the sources."""
        ...

    @property
    def tokens(self) -> Tokens:
        """The tokens of people."""
        ...

    @property
    def confirm_shift(self) -> confirmations.Confirms:
        """The use case of vouching for a shift."""
        ...

    @property
    def source_names(self) -> Sequence[SourceName]:
        """All configured sources."""
        ...

    @property
    def webhook_keys(self) -> Mapping[SourceName, Sequence[Secret]]:
        """The secrets that sign the webhooks of a source; a source that is not here takes none."""
        ...

    @property
    def verifier(self) -> IdentityVerifier:
        """Who is asking."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...


class App:
    """Finds the route of a request, lets its caller in or not, and turns whatever happens into an answer."""

    def __init__(self, service: Service, limits: Limits | None = None, more: Sequence[Route] = ()) -> None:
        """`more` are routes of other ways in, such as the gateway's desk."""
        self.limits = limits or Limits()
        self.id_prefix = f"{secrets.token_hex(4)}-"
        self.metrics = Metrics(service)
        self.is_draining = False
        """For whoever watches over the service; decisions go on until the end."""
        self._service = service
        questions = Questions(service.request_access, service.clock, self.limits, self.metrics)
        routes = (
            *native.routes(service, questions, self.limits),
            *opa.routes(questions, self.limits),
            *webhooks.routes(service, self.limits, self.metrics),
            *svix_webhooks.routes(service, self.limits, self.metrics),
            *rootly_webhooks.routes(service, self.limits, self.metrics),
            *health.routes(service, self.metrics, self.limits, lambda: self.is_draining),
            *tokens.routes(service.tokens, self.limits),
            *confirmations.routes(service.tokens, service.confirm_shift, self.limits),
            *held_reads.routes(service.sync, self.limits),
            *openapi.routes(self.limits),
            *more,
        )
        self._exact = {(route.method, route.path): route for route in routes if not route.path.endswith("/")}
        self._body_bytes = {route.path: route.body_bytes for route in routes}
        self._below = tuple(route for route in routes if route.path.endswith("/"))
        self._fault_writers = {route.path: route.write_fault for route in routes}
        self.metrics.start(sorted({route.name for route in routes}))

    def body_bytes(self, path: str) -> int:
        """How long a body may be for that path."""
        exact = self._body_bytes.get(path)
        if exact is not None:
            return exact
        for route in self._below:
            if path.startswith(route.path):
                return route.body_bytes
        return self.limits.body_bytes

    def fault(self, path: str, fault: Fault) -> Response:
        """An error in the dialect of its path."""
        writer = self._fault_writers.get(path)
        if writer is None:
            below = (route.write_fault for route in self._below if path.startswith(route.path))
            writer = next(below, native_fault)
        return writer(fault)

    async def answer(self, request: Request) -> Response:
        """The answer to any request. Nothing that happens inside gets out as anything but an answer that says no."""
        route = self._exact.get((request.method, request.path)) or self._find(request)
        if route is None:
            response = self._no_route(request)
            self.metrics.count_request("other", response.status)
            return response
        try:
            caller = None if route.door is Door.OPEN else await self._admit(request, route)
            response = await route.handler(request, caller)
        except Fault as fault:
            response = route.write_fault(fault)
        except asyncio.CancelledError:
            self.metrics.count_request(route.name, 503)
            raise
        except Exception:
            log.exception("http.failed", extra={"request_id": request.id, "route": route.name})
            response = route.write_fault(
                Fault(500, "internal_error", f"an internal error; the log has it under request {request.id}")
            )
        self.metrics.count_request(route.name, response.status)
        return response

    async def _admit(self, request: Request, route: Route) -> Caller:
        """The caller of this request. The body has not been looked at yet."""
        given = request.headers.get(b"authorization", b"").decode("latin-1")
        if given[: len(_SCHEME)].lower() != _SCHEME:
            raise _NO_TOKEN
        try:
            caller = await self._service.verifier.verify(given[len(_SCHEME) :])
        except Refused:
            log.warning("http.caller_refused", extra={"request_id": request.id, "peer": request.peer})
            raise _NO_TOKEN from None
        except PortError:
            raise Fault(503, "unavailable", "callers cannot be verified now") from None
        if route.door is Door.TRUSTED and not caller.is_trusted:
            raise Fault(403, "forbidden", "this is for trusted callers only")
        if route.door is Door.ADMIN and not caller.is_admin:
            raise Fault(403, "forbidden", "this is for callers that may administer")
        return caller

    def _find(self, request: Request) -> Route | None:
        # HEAD is GET whose body stays here.
        method = "GET" if request.method == "HEAD" else request.method
        exact = self._exact.get((method, request.path))
        if exact is not None:
            return exact
        for route in self._below:
            if route.method == method and request.path.startswith(route.path):
                return route
        return None

    def _no_route(self, request: Request) -> Response:
        allowed = {method for method, path in self._exact if path == request.path}
        allowed.update(route.method for route in self._below if request.path.startswith(route.path))
        if not allowed:
            return self.fault(request.path, Fault(404, "not_found", "there is nothing at this path"))
        if "GET" in allowed:
            allowed.add("HEAD")
        listed = ", ".join(sorted(allowed)).encode("ascii")
        return self.fault(
            request.path,
            Fault(405, "method_not_allowed", "this path does not take this method", headers=((b"allow", listed),)),
        )
