"""The roster file: what it says is who is on call; what is wrong is told by line; a broken file changes nothing."""

import asyncio
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.fakes.clock import DrivenClock
from watchkey.model.errors import Malformed, PortError, Unavailable
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    IncidentStatus,
    Involvement,
    Provenance,
    Roster,
    Scope,
    ScopeKind,
    Shift,
)
from watchkey.rules.located import ConfigError
from watchkey.rules.roster import RosterIndex, index_roster
from watchkey.sources import roster_file
from watchkey.sources.roster_file import Config, build, make_roster, read_roster_text

ROOT = Path(__file__).parents[2]
NAME = SourceName("local")
WINDOW = timedelta(hours=72)
HOUR = timedelta(hours=1)

DOCUMENTED = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/roster-file.md").read_text(), re.DOTALL)[0]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def roster(text: str, now: datetime, window: timedelta = WINDOW) -> Roster:
    return make_roster(read_roster_text(text, "roster.yaml"), source=NAME, now=now, window=window)


def on_call(index: RosterIndex, kind: ScopeKind, name: str, instant: str) -> list[tuple[str, int | None, str]]:
    shifts = index.on_call(Scope(NAME, kind, name), at(instant))
    return [(shift.person, shift.level, shift.provenance) for shift in shifts]


# -- what the documented example says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "holders"),
    [
        ("2026-01-05 07:59", []),  # the rota begins at nine in Berlin
        ("2026-01-05 08:00", [("alice", 1, "rota")]),
        ("2026-01-12 07:59", [("alice", 1, "rota")]),
        ("2026-01-12 08:00", [("bob", 1, "rota")]),
        ("2026-01-09 20:59", [("alice", 1, "rota")]),
        ("2026-01-09 21:00", [("carol", 1, "rota")]),  # Friday night: the higher layer
        ("2026-01-10 04:59", [("carol", 1, "rota")]),
        ("2026-01-10 05:00", [("alice", 1, "rota")]),
        ("2026-01-11 07:00", [("carol", 1, "rota")]),  # Sunday
        ("2026-01-11 22:59", [("carol", 1, "rota")]),
        ("2026-01-11 23:00", [("alice", 1, "rota")]),
        ("2026-03-03 17:00", [("bob", 1, "swap")]),  # alice gave this night to bob
        ("2026-03-04 07:59", [("bob", 1, "swap")]),
        ("2026-03-04 08:00", [("alice", 1, "rota")]),
        ("2026-07-06 06:59", [("bob", 1, "rota")]),  # summer time: nine is seven in UTC
        ("2026-07-06 07:00", [("alice", 1, "rota")]),
        ("2027-01-04 07:59", [("bob", 1, "rota")]),
        ("2027-01-04 08:00", []),  # until
    ],
)
def test_the_documented_rota_is_what_it_says(instant: str, holders: list[tuple[str, int, str]]) -> None:
    index = index_roster(roster(DOCUMENTED, at(instant) - HOUR))
    found = on_call(index, ScopeKind.SERVICE, "orders", instant)
    assert found == [*holders, ("bob", 2, "permanent")]
    assert on_call(index, ScopeKind.SCHEDULE, "day", instant) == holders
    assert index.knows(Scope(NAME, ScopeKind.SERVICE, "stock"))
    assert on_call(index, ScopeKind.SERVICE, "stock", instant) == []


def test_the_documented_people_services_and_incidents_are_there() -> None:
    index = index_roster(roster(DOCUMENTED, at("2026-03-03 20:00")))
    assert [(person.id, person.active) for person in index.roster.people] == [
        ("alice", True),
        ("bob", True),
        ("carol", True),
        ("dora", False),
    ]
    orders, stock = index.roster.services
    assert (orders.policy, orders.depends_on, stock.policy) == ("orders", ("stock",), None)
    assert index.roster.schedules[0].time_zone == "Europe/Berlin"
    assert index.roster.policies[0].schedules_by_level == (("day",), ())
    (incident,) = index.incidents(Scope(NAME, ScopeKind.SERVICE, "orders"))
    assert incident.status is IncidentStatus.ACKNOWLEDGED
    assert incident.opened_at == at("2026-03-03 20:15")
    assert [(one.person, one.involvement, one.role) for one in incident.responders] == [
        ("bob", Involvement.ACKNOWLEDGED, None),
        ("carol", Involvement.ROLE, "incident_commander"),
    ]


