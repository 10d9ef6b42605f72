"""PagerDuty's REST API over a world: the read operations of the contract, as strict about requests as it is."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from watchkey.simulator.faults import Body, Faults
from watchkey.simulator.rota import FlexibleSchedule, LayeredSchedule
from watchkey.simulator.views import Json, Views
from watchkey.simulator.world import World

ACCEPT: Final = "application/vnd.pagerduty+json;version=2"
_PAGE: Final = frozenset({"limit", "offset", "total"})
_WINDOW: Final = frozenset({"since", "until"})
ROW_CAP: Final = 10_000
_AHEAD_MAX: Final = timedelta(days=90)

PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "/users": _PAGE | {"query", "team_ids[]", "include[]"},
    "/users/{id}": frozenset({"include[]"}),
    "/oncalls": _PAGE
    | _WINDOW
    | {"time_zone", "include[]", "user_ids[]", "escalation_policy_ids[]", "schedule_ids[]", "earliest"},
    "/schedules": _PAGE | _WINDOW | {"query", "include[]", "time_zone", "include_next_oncall_for_user", "team_ids[]"},
    "/schedules/{id}": _WINDOW | {"time_zone", "overflow", "include_next_oncall_for_user"},
    "/schedules/{id}/overrides": _WINDOW | {"editable", "overflow"},
    "/schedules/{id}/audit/records": _WINDOW | {"limit", "cursor"},
    "/v3/schedules": _PAGE | {"query", "team_ids[]"},
    "/v3/schedules/{id}": _WINDOW | {"time_zone", "overflow", "include[]"},
    "/services": _PAGE | {"query", "team_ids[]", "time_zone", "sort_by", "include[]", "name"},
    "/services/{id}": frozenset({"include[]"}),
    "/escalation_policies": _PAGE | {"query", "user_ids[]", "team_ids[]", "include[]", "sort_by"},
    "/escalation_policies/{id}": frozenset({"include[]"}),
    "/incidents": _PAGE
    | _WINDOW
    | {"date_range", "incident_key", "service_ids[]", "team_ids[]", "user_ids[]", "urgencies[]", "time_zone"}
    | {"statuses[]", "sort_by", "include[]"},
    "/incidents/{id}": frozenset({"include[]"}),
    "/incidents/{id}/log_entries": _PAGE | _WINDOW | {"time_zone", "is_overview", "include[]"},
    "/webhook_subscriptions": _PAGE | {"filter_type", "filter_id"},
    "/audit/records": _WINDOW
    | {"limit", "cursor", "root_resource_types[]", "actor_type", "actor_id", "method_type"}
    | {"method_truncated_token", "actions[]"},
    "/abilities": frozenset(),
}
"""By path: the query parameters that the contract knows. Anything else is answered with 400."""


@dataclass(slots=True)
class Asked:
    """A request that has passed the checks."""

    path: str
    query: Sequence[tuple[str, str]]
    id: str

    def one(self, name: str) -> str | None:
        """The last value of a parameter."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def all(self, name: str) -> list[str]:
        """All values of a set parameter."""
        return [value for key, value in self.query if key == name]

    def flag(self, name: str) -> bool:
        """Whether a boolean parameter is true."""
        return self.one(name) == "true"


