import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.simulator.asking import ACCEPT, ask, rows
from watchkey.simulator import (
    READ_TOKEN,
    WRITE_TOKEN,
    CustomShift,
    FlexibleSchedule,
    Restriction,
    Rotation,
    Rule,
    Simulator,
)
from watchkey.simulator.api import PARAMETERS
from watchkey.simulator.rota import LayeredSchedule
from watchkey.simulator.sample import fill
from watchkey.simulator.world import backdate

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTRACT = Path(__file__).resolve().parents[3] / "shared" / "contracts" / "pagerduty-openapi-subset.json"
WINDOW = {"since": "2026-07-01T12:00:00Z", "until": "2026-07-03T12:00:00Z"}


def play(test: Callable[[Simulator], Awaitable[None]]) -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            fill(sim.world, turn=12 * HOUR)
            await test(sim)

    asyncio.run(go())


def contract() -> dict[str, Any]:
    if not CONTRACT.exists():
        pytest.skip("../shared/contracts/pagerduty-openapi-subset.json is not there")
    document: dict[str, Any] = json.loads(CONTRACT.read_text())
    return document


def busy(sim: Simulator) -> str:
    """Put one of everything into the account; returns an open incident."""
    world = sim.world
    rotation = Rotation(id="R1", members=["PALICE", None], start=NOW - 2 * HOUR, length=HOUR * 24, every_days=1)
    shift = CustomShift(id="C1", members=["PCAROL"], start=NOW, end=NOW + HOUR)
    world.add_schedule(FlexibleSchedule(id="SFLEX", name="Flexible", rotations=[rotation], custom_shifts=[shift]))
    world.add_policy("EFLEX", "Flexible", [Rule(schedules=["SFLEX"], round_robin=True)])
    primary = world.schedules["SPRIMARY"]
    assert isinstance(primary, LayeredSchedule)
    primary.layers[0].restrictions.append(Restriction(start=time(0), duration=24 * HOUR))
    primary.layers[0].restrictions.append(Restriction(start=time(8), duration=8 * HOUR, day=3))
    world.override("SFLEX", "PBOB", NOW + HOUR, NOW + 2 * HOUR, by="PBOB", part="R1")
    world.override("SPRIMARY", "PCAROL", NOW + HOUR, NOW + 2 * HOUR, by="PCAROL")
    world.subscribe("http://127.0.0.1:1/hook", "key")
    incident = world.trigger("SVORDERS", by="PCAROL")
    assert incident is not None
    world.escalate(incident)
    world.acknowledge(incident, "PALICE")
    world.acknowledge(incident, "SVCHECKOUT", kind="service")
    world.request_responder(incident, "PBOB", "PALICE")
    return incident


# What the contract says wrongly, as the vendor's own texts and examples show.
WRONG_NULLS = [("Oncall", "start"), ("Oncall", "end"), ("Oncall", "schedule"), ("ScheduleLayer", "end")]


def corrected(document: dict[str, Any]) -> dict[str, Any]:
    """The contract with its known errors mended, and `nullable` as JSON Schema says it."""
    mended = copy.deepcopy(document)
    schemas = mended["components"]["schemas"]
    for name, part in WRONG_NULLS:
        schemas[name]["properties"][part]["nullable"] = True
    # Its variants are not told apart by their types, so that every channel fits several of "exactly one".
    del schemas["Channel"]["oneOf"]
    # The entry asks for two different types at once.
    schemas["AcknowledgeLogEntry"]["allOf"][1]["properties"]["type"]["enum"] = ["acknowledge_log_entry"]
    mended_whole: dict[str, Any] = _nullable(mended)
    return mended_whole


def _nullable(node: Any) -> Any:
    if isinstance(node, list):
        return [_nullable(each) for each in node]
    if not isinstance(node, dict):
        return node
    turned = {key: _nullable(value) for key, value in node.items()}
    if turned.pop("nullable", None) is True:
        return {"anyOf": [turned, {"type": "null"}]}
    return turned