def test_a_direct_target_is_permanent() -> None:
    (permanent,) = [one for one in roster(DOCUMENTED, at("2026-03-03")).shifts if one.schedule is None]
    assert permanent == Shift(
        person=PersonId("bob"),
        policy="orders",
        level=2,
        starts_at=None,
        ends_at=None,
        end_kind=EndKind.PERMANENT,
        provenance=Provenance.PERMANENT,
    )


def test_ends_are_exact_even_beyond_the_window_and_what_just_ended_is_still_told() -> None:
    now = at("2026-01-12 09:00")
    shifts = [one for one in roster(DOCUMENTED, now, HOUR).shifts if one.schedule == "day"]
    assert [(one.person, one.ends_at, one.end_kind) for one in shifts] == [
        ("carol", at("2026-01-11 23:00"), EndKind.EXACT),
        ("alice", at("2026-01-12 08:00"), EndKind.EXACT),
        ("bob", at("2026-01-16 21:00"), EndKind.EXACT),
    ]


# -- small rosters -----------------------------------------------------------------------------------------------

PEOPLE = "people:\n  ann: {name: Ann}\n  ben: {name: Ben}\n  cat: {name: Cat}\n"


def schedule(rest: str, name: str = "s", layer: str = "") -> str:
    layer = layer or "participants: [ann, ben], turn: daily, handoff: 09:00, from: 2026-01-05"
    return f"{PEOPLE}schedules:\n  {name}:\n    name: S\n    layers:\n      - {{{layer}}}\n{rest}"


def test_a_schedule_at_several_levels_and_policies_is_told_for_each() -> None:
    text = schedule("policies:\n  p: {name: P, levels: [[s], [s, s]]}\n  q: {name: Q, levels: [[], [s]]}\n")
    shifts = roster(text, at("2026-01-05 10:00"), HOUR).shifts
    assert {(one.policy, one.level) for one in shifts if one.covers(at("2026-01-05 10:00"))} == {
        ("p", 1),
        ("p", 2),
        ("q", 2),
    }
    assert len(shifts) == 3


def test_a_schedule_in_no_policy_is_told_without_a_level() -> None:
    (shift,) = roster(schedule(""), at("2026-01-05 10:00"), HOUR).shifts
    assert (shift.person, shift.policy, shift.level) == ("ann", None, None)


