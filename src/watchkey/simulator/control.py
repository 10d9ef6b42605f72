"""Driving the simulator over HTTP, under `/_control`: one POST per verb, arguments by name, no token."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchkey.simulator.clock import SimulatorClock
from watchkey.simulator.faults import Body, Faults
from watchkey.simulator.world import UnknownThing, World

_WORLD_VERBS: Final = (
    *("add_user", "delete_user", "override", "remove_override", "trigger", "acknowledge", "unacknowledge", "escalate"),
    *("reassign", "request_responder", "answer_request", "resolve", "subscribe", "enable_subscription"),
)


class Control:
    """Maps `/_control/VERB` to the world, the clock and the faults."""

    def __init__(self, world: World, clock: SimulatorClock, faults: Faults) -> None:
        self._world = world
        self._clock = clock
        self._faults = faults
        self.verbs: Mapping[str, Callable[..., Any]] = {
            **{name: getattr(world, name) for name in _WORLD_VERBS},
            "set_clock": self._set_clock,
            "advance": self._advance,
            "freeze": clock.freeze,
            "run": clock.run,
            "real_time": clock.real,
            "outage": self._outage,
            "fault": self._fault,
            "heal": faults.clear,
            "refill": faults.refill,
        }

    def routes(self) -> list[Route]:
        """`GET /_control` lists the verbs and the state; `POST /_control/VERB` does one."""
        verbs = [
            Route(f"/_control/{name}", self._endpoint(verb), methods=["POST"]) for name, verb in self.verbs.items()
        ]
        return [Route("/_control", self._state, methods=["GET"]), *verbs]

    def _endpoint(self, verb: Callable[..., Any]) -> Callable[[Request], Awaitable[Response]]:
        hints = get_type_hints(verb)

        async def endpoint(request: Request) -> Response:
            try:
                given = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
                unknown = given.keys() - inspect.signature(verb).parameters.keys()
                if unknown:
                    return _answer(400, {"error": f"unknown arguments: {', '.join(sorted(unknown))}"})
                arguments = {name: msgspec.convert(value, hints[name]) for name, value in given.items()}
                result = partial(verb, **arguments)()
            except (msgspec.MsgspecError, TypeError, ValueError, UnknownThing) as error:
                return _answer(400, {"error": str(error)})
            return _answer(
                200, {"result": result if isinstance(result, str | int | None) else None, "now": self._clock.now()}
            )

        return endpoint

    async def _state(self, _: Request) -> Response:
        world = self._world
        kinds: dict[str, Iterable[str]] = {
            "users": world.users,
            "schedules": world.schedules,
            "policies": world.policies,
            "services": world.services,
            "incidents": world.incidents,
            "subscriptions": world.subscriptions,
        }
        state = {
            "now": self._clock.now(),
            "verbs": sorted(self.verbs),
            **{kind: list(things) for kind, things in kinds.items()},
        }
        return _answer(200, state)

    def _set_clock(self, at: datetime) -> None:
        self._clock.set(at)

    def _advance(self, seconds: float) -> None:
        self._clock.advance(timedelta(seconds=seconds))

    def _outage(self, status: int = 503) -> None:
        self._faults.status = status

    def _fault(
        self,
        status: int | None = None,
        body: Body = Body.GOOD,
        hang: bool = False,  # noqa: FBT001, FBT002 - given by name in JSON
        only: str = "",
        times: int | None = None,
        rate_limit: int | None = None,
        rate_limit_reset: int | None = 7,
    ) -> None:
        faults = self._faults
        faults.status, faults.body, faults.hang, faults.only, faults.times = status, body, hang, only, times
        faults.rate_limit, faults.rate_limit_reset = rate_limit, rate_limit_reset


def _answer(status: int, value: Mapping[str, Any]) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