def test_every_answer_validates_against_the_contract() -> None:
    document = corrected(contract())
    registry: Registry[Any] = Registry().with_resource("urn:pd", DRAFT4.create_resource(document))

    async def test(sim: Simulator) -> None:
        incident = busy(sim)
        things = {"/users": "PALICE", "/schedules": "SPRIMARY", "/v3/schedules": "SFLEX", "/services": "SVORDERS"}
        things |= {"/escalation_policies": "EPAY", "/incidents": incident}
        for path, operation in document["paths"].items():
            family = path.partition("/{id}")[0]
            params: dict[str, Any] = dict(WINDOW) if "since" in PARAMETERS[path] and "audit" not in path else {}
            if path.startswith("/v3/") and "{id}" in path:
                params |= {"include[]": "final_schedule"}
            if path == "/schedules":
                params |= {"include[]": ["schedule_layers", "overrides_subschedule", "final_schedule"]}
            if path.startswith("/incidents") and "log_entries" not in path:
                params = {"include[]": "first_trigger_log_entries"}
            if path.endswith("/log_entries"):
                params = {}
            reply = await ask(sim, path.replace("{id}", things.get(family, "")), params=params)
            assert str(reply.status_code) in operation["get"]["responses"], (path, reply.text)
            assert reply.status_code in {200, 201}, (path, reply.text)
            pointer = (
                f"/paths/{path.replace('/', '~1')}/get/responses/{reply.status_code}/content/application~1json/schema"
            )
            schema = {"$ref": f"urn:pd#{pointer.replace('{', '%7B').replace('}', '%7D')}"}
            errors = list(jsonschema.Draft4Validator(schema, registry=registry).iter_errors(reply.json()))
            assert not errors, (path, errors[0].json_path, errors[0].message)

    play(test)


def test_the_validation_can_fail() -> None:
    document = corrected(contract())
    registry: Registry[Any] = Registry().with_resource("urn:pd", DRAFT4.create_resource(document))
    schema = {"$ref": "urn:pd#/components/schemas/Oncall"}
    validator = jsonschema.Draft4Validator(schema, registry=registry)
    assert not validator.is_valid({"escalation_level": "1"})
    assert not validator.is_valid({"user": {"id": "P", "type": "service_reference"}})
    assert validator.is_valid({"start": None, "end": None, "schedule": None, "escalation_level": 1})


def test_the_known_parameters_are_those_of_the_contract() -> None:
    document = contract()
    known = {}
    for path, operation in document["paths"].items():
        resolved = [
            document["components"]["parameters"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
            for each in operation["get"].get("parameters", [])
        ]
        known[path] = frozenset(each["name"] for each in resolved if each["in"] == "query")
    assert known == PARAMETERS


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/oncalls?user_ids=P", {}, 400),
        ("/oncalls?since=yesterday", {}, 400),
        ("/oncalls?since=2026-07-02T00:00:00Z&until=2026-07-01T00:00:00Z", {}, 400),
        ("/oncalls?until=2027-07-01T00:00:00Z", {}, 400),
        ("/oncalls?limit=100&offset=9901", {}, 400),
        ("/oncalls?limit=ten", {}, 400),
        ("/oncalls", {"content": b'{"query": "x"}'}, 400),
        ("/oncalls", {"headers": {"Accept": "application/json"}}, 400),
        ("/oncalls", {"headers": {"Authorization": ""}}, 401),
        ("/oncalls", {"headers": {"Authorization": "Token token=other"}}, 401),
        ("/oncalls", {"headers": {"Authorization": "Bearer sim-read-only"}}, 401),
        ("/users/PNOBODY", {}, 404),
        ("/v3/schedules/SPRIMARY", {}, 400),
        ("/schedules/SPRIMARY/overrides", {}, 400),
        ("/schedules/SPRIMARY/audit/records?since=2026-01-01T00:00:00Z", {}, 400),
        ("/oncalls", {}, 200),
        ("/v3/schedules", {"headers": {"Accept": "*/*"}}, 200),
    ],
)
def test_requests_against_the_contract_are_refused(path: str, options: dict[str, Any], status: int) -> None:
    async def test(sim: Simulator) -> None:
        assert (await ask(sim, path, **dict(options))).status_code == status

    play(test)


