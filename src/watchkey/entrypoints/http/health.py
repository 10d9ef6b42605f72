"""Alive, ready, and the figures for Prometheus."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Request, Response, Route, native_fault
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import CONTENT_TYPE, Metrics
from watchkey.model.access import Caller
from watchkey.model.ids import SourceName
from watchkey.ports import RosterStore


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers. `draining`: it is going down, takes no new sessions and lets the present ones end."""

    status: Literal["alive", "draining"] = "alive"


class ReadyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether decisions can be made; `reasons` name what is missing."""

    ready: bool
    reasons: tuple[str, ...] = ()


class Readied(Protocol):
    """What readiness depends on."""

    @property
    def rosters(self) -> RosterStore:
        """The rosters that decisions use now."""
        ...

    @property
    def source_names(self) -> Sequence[SourceName]:
        """All configured sources."""
        ...


def missing(service: Readied) -> tuple[str, ...]:
    """What keeps the service from being ready: each source of which there is no complete roster yet."""
    held = service.rosters.held()
    return tuple(f"no complete roster of {name} yet" for name in service.source_names if name not in held)


def routes(service: Readied, metrics: Metrics, limits: Limits, is_draining: Callable[[], bool]) -> tuple[Route, ...]:
    """The routes for whoever watches over the service.

    The figures count decisions by reason, so an untrusted caller could read its own reason off them: they are for
    trusted callers.
    """

    async def health(request: Request, caller: Caller | None) -> Response:
        del request, caller
        answer = HealthAnswer(status="draining" if is_draining() else "alive")
        return Response(status=200, body=msgspec.json.encode(answer))

    async def ready(request: Request, caller: Caller | None) -> Response:
        del request, caller
        reasons = (*(("going down",) if is_draining() else ()), *missing(service))
        body = msgspec.json.encode(ReadyAnswer(ready=not reasons, reasons=reasons))
        return Response(status=503 if reasons else 200, body=body)

    async def figures(request: Request, caller: Caller | None) -> Response:
        del request, caller
        return Response(status=200, body=metrics.text(), content_type=CONTENT_TYPE)

    return tuple(
        Route(
            name=name,
            method="GET",
            path=f"/{name}",
            door=door,
            handler=handler,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        )
        for name, door, handler in (
            ("health", Door.OPEN, health),
            ("ready", Door.OPEN, ready),
            ("metrics", Door.TRUSTED, figures),
        )
    )