class Reject(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, message: str, code: int = 2001) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Api:
    """Answers requests. `tokens` says which API keys exist and whether they may write."""

    def __init__(self, world: World, faults: Faults, tokens: dict[str, bool], url: Callable[[], str]) -> None:
        self.world = world
        self.faults = faults
        self.tokens = tokens
        self.requests: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        """Path and query of every request, as they came."""
        self._url = url
        self._kept: OrderedDict[Any, list[Json]] = OrderedDict()

    def routes(self) -> list[Route]:
        """Everything that the contract knows, and the one write operation that saves nothing."""
        answers: dict[str, Callable[[Asked], Json]] = {
            "/users": lambda asked: self._page(asked, "users", self._matching_users(asked), self._views.user),
            "/users/{id}": lambda asked: {"user": self._views.user(self._find(self.world.users, asked.id))},
            "/oncalls": self._on_calls,
            "/schedules": self._schedules,
            "/schedules/{id}": self._schedule,
            "/schedules/{id}/overrides": self._overrides,
            "/schedules/{id}/audit/records": self._schedule_audit,
            "/v3/schedules": self._v3_schedules,
            "/v3/schedules/{id}": self._v3_schedule,
            "/services": lambda asked: self._page(asked, "services", self.world.services.values(), self._views.service),
            "/services/{id}": lambda asked: {"service": self._views.service(self._find(self.world.services, asked.id))},
            "/escalation_policies": self._policies,
            "/escalation_policies/{id}": lambda asked: {
                "escalation_policy": self._views.policy(self._find(self.world.policies, asked.id))
            },
            "/incidents": self._incidents,
            "/incidents/{id}": lambda asked: {"incident": self._incident(asked.id, asked)},
            "/incidents/{id}/log_entries": self._log_entries,
            "/webhook_subscriptions": self._subscriptions,
            "/audit/records": self._audit,
            "/abilities": lambda _: {"abilities": ["teams", "read_only_users", "urgencies"]},
        }
        routes = [Route(path, self._endpoint(path, answer), methods=["GET"]) for path, answer in answers.items()]
        # Before `/schedules/{id}`, which would take it for an id.
        return [Route("/schedules/preview", self._preview, methods=["POST"]), *routes]

    # The way in

    def _endpoint(self, template: str, answer: Callable[[Asked], Json]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            path = request.url.path
            self.requests.append((path, tuple(request.query_params.multi_items())))
            try:
                self._admit(request)
                if self.faults.is_over_limit():
                    return self._too_many()
                if self.faults.hits(path):
                    return await self._wrong(lambda: answer(self._asked(template, request)))
                await _refuse_body(request)
                return self._json(
                    201 if template.endswith("/overrides") else 200, answer(self._asked(template, request))
                )
            except Reject as error:
                return self._json(error.status, {"error": {"message": str(error), "code": error.code}})

        return endpoint

    def _admit(self, request: Request) -> bool:
        """Check the key; returns whether it may write."""
        header = request.headers.get("authorization", "")
        scheme, _, token = header.partition("token=")
        if scheme != "Token " or token not in self.tokens:
            raise Reject(401, "Unauthorized", 2006)
        return self.tokens[token]

    def _asked(self, template: str, request: Request) -> Asked:
        query = request.query_params.multi_items()
        if unknown := {name for name, _ in query} - PARAMETERS[template]:
            raise Reject(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        if not template.startswith("/v3/") and ACCEPT not in request.headers.get("accept", ""):
            raise Reject(400, "the Accept header does not name version 2")
        return Asked(request.url.path, query, request.path_params.get("id", ""))

    async def _preview(self, request: Request) -> Response:
        self.requests.append((request.url.path, ()))
        try:
            may_write = self._admit(request)
        except Reject as error:
            return self._json(error.status, {"error": {"message": str(error), "code": error.code}})
        if self.faults.status is not None and self.faults.hits(request.url.path):
            return self._json(self.faults.status, {"error": {"message": "simulated", "code": 0}})
        if not may_write:
            return self._json(403, {"error": {"message": "Access Denied", "code": 2010}})
        return self._json(
            400, {"error": {"message": "Invalid Input Provided", "code": 2001, "errors": ["Name can't be blank"]}}
        )

    def _json(self, status: int, value: Json) -> Response:
        return self._answer(status, msgspec.json.encode(value), "application/json")

    def _answer(self, status: int, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
        date = format_datetime(self.world.now().astimezone(UTC).replace(microsecond=0), usegmt=True)
        return Response(body, status, {"date": date, **(headers or {})}, media_type)

    def _too_many(self) -> Response:
        if self.faults.rate_limit_reset is None:
            return self._answer(429, b"", "text/plain")
        headers = {
            "ratelimit-limit": str(self.faults.rate_limit),
            "ratelimit-remaining": "0",
            "ratelimit-reset": str(self.faults.rate_limit_reset),
        }
        body = msgspec.json.encode({"error": {"message": "Rate Limit Exceeded", "code": 2020}})
        return self._answer(429, body, "application/json", headers)

    async def _wrong(self, answer: Callable[[], Json]) -> Response:
        faults = self.faults
        if faults.hang:
            faults.taken.set()
            await faults.released.wait()
        if faults.status is not None:
            return self._json(faults.status, {"error": {"message": "simulated", "code": 0}})
        if faults.body is Body.HTML:
            return self._answer(200, b"<!doctype html><html><body>Please log in</body></html>", "text/html")
        if faults.body is Body.EMPTY:
            return self._answer(200, b"", "application/json")
        if faults.body is Body.UNKNOWN:
            return self._json(200, {"result": "something else"})
        whole = msgspec.json.encode(answer())
        if faults.body is Body.ENDLESS:
            return StreamingResponse(self._endless(whole[:10]), media_type="application/json")
        return self._answer(200, whole[: len(whole) // 2], "application/json")

    async def _endless(self, begin: bytes) -> Any:
        yield begin
        await self.faults.released.wait()

    # Lists

    def _page(
        self,
        asked: Asked,
        name: str,
        things: Iterable[Any],
        show: Callable[[Any], Json],
        *,
        default: int = 25,
        most: int = 100,
    ) -> Json:
        """One page of a list; only what is on it is made."""
        limit = min(max(1, _number(asked, "limit", default)), most)
        offset = _number(asked, "offset", 0)
        if offset + limit > ROW_CAP:
            raise Reject(400, "offset + limit may not be more than 10000")
        everything = list(things)
        page = everything[offset : offset + limit]
        return {
            name: [show(thing) for thing in page],
            "limit": limit,
            "offset": offset,
            "more": offset + len(page) < len(everything),
            "total": len(everything) if asked.flag("total") else None,
        }

    def _changed(self, asked: Asked) -> None:
        if self.faults.before_answer is not None:
            self.faults.before_answer(asked.path, _number(asked, "offset", 0))

    def _kept_rows(self, key: tuple[Any, ...], make: Callable[[], Iterable[Json]]) -> list[Json]:
        """Make the rows of a long list once for all its pages."""
        whole = (*key, self.world.version)
        if whole not in self._kept:
            self._kept[whole] = list(make())
            while len(self._kept) > 8:
                self._kept.popitem(last=False)
        return self._kept[whole]

    def _matching_users(self, asked: Asked) -> Iterable[Any]:
        self._changed(asked)
        query = (asked.one("query") or "").casefold()
        return [user for user in self.world.users.values() if query in user.name.casefold()]

    def _on_calls(self, asked: Asked) -> Json:
        self._changed(asked)
        now = self.world.now()
        since, until = _instant(asked, "since", now), _instant(asked, "until", now)
        if until < since:
            raise Reject(400, "until cannot be before since")
        if until > now + _AHEAD_MAX + timedelta(minutes=1):
            raise Reject(400, "until is more than 90 days ahead")
        rows = self._kept_rows(("oncalls", since, until), lambda: self._views.on_calls(since, until))
        for name, part in (("user_ids[]", "user"), ("escalation_policy_ids[]", "escalation_policy")):
            if wanted := set(asked.all(name)):
                rows = [row for row in rows if row[part]["id"] in wanted]
        if wanted := set(asked.all("schedule_ids[]")):
            rows = [row for row in rows if (row["schedule"]["id"] if row["schedule"] else "null") in wanted]
        return self._page(asked, "oncalls", _earliest(rows) if asked.flag("earliest") else rows, _as_it_is)

    def _schedules(self, asked: Asked) -> Json:
        self._changed(asked)
        window, include = _window(asked), asked.all("include[]")
        return self._page(
            asked,
            "schedules",
            [schedule for schedule in self.world.schedules.values() if isinstance(schedule, LayeredSchedule)],
            lambda schedule: self._views.schedule(schedule, window, parts=include),
        )

    def _schedule(self, asked: Asked) -> Json:
        schedule = self._layered(asked.id)
        return {"schedule": self._views.schedule(schedule, _window(asked), overflow=asked.flag("overflow"))}

    def _overrides(self, asked: Asked) -> Json:
        window = _window(asked)
        if window is None:
            raise Reject(400, "since and until are needed")
        return {"overrides": self._views.overrides(self._layered(asked.id), *window)}

    def _v3_schedules(self, asked: Asked) -> Json:
        self._changed(asked)
        schedules = [s for s in self.world.schedules.values() if isinstance(s, FlexibleSchedule)]
        page = self._page(asked, "schedules", schedules, self._views.v3_reference, default=100, most=1000)
        del page["total"]
        return page

    def _v3_schedule(self, asked: Asked) -> Json:
        schedule = self._find(self.world.schedules, asked.id)
        if not isinstance(schedule, FlexibleSchedule):
            raise Reject(400, "the schedule is layer-based")
        window = _window(asked) if "final_schedule" in asked.all("include[]") else None
        return {"schedule": self._views.v3_schedule(schedule, window, overflow=asked.flag("overflow"))}

    def _policies(self, asked: Asked) -> Json:
        self._changed(asked)
        return self._page(asked, "escalation_policies", self.world.policies.values(), self._views.policy)

    def _incidents(self, asked: Asked) -> Json:
        self._changed(asked)
        statuses = set(asked.all("statuses[]")) or {"triggered", "acknowledged", "resolved"}
        services = set(asked.all("service_ids[]"))
        now = self.world.now()
        since = datetime.min.replace(tzinfo=UTC) if asked.one("date_range") == "all" else now - timedelta(days=30)
        found = [
            incident.id
            for incident in self.world.incidents.values()
            if incident.status in statuses
            and (not services or incident.service in services)
            and incident.created_at >= since
        ]
        return self._page(asked, "incidents", found, lambda incident: self._incident(incident, asked))

    def _incident(self, incident: str, asked: Asked) -> Json:
        with_trigger = "first_trigger_log_entries" in asked.all("include[]")
        return self._views.incident(self._find(self.world.incidents, incident), with_trigger=with_trigger)

    def _log_entries(self, asked: Asked) -> Json:
        incident = self._find(self.world.incidents, asked.id)
        newest_first = incident.log[::-1]
        return self._page(asked, "log_entries", newest_first, lambda entry: self._views.log_entry(incident, entry))

    def _subscriptions(self, asked: Asked) -> Json:
        now = self.world.now()
        subscriptions = self.world.subscriptions.values()
        return self._page(
            asked, "webhook_subscriptions", subscriptions, lambda each: self._views.subscription(each, now)
        )

    def _schedule_audit(self, asked: Asked) -> Json:
        self._find(self.world.schedules, asked.id)
        return self._records(asked, lambda record: record.schedule == asked.id)

    def _audit(self, asked: Asked) -> Json:
        kinds = asked.all("root_resource_types[]")
        return self._records(asked, lambda _: not kinds or "schedules" in kinds)

    def _records(self, asked: Asked, wanted: Callable[[Any], bool]) -> Json:
        """Newest first, by cursor; the cursor is the offset in disguise."""
        now = self.world.now()
        since, until = _instant(asked, "since", now - timedelta(days=1)), _instant(asked, "until", now)
        if until - since > timedelta(days=31):
            raise Reject(400, "until may not be more than 31 days after since")
        found = [r for r in reversed(self.world.audit) if wanted(r) and since <= r.at <= until]
        limit = min(_number(asked, "limit", 25), 100)
        begin = int(asked.one("cursor") or "c0", 36) - int("c0", 36)
        end = begin + limit
        cursor = _base36(end + int("c0", 36)) if end < len(found) else None
        return {
            "records": [self._views.audit_record(r) for r in found[begin:end]],
            "limit": limit,
            "next_cursor": cursor,
        }

    @property
    def _views(self) -> Views:
        return Views(self.world, self._url())

    def _layered(self, id_: str) -> LayeredSchedule:
        schedule = self._find(self.world.schedules, id_)
        if not isinstance(schedule, LayeredSchedule):
            raise Reject(404, "Not Found", 2100)
        return schedule

    @staticmethod
    def _find(where: Mapping[str, Any], id_: str) -> Any:
        if id_ not in where:
            raise Reject(404, "Not Found", 2100)
        return where[id_]


async def _refuse_body(request: Request) -> None:
    if await request.body():
        raise Reject(400, "a GET has no body")


def _as_it_is(row: Json) -> Json:
    return row


def _earliest(rows: Iterable[Json]) -> list[Json]:
    first: dict[tuple[str, int, str], Json] = {}
    for row in rows:
        key = (row["escalation_policy"]["id"], row["escalation_level"], row["user"]["id"])
        if key not in first or (row["start"] or "") < (first[key]["start"] or ""):
            first[key] = row
    return list(first.values())


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.one(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise Reject(400, f"{name} is not a number")
    return int(text)


def _instant(asked: Asked, name: str, default: datetime) -> datetime:
    text = asked.one(name)
    if text is None:
        return default
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Reject(400, f"{name} is not a date") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _window(asked: Asked) -> tuple[datetime, datetime] | None:
    if asked.one("since") is None or asked.one("until") is None:
        return None
    never = datetime.min.replace(tzinfo=UTC)
    return _instant(asked, "since", never), _instant(asked, "until", never)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
