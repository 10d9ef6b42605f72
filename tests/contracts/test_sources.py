"""Every source there is, found as wiring finds it: built alike, whole, repeatable, and known to the other suites.

What only concerns vendors behind HTTP (pages, faults, secrets) is in `test_http_sources`.
"""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tests.contracts.source_case import NOW, WINDOW
from tests.contracts.source_cases import CASES
from tests.fakes.clock import DrivenClock
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import replying
from watchkey import sources
from watchkey.model.ids import SourceName
from watchkey.model.oncall import EndKind, Roster
from watchkey.ports import Source
from watchkey.rules.roster import index_roster
from watchkey.sources import roster_file

NAME = SourceName("under-test")
KINDS = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))

_T = TypeVar("_T")


def _roster_file(folder: Path) -> Source:
    path = folder / "roster.yaml"
    path.write_text(
        """
people: {P1: {name: One}, P2: {name: Two}, P3: {name: Three}}
schedules:
  S1:
    name: S1
    zone: Europe/Paris
    layers: [{participants: [P1, P2], turn: 12h, handoff: 09:00, from: 2026-07-01}]
policies: {E1: {name: E1, levels: [[S1], {people: [P3]}]}}
services: {SV1: {name: SV1, policy: E1}}
""",
        encoding="utf-8",
    )
    return roster_file.build(roster_file.Config(path=path), name=NAME, clock=DrivenClock(NOW))


LOCAL: Mapping[str, Callable[[Path], Source]] = {"roster_file": _roster_file}
"""Sources that ask nobody; a source over HTTP has its case in `source_cases`."""


@asynccontextmanager
async def working(kind: str, folder: Path) -> AsyncIterator[Source]:
    """A source of that kind with something to read at NOW."""
    if kind in LOCAL:
        yield LOCAL[kind](folder)
        return
    async with replying(CASES[kind].reply) as server:
        yield CASES[kind].build(server.url, HastyClock(NOW), NAME)


def using(kind: str, folder: Path, use: Callable[[Source], Awaitable[_T]]) -> _T:
    async def go() -> _T:
        async with working(kind, folder) as source:
            try:
                return await use(source)
            finally:
                await source.close()
                await source.close()

    return asyncio.run(go())


def read(kind: str, folder: Path) -> Roster:
    return using(kind, folder, lambda source: source.fetch(now=NOW, window=WINDOW))


def test_every_source_brings_a_case_and_every_case_a_source() -> None:
    assert sorted([*LOCAL, *CASES]) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_built_as_all_are(kind: str) -> None:
    module: Any = importlib.import_module(f"watchkey.sources.{kind}")
    assert issubclass(module.Config, msgspec.Struct)
    assert module.Config.__struct_config__.frozen
    assert module.Config.__struct_config__.forbid_unknown_fields
    parameters = inspect.signature(module.build).parameters
    assert next(iter(parameters)) == "config"
    assert {"name", "clock"} <= {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_has_the_name_it_was_given_and_so_has_what_it_reads(kind: str, tmp_path: Path) -> None:
    async def use(source: Source) -> tuple[str, str]:
        return source.name, (await source.fetch(now=NOW, window=WINDOW)).source

    assert using(kind, tmp_path, use) == (NAME, NAME)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_is_consistent_and_says_who_is_on_call(kind: str, tmp_path: Path) -> None:
    roster = read(kind, tmp_path)
    index = index_roster(roster)
    assert [shift for shift in index.roster.shifts if shift.covers(NOW)], "a case without a holder proves nothing"
    assert {shift.person for shift in roster.shifts} <= {person.id for person in roster.people}
    assert {shift.policy for shift in roster.shifts} <= {policy.id for policy in roster.policies} | {None}
    assert {service.policy for service in roster.services} <= {policy.id for policy in roster.policies} | {None}


@pytest.mark.parametrize("kind", KINDS)
def test_every_instant_is_in_utc_and_the_window_is_the_one_asked_for(kind: str, tmp_path: Path) -> None:
    roster = read(kind, tmp_path)
    instants = [roster.taken_at, roster.window_ends_at]
    for shift in roster.shifts:
        instants += [one for one in (shift.starts_at, shift.ends_at) if one is not None]
    for incident in roster.incidents:
        since = [part.since for part in incident.responders]
        instants += [one for one in (incident.opened_at, *since) if one is not None]
    assert {one.tzinfo for one in instants} == {UTC}
    assert abs(roster.taken_at - NOW) <= timedelta(seconds=60)
    assert abs(roster.window_ends_at - (NOW + WINDOW)) <= timedelta(seconds=60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_without_an_end_says_why_it_has_none(kind: str, tmp_path: Path) -> None:
    for shift in read(kind, tmp_path).shifts:
        assert (shift.ends_at is None) <= (shift.end_kind in {EndKind.PERMANENT, EndKind.UNKNOWN})
        assert shift.level is None or shift.level >= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CASES or CASES[kind].has_handoffs])
def test_one_holder_leaves_at_the_instant_at_which_the_next_one_comes(kind: str, tmp_path: Path) -> None:
    shifts = read(kind, tmp_path).shifts
    borders = {one.ends_at for one in shifts if one.ends_at} & {one.starts_at for one in shifts if one.starts_at}
    assert borders, "a case without a handoff proves nothing"
    for border in borders:
        before = {one.person for one in shifts if one.ends_at == border}
        on_call = {one.person for one in shifts if one.starts_at is not None and one.covers(border)}
        assert not before & on_call


@pytest.mark.parametrize("kind", KINDS)
def test_reading_twice_says_the_same(kind: str, tmp_path: Path) -> None:
    async def use(source: Source) -> set[str]:
        return {index_roster(await source.fetch(now=NOW, window=WINDOW)).digest for _ in range(2)}

    assert len(using(kind, tmp_path, use)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_was_never_asked_can_be_closed(kind: str, tmp_path: Path) -> None:
    async def use(source: Source) -> datetime:
        await source.close()
        return NOW

    assert using(kind, tmp_path, use) == NOW