@pytest.mark.parametrize(
    ("override", "grade"),
    [
        ("person: ben, from: 2026-01-05 10:00, to: 2026-01-05 11:00", Provenance.UNKNOWN),
        ("person: ben, from: 2026-01-05 10:00, to: 2026-01-05 11:00, by: ben", Provenance.SELF_OVERRIDE),
        ("person: ben, from: 2026-01-05 10:00, to: 2026-01-05 11:00, by: ann", Provenance.SWAP),
        ("person: ben, from: 2026-01-05 10:00, to: 2026-01-05 11:00, by: cat", Provenance.OTHER_OVERRIDE),
        ("person: ben, from: 2026-01-05T11:00:00+01:00, to: 2026-01-05T11:00Z, by: cat", Provenance.OTHER_OVERRIDE),
        ("person: ben, from: 2026-01-05, to: 2026-01-06, by: cat", Provenance.OTHER_OVERRIDE),
    ],
)
def test_an_override_is_graded_by_who_arranged_it(override: str, grade: Provenance) -> None:
    index = index_roster(roster(schedule(f"    overrides: [{{{override}}}]\n"), at("2026-01-05 09:30"), HOUR))
    assert on_call(index, ScopeKind.SCHEDULE, "s", "2026-01-05 10:00") == [("ben", None, grade)]
    assert index.on_call(Scope(NAME, ScopeKind.SCHEDULE, "s"), at("2026-01-05 10:30"))[0].provenance is grade


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (
            "{days: [mon], from: 09:00, to: 17:00}",
            ["05 09:00", "05 16:59", "12 09:00"],
            ["05 08:59", "05 17:00", "06 10:00"],
        ),
        ("{from: 22:00, to: 06:00}", ["05 22:00", "06 05:59", "11 23:00"], ["06 06:00", "06 21:59"]),
        ("{from: 00:00, to: 24:00, days: [tue]}", ["06 00:00", "06 23:59"], ["05 23:59", "07 00:00"]),
        ("{from: 09:00, to: 09:00, days: [tue]}", ["06 09:00", "07 08:59"], ["06 08:59", "07 09:00"]),
        ("{from: fri 17:00, to: mon 09:00}", ["09 17:00", "12 08:59"], ["09 16:59", "12 09:00"]),
        ("{from: mon 09:00, to: mon 09:00}", ["05 09:00", "12 08:59", "12 09:00"], []),
        ("{from: mon 09:00, to: sun 24:00}", ["05 09:00", "11 23:59"], ["12 00:00", "12 08:59"]),
        ("{from: wed 09:00, to: wed 17:00}", ["07 09:00", "07 16:59"], ["07 08:59", "07 17:00", "08 10:00"]),
    ],
)
def test_a_layer_counts_in_its_windows_only(window: str, inside: list[str], outside: list[str]) -> None:
    layer = f"participants: [ann], turn: daily, handoff: 00:00, from: 2026-01-01, only: [{window}]"
    index = index_roster(roster(schedule("", layer=layer), at("2026-01-05"), timedelta(days=10)))
    scope = Scope(NAME, ScopeKind.SCHEDULE, "s")
    for text, expected in [*((one, 1) for one in inside), *((one, 0) for one in outside)]:
        assert len(index.on_call(scope, at(f"2026-01-{text}"))) == expected, text


@pytest.mark.parametrize(
    ("turn", "handoff", "second"),
    [
        ("12h", "09:00", "2026-01-05 21:00"),
        ("2d", "09:00", "2026-01-07 09:00"),
        ("weekly", "mon 09:00", "2026-01-12 09:00"),
        ("7d", "MON 9:00", "2026-01-12 09:00"),
        ("14d", "mon 09:00", "2026-01-19 09:00"),
    ],
)
def test_turns_may_have_many_lengths(turn: str, handoff: str, second: str) -> None:
    layer = f"participants: [ann, ben], turn: {turn}, handoff: {handoff}, from: 2026-01-05"
    found = roster(schedule("", layer=layer), at("2026-01-05 10:00"), timedelta(days=20)).shifts
    assert [one.person for one in found[:2]] == ["ann", "ben"]
    assert found[1].starts_at == at(second)


# -- what is wrong -----------------------------------------------------------------------------------------------


def layered(**changes: str) -> str:
    keys = {"participants": "[ann]", "turn": "daily", "handoff": "09:00", "from": "2026-01-05"} | changes
    return schedule("", layer=", ".join(f"{key}: {value}" for key, value in keys.items()))


def overridden(override: str) -> str:
    return schedule(f"    overrides: [{{{override}}}]")


def zoned(zone: str) -> str:
    return f"{PEOPLE}schedules: {{s: {{name: S, zone: {zone}}}}}"


def paging(level: str) -> str:
    return f"{PEOPLE}policies: {{p: {{name: P, levels: [{level}]}}}}"


def serving(service: str) -> str:
    return f"{PEOPLE}services: {{v: {{{service}}}}}"


def burning(incident: str) -> str:
    return f"{PEOPLE}incidents: {{i: {{title: T, status: resolved, {incident}}}}}"