def test_only_a_key_that_may_write_may_preview() -> None:
    async def test(sim: Simulator) -> None:
        for token, status in ((READ_TOKEN, 403), (WRITE_TOKEN, 400), ("other", 401)):
            reply = await ask(sim, "/schedules/preview", token, method="POST", json={})
            assert reply.status_code == status

    play(test)


def test_on_calls_overlap_the_window_and_default_to_now() -> None:
    async def test(sim: Simulator) -> None:
        now = await rows(sim, "oncalls", "/oncalls")
        assert [(row["user"]["id"], row["escalation_level"]) for row in now] == [
            ("PBOB", 1),
            ("PALICE", 2),
            ("PMANAGER", 3),
        ]
        assert [(row["start"], row["end"]) for row in now][2] == (None, None)
        sim.clock.set(NOW - timedelta(seconds=1))
        assert (await rows(sim, "oncalls", "/oncalls"))[0]["user"]["id"] == "PALICE"
        both = await rows(sim, "oncalls", "/oncalls", since="2026-07-01T11:00:00Z", until="2026-07-01T13:00:00Z")
        assert [row["user"]["id"] for row in both if row["escalation_level"] == 1] == ["PALICE", "PBOB"]

    play(test)


def test_on_calls_filters_intersect_and_earliest_keeps_the_first() -> None:
    async def test(sim: Simulator) -> None:
        async def people(**params: Any) -> list[str]:
            return [row["user"]["id"] for row in await rows(sim, "oncalls", "/oncalls", **WINDOW, **params)]

        assert set(await people(**{"user_ids[]": ["PBOB", "PMANAGER"]})) == {"PBOB", "PMANAGER"}
        assert await people(**{"schedule_ids[]": "null"}) == ["PMANAGER"]
        assert await people(**{"user_ids[]": "PBOB", "schedule_ids[]": "null"}) == []
        assert await people(**{"escalation_policy_ids[]": "ENONE"}) == []
        assert len(await people(earliest="true")) == 5

    play(test)


def test_pages_have_at_most_a_hundred_rows() -> None:
    async def test(sim: Simulator) -> None:
        for number in range(130):
            sim.world.add_user(f"PX{number}", f"X {number}", f"x{number}@example.com")
        first = (await ask(sim, "/users", params={"limit": 500, "total": "true"})).json()
        assert (len(first["users"]), first["more"], first["total"], first["limit"]) == (100, True, 134, 100)
        last = (await ask(sim, "/users", params={"limit": 100, "offset": 100})).json()
        assert (len(last["users"]), last["more"], last["total"]) == (34, False, None)
        assert len((await ask(sim, "/users")).json()["users"]) == 25

    play(test)


def test_old_incidents_are_listed_only_when_all_dates_are_asked_for() -> None:
    async def test(sim: Simulator) -> None:
        incident = sim.world.trigger("SVORDERS")
        assert incident
        backdate(sim.world.incidents[incident], timedelta(days=40))
        assert await rows(sim, "incidents", "/incidents") == []
        assert len(await rows(sim, "incidents", "/incidents", date_range="all")) == 1

    play(test)


def test_audit_records_come_newest_first_by_cursor() -> None:
    async def test(sim: Simulator) -> None:
        made = [sim.world.override("SPRIMARY", "PCAROL", NOW, NOW + HOUR, by="PBOB") for _ in range(3)]
        first = (await ask(sim, "/audit/records", params={"limit": 2})).json()
        second = (await ask(sim, "/audit/records", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        found = [record["details"]["resource"]["id"] for record in (*first["records"], *second["records"])]
        assert found == made[::-1]
        assert second["next_cursor"] is None

    play(test)


def test_the_date_is_the_simulated_one() -> None:
    async def test(sim: Simulator) -> None:
        assert (await ask(sim, "/oncalls")).headers["date"] == "Wed, 01 Jul 2026 12:00:00 GMT"
        assert ACCEPT.endswith("version=2")

    play(test)
