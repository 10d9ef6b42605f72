"""Every source over HTTP: complete or nothing, three different answers for nobody, no such thing and cannot tell."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contracts.source_case import CANARY, NOW, WINDOW, SourceCase
from tests.contracts.source_cases import CASES
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import HANG, answer, replying
from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.oncall import EndKind, Provenance, Roster
from watchkey.rules.roster import index_roster

NAME = SourceName("under-test")


def read(case: SourceCase, reply: Callable[[str], bytes], times: int = 1) -> tuple[list[Roster | PortError], list[str]]:
    """Fetch so many times with one source; what came of each, and what was asked for."""

    async def go() -> tuple[list[Roster | PortError], list[str]]:
        async with replying(reply) as server:
            source = case.build(server.url, HastyClock(NOW), NAME)
            outcomes: list[Roster | PortError] = []
            for _ in range(times):
                try:
                    outcomes.append(await source.fetch(now=NOW, window=WINDOW))
                except PortError as error:
                    outcomes.append(error)
            assert source.name == NAME
            await source.close()
            await source.close()
            return outcomes, server.asked

    return asyncio.run(go())


def whole(case: SourceCase) -> tuple[Roster, list[str]]:
    [roster], targets = read(case, case.reply)
    assert isinstance(roster, Roster)
    return roster, targets


@pytest.mark.parametrize("kind", CASES)
def test_a_whole_read_is_a_consistent_roster(kind: str) -> None:
    roster, _ = whole(CASES[kind])
    assert roster.source == NAME
    index_roster(roster)
    assert {(shift.person, shift.level) for shift in roster.shifts if shift.covers(NOW)} == CASES[kind].holders
    assert {shift.person for shift in roster.shifts} <= {person.id for person in roster.people}
    for shift in roster.shifts:
        is_cut = shift.ends_at is not None and shift.ends_at >= roster.window_ends_at
        assert shift.end_kind is not EndKind.EXACT or not is_cut
        assert shift.provenance is not Provenance.ROTA, "only the difference of two reads shows that"


@pytest.mark.parametrize("kind", CASES)
def test_nobody_on_call_is_an_empty_roster(kind: str) -> None:
    [roster], _ = read(CASES[kind], CASES[kind].empty)
    assert isinstance(roster, Roster)
    assert roster.shifts == ()


FAULTS: list[tuple[str, bytes, type[PortError]]] = [
    ("401", answer(401, b'{"error": "no"}'), Refused),
    ("403", answer(403, b'{"error": "no"}'), Refused),
    ("404", answer(404, b'{"error": "no"}'), Refused),
    ("500", answer(500), Unavailable),
    ("503 html", answer(503, b"<html>"), Unavailable),
    ("429 bare", answer(429, b""), Unavailable),
    ("429 with a time", answer(429, b"", "Retry-After: 5\r\n"), Unavailable),
    ("no answer", HANG, Unavailable),
    ("slow body", b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{", Unavailable),
    ("html", answer(200, b"<!doctype html><html></html>"), Malformed),
    ("truncated", answer(200, b'{"a": [{"b'), Malformed),
    ("empty body", answer(200, b""), Malformed),
    ("unknown shape", answer(200, b'{"something": "else"}'), Malformed),
    ("a list of lists", answer(200, b"[[]]"), Malformed),
]


EVERYWHERE = {"403", "404", "500", "html", "unknown shape", "a list of lists"}
"""Faults that are tried at each request. What the others become is the client's business: the last request will do."""


@pytest.mark.parametrize(("name", "fault", "error"), FAULTS, ids=[name for name, _, _ in FAULTS])
@pytest.mark.parametrize("kind", CASES)
def test_a_fault_at_any_request_of_a_read_spoils_it_wholly_and_only_it(
    kind: str, name: str, fault: bytes, error: type[PortError]
) -> None:
    case = CASES[kind]
    _, targets = whole(case)
    for broken in dict.fromkeys(targets if name in EVERYWHERE else targets[-1:]):

        def reply(target: str, broken: str = broken) -> bytes:
            return fault if target == broken else case.reply(target)

        [outcome], _ = read(case, reply)
        assert isinstance(outcome, error), (name, broken, outcome)
        assert CANARY not in str(outcome)


@pytest.mark.parametrize("kind", CASES)
def test_a_source_recovers_by_itself(kind: str) -> None:
    case = CASES[kind]
    good, targets = whole(case)
    is_broken = [True]

    def reply(target: str) -> bytes:
        if is_broken[0] and target == targets[-1]:
            is_broken[0] = False
            return answer(200, b"<html>")
        return case.reply(target)

    first, second = read(case, reply, times=2)[0]
    assert isinstance(first, Malformed)
    assert isinstance(second, Roster)
    assert (second.shifts, second.people, second.services) == (good.shifts, good.people, good.services)


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case.is_paged])
def test_all_pages_are_read(kind: str) -> None:
    _, targets = whole(CASES[kind])
    assert len(targets) > len({target.partition(" ")[0].partition("?")[0] for target in targets})


@pytest.mark.parametrize("kind", CASES)
def test_an_object_that_is_configured_and_not_there_is_refused_by_name(kind: str) -> None:
    case = CASES[kind]
    [outcome], _ = read(replace(case, build=case.build_unknown), case.reply)
    assert type(outcome) is Refused
    assert case.unknown in str(outcome)


@pytest.mark.parametrize("kind", CASES)
def test_half_a_read_is_no_read(kind: str) -> None:
    """The vendor goes away after each number of answers in turn."""
    case = CASES[kind]
    fewest = min(len(whole(case)[1]) for _ in range(2))  # a busy machine may cause a second try, which is one more
    for good in range(fewest):
        count = 0

        def reply(target: str, good: int = good) -> bytes:
            nonlocal count
            count += 1
            return case.reply(target) if count <= good else answer(503)

        [outcome], _ = read(case, reply)
        assert isinstance(outcome, Unavailable), (good, outcome)