ERRORS = [
    ("", "1:1: nothing stands here; expected a mapping"),
    ("people: {}\nshedules: {}", "2:1: shedules: unknown key; expected one of schedules"),
    ("people: {ann: {name: 1}}", "1:22: people.ann.name: this is 1; expected text"),
    (layered(participants="[ann, bne]"), "layers[0].participants[1]: 'bne' is not among the people; did you mean ben?"),
    (layered(participants="[]"), "a list of the wrong length"),
    (layered(turn="hourly"), "no length of a turn"),
    (layered(turn="30m"), "a turn lasts whole hours"),
    (layered(turn="90m"), "a turn lasts whole hours"),
    (layered(turn="367d"), "a turn lasts whole hours, at least one, at most a year"),
    (layered(turn="7"), "no length of a turn"),
    (layered(turn="[a]"), "no length of a turn"),
    (layered(handoff="25:00"), "not a time of day"),
    (layered(handoff="9"), "not a time of day"),
    (layered(handoff="mun 09:00"), "'mun' is no day of the week"),
    (layered(handoff="24:00"), "24:00 is no handoff; expected 00:00 of the next day"),
    (layered(handoff="24:01"), "no day has this time"),
    (layered(handoff="mon 09:00"), "turns of whole weeks change on a day of the week, others do not; expected a time"),
    (layered(turn="weekly"), "expected a day and a time such as mon 09:00"),
    (layered(**{"from": "2026-02-30"}), "no such time in the calendar"),
    (layered(**{"from": "yesterday"}), "not a time; expected a date"),
    (layered(**{"from": "0001-01-01"}), "a year out of range"),
    (layered(**{"from": "9999-12-31T23:00:00-23:00"}), "a year out of range"),
    (layered(**{"from": "2026-01-05 25:00"}), "no such time in the calendar"),
    (layered(until="2026-01-05"), "schedules.s.layers[0].until: the layer ends before it starts"),
    (layered(only="[{from: 24:00, to: 09:00}]"), "only[0].from: 24:00 begins nothing"),
    (layered(only="[{from: mon 09:00, to: 17:00}]"), "only[0]: a window names its days either"),
    (layered(only="[{from: mon 09:00, to: tue 17:00, days: [mon]}]"), "only[0]: a window names its days either"),
    (layered(only="[{from: 09:00, to: 17:00, days: [mond]}]"), "'mond' is not known; expected one of mon, tue"),
    (
        zoned("Europe/Berln"),
        "zone: 'Europe/Berln' is no time zone; expected a name such as Europe/Berlin; did you mean Europe/B",
    ),
    (zoned("../../etc/passwd"), "is no time zone"),
    (zoned("''"), "is no time zone"),
    (zoned("/etc/localtime"), "is no time zone"),
    (zoned("Europe"), "is no time zone"),
    (overridden("person: dan, from: 2026-01-05, to: 2026-01-06"), "overrides[0].person: 'dan' is not among"),
    (overridden("person: ann, from: 2026-01-05, to: 2026-01-06, by: dan"), "overrides[0].by: 'dan' is not"),
    (overridden("person: ann, from: 2026-01-05, to: 2026-01-05"), "the override ends before it starts"),
    (overridden("person: ann, from: 2026-01-05, to: 2027-01-07"), "the override is longer than a year"),
    (paging("[x]"), "policies.p.levels[0][0]: 'x' is not among the schedules"),
    (paging("{people: [x]}"), "policies.p.levels[0].people[0]: 'x' is not among the people"),
    (paging("{schedules: [x]}"), "levels[0].schedules[0]: 'x' is not among the schedules"),
    (paging("x"), "policies.p.levels[0]: this is text; expected a list or a mapping"),
    (serving("name: V, policy: x"), "services.v.policy: 'x' is not among the policies"),
    (serving("name: V, depends_on: [w]"), "services.v.depends_on[0]: 'w' is not among the services"),
    (f"{PEOPLE}incidents: {{i: {{title: T, status: open}}}}", "incidents.i.status: 'open' is not known"),
    (burning("service: x"), "'x' is not among the services"),
    (burning("policy: x"), "'x' is not among the policies"),
    (burning("opened_by: x"), "'x' is not among the people"),
    (burning("escalation_level: 0"), "expected int >= 1"),
    (burning("responders: [{person: x}]"), "'x' is not among the people"),
    (burning("responders: [{person: ann}]"), "either a role or an `as`"),
    (burning("responders: [{person: ann, as: joined, role: x}]"), "either a role or an `as`"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=range(len(ERRORS)))
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_roster_text(text, "roster.yaml")
    assert re.match(r"roster\.yaml:\d+:\d+: ", str(caught.value))
    assert any(message in str(one) for one in caught.value.all)


LINES = DOCUMENTED.splitlines(keepends=True)


def attempt(text: str) -> str:
    try:
        made = roster(text, at("2026-03-03 12:00"))
    except ConfigError:
        return "refused"
    index_roster(made)
    return "read"


OLD = st.sampled_from(["alice", "mon", "09:00", "weekly", "2026", "day", "orders", "[", "from", "}"])
NEW = st.sampled_from(["", "0", "bob", "24:00", "9999-12-31", "~", "- ", "{}", "12h", "zz"])


@settings(max_examples=150, deadline=None)
@given(drop=st.sets(st.integers(0, len(LINES) - 1), max_size=3), swap=st.lists(st.tuples(OLD, NEW), max_size=2))
def test_a_damaged_file_is_refused_with_its_place_or_read(drop: set[int], swap: list[tuple[str, str]]) -> None:
    text = "".join(line for i, line in enumerate(LINES) if i not in drop)
    for old, new in swap:
        text = text.replace(old, new, 1)
    event(attempt(text))


# -- the source --------------------------------------------------------------------------------------------------


def fetch(path: Path) -> Roster:
    source = build(Config(path=path), name=NAME, clock=DrivenClock())
    return asyncio.run(source.fetch(now=at("2026-03-03 12:00"), window=WINDOW))


def test_the_file_is_read_again_each_time_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    now = at("2026-01-05 10:00")

    async def go() -> list[Roster | PortError]:
        source = build(Config(path=path), name=NAME, clock=DrivenClock())
        outcomes: list[Roster | PortError] = []
        for text in (layered(), layered(), layered(participants="[ben]"), layered(participants="[nobody]"), layered()):
            path.write_text(text)
            try:
                outcomes.append(await source.fetch(now=now, window=HOUR))
            except PortError as error:
                outcomes.append(error)
        await source.close()
        await source.close()
        return outcomes

    first, again, changed, broken, mended = asyncio.run(go())
    assert isinstance(first, Roster)
    assert again == first == mended
    assert (first.source, first.taken_at, first.window_ends_at) == (NAME, now, now + HOUR)
    assert isinstance(changed, Roster)
    assert [one.person for one in changed.shifts] == ["ben"]
    assert isinstance(broken, Malformed)
    assert f"{path}:9:25: schedules.s.layers[0].participants[0]: 'nobody' is not among the people" in str(broken)


def test_several_errors_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text("people: {a: {nam: x}}\nxyz: 1\n")
    with pytest.raises(Malformed, match=r"roster.yaml:1:13: .* \(and 2 more\)"):
        fetch(path)


def fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (lambda _: None, Unavailable, "No such file"),
        (Path.mkdir, Unavailable, "Is a directory"),
        (fifo, Unavailable, "must be a regular file"),
        (lambda path: path.symlink_to(path), Unavailable, "cannot be read"),
        (lambda path: path.write_bytes(b""), Malformed, "nothing stands here"),
        (lambda path: path.write_bytes(b"\xff\xfe"), Malformed, "not UTF-8"),
        (lambda path: path.write_bytes(b"people: {}\n" + b"#" * 10_000_000), Malformed, "larger than 4 MiB"),
        (lambda path: path.write_text("<!doctype html><html></html>"), Malformed, "this is text; expected a mapping"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_the_port(
    tmp_path: Path, prepare: Callable[[Path], Any], error: type[PortError], message: str
) -> None:
    path = tmp_path / "roster.yaml"
    prepare(path)
    with pytest.raises(error, match=message):
        fetch(path)


def test_an_empty_team_is_an_empty_roster(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text("people: {}")
    assert fetch(path).shifts == ()


def test_text_that_did_not_change_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text(layered())
    parsed = []

    def counting(text: bytes, filename: str) -> roster_file.RosterText:
        parsed.append(filename)
        return read_roster_text(text, filename)

    monkeypatch.setattr(roster_file, "read_roster_text", counting)

    async def go() -> None:
        source = build(Config(path=path), name=NAME, clock=DrivenClock())
        for _ in range(3):
            await source.fetch(now=at("2026-01-05 10:00"), window=HOUR)

    asyncio.run(go())
    assert parsed == [str(path)]
