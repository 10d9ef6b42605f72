"""iCalendar feeds: series over a change of the clocks, moved and left-out turns, whole days, who counts at all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contracts.source_case import CANARY, NOW
from tests.contracts.vendors.icalendar import build, event, feed, reply
from tests.fakes.hasty_clock import HastyClock
from tests.sources.reading import NAME, read
from watchkey.model.errors import Malformed, Refused
from watchkey.model.oncall import Provenance, Roster
from watchkey.rules.provenance import grade_by_sight

DAY = timedelta(days=1)
PARIS = ";TZID=Europe/Paris:"


def fetched(*events: str, window: timedelta = DAY, **options: Any) -> Roster:
    return read(build, reply(feed(*events)), window, **options)[0]


def spans(roster: Roster) -> list[tuple[str, str, str]]:
    """Who, from, until; as day and hour in UTC."""
    return sorted((s.person[:3], f"{s.starts_at:%d %H}", f"{s.ends_at:%d %H}") for s in roster.shifts)


def test_a_weekly_series_is_expanded_within_the_window() -> None:
    weekly = event("One", f"{PARIS}20200101T090000", f"{PARIS}20200101T180000", "RRULE:FREQ=WEEKLY;BYDAY=WE,TH")
    assert spans(fetched(weekly)) == [("one", "01 07", "01 16"), ("one", "02 07", "02 16")]


def test_a_series_goes_by_the_clock_on_the_wall() -> None:
    """In winter nine o'clock in Paris is 08:00Z, in summer 07:00Z, whatever it was when the series began."""
    daily = event("One", f"{PARIS}20260101T090000", f"{PARIS}20260101T180000", "RRULE:FREQ=DAILY")
    assert spans(fetched(daily))[0] == ("one", "01 07", "01 16")


def test_a_series_ends_with_its_last_turn() -> None:
    ended = event("One", ":20260601T070000Z", ":20260601T160000Z", "RRULE:FREQ=DAILY;UNTIL=20260701T070000Z")
    assert spans(fetched(ended)) == [("one", "01 07", "01 16")]
    local = event(
        "One", f"{PARIS}20260601T090000", f"{PARIS}20260601T180000", "RRULE:FREQ=DAILY;UNTIL=20260701T065959Z"
    )
    assert spans(fetched(local)) == []
    counted = event("One", ":20260630T070000Z", ":20260630T160000Z", "RRULE:FREQ=DAILY;COUNT=2")
    assert spans(fetched(counted, window=3 * DAY)) == [("one", "01 07", "01 16")]


def test_a_turn_that_was_left_out_is_nobodys_and_an_added_one_is_somebodys() -> None:
    more = ("RRULE:FREQ=DAILY", f"EXDATE{PARIS}20260702T090000", "RDATE:20260702T170000Z")
    daily = event("One", f"{PARIS}20260601T090000", f"{PARIS}20260601T180000", *more)
    assert spans(fetched(daily)) == [("one", "01 07", "01 16")]
    assert spans(fetched(daily, window=2 * DAY)) == [
        ("one", "01 07", "01 16"),
        ("one", "02 17", "03 02"),
        ("one", "03 07", "03 16"),
    ]


def test_a_turn_that_was_moved_or_given_away_stands_instead_of_the_original() -> None:
    daily = event("One", ":20260601T070000Z", ":20260601T160000Z", "RRULE:FREQ=DAILY", uid="u")
    given = event("Two", ":20260701T100000Z", ":20260701T160000Z", "RECURRENCE-ID:20260701T070000Z", uid="u")
    assert spans(fetched(daily, given)) == [("one", "02 07", "02 16"), ("two", "01 10", "01 16")]


def test_a_cancelled_event_is_nobodys_turn_and_so_is_a_cancelled_turn_of_a_series() -> None:
    cancelled = event("One", ":20260701T070000Z", ":20260701T160000Z", "STATUS:CANCELLED")
    daily = event("Two", ":20260601T070000Z", ":20260601T160000Z", "RRULE:FREQ=DAILY", uid="u")
    more = ("RECURRENCE-ID:20260701T070000Z", "STATUS:CANCELLED")
    one_less = event("Two", ":20260701T070000Z", ":20260701T160000Z", *more, uid="u")
    assert spans(fetched(cancelled, daily, one_less)) == [("two", "02 07", "02 16")]


def test_a_whole_day_is_a_day_in_the_configured_zone() -> None:
    whole = event("One", ";VALUE=DATE:20260701", ";VALUE=DATE:20260702")
    assert spans(fetched(whole, time_zone="Europe/Paris")) == [("one", "30 22", "01 22")]
    without_end = event("One", ";VALUE=DATE:20260701", "")
    assert spans(fetched(without_end)) == [("one", "01 00", "02 00")]


def test_a_time_without_a_zone_is_in_the_configured_one_and_a_duration_is_an_end() -> None:
    floating = event("One", ":20260701T090000", "", "DURATION:PT9H")
    assert spans(fetched(floating, time_zone="Europe/Paris")) == [("one", "01 07", "01 16")]


def test_a_zone_that_the_feed_defines_itself_is_known() -> None:
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Our own\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0300\r\n"
        "TZOFFSETTO:+0300\r\nTZNAME:OWN\r\nEND:STANDARD\r\nEND:VTIMEZONE"
    )
    own = event("One", ";TZID=Our own:20260701T100000", ";TZID=Our own:20260701T190000")
    assert spans(fetched(zone, own)) == [("one", "01 07", "01 16")]


@pytest.mark.parametrize("summary", ["One", "one", " ONE ", "[L1] One", "[l2]one"])
def test_a_person_is_named_in_the_summary_in_any_case(summary: str) -> None:
    assert len(fetched(event(summary, ":20260701T070000Z", ":20260701T160000Z")).shifts) == 1


def test_a_person_may_be_an_attendee_and_several_are_all_on_call() -> None:
    people = {"one@corp.example": "one", "Two": "two"}
    more = ("ATTENDEE;CN=Somebody:mailto:One@corp.example", "ATTENDEE:mailto:else@corp.example")
    both = event("Two", ":20260701T070000Z", ":20260701T160000Z", *more)
    assert [s[0] for s in spans(fetched(both, people=people))] == ["one", "two"]


def test_whoever_the_configuration_does_not_name_is_nobody_and_is_counted() -> None:
    strangers = [event(name, ":20260701T070000Z", ":20260701T160000Z") for name in ("Eve", "One and Two", "")]
    roster, source, _ = read(build, reply(feed(*strangers)))
    assert roster.shifts == ()
    assert "3 event(s) name nobody" in source.notes[0]


def test_no_age_makes_a_rota_of_a_calendar() -> None:
    roster = fetched(event("One", ":20260703T070000Z", ":20260703T160000Z"), window=3 * DAY)
    _, before = grade_by_sight(fetched(), None, NOW - 9 * DAY)
    graded, seen = grade_by_sight(roster, before, NOW - 8 * DAY)
    again, _ = grade_by_sight(roster, seen, NOW)
    for each in (graded, again):
        assert [(s.provenance, s.level) for s in each.shifts] == [(Provenance.UNKNOWN, None)]
    baseline, _ = grade_by_sight(roster, None, NOW)
    assert [s.provenance for s in baseline.shifts] == [Provenance.UNKNOWN]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (event("One", ":20260701T070000Z", ":20260701T160000Z", "RRULE:FREQ=SECONDLY"), "seconds or minutes"),
        (event("One", ":18000101T070000Z", ":18000101T080000Z", "RRULE:FREQ=HOURLY"), "more than 100000 turns"),
        (event("One", ":20260701T160000Z", ":20260701T070000Z"), "before it starts"),
        (event("One", ":20260701T070000Z", ":20260701T160000Z", "RRULE:FREQ=SOMETIMES"), "cannot be read"),
        (event("One", ":tomorrow", ""), "cannot be read|without a start"),
        ("BEGIN:VEVENT\r\nSUMMARY:One\r\nEND:VEVENT", "without a start"),
    ],
)
def test_what_cannot_be_understood_spoils_the_read(bad: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        fetched(bad)


def test_too_many_events_and_too_large_a_feed_are_malformed() -> None:
    one = event("One", ":20260701T070000Z", ":20260701T160000Z")
    with pytest.raises(Malformed, match="more than 1024 bytes"):
        fetched(*[one] * 20, bytes_max=1024)


def test_the_address_never_shows() -> None:
    with pytest.raises(Refused) as error:
        read(build, reply(feed()), path=f"/other/{CANARY}.ics")
    assert CANARY not in str(error.value)


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="no time zone"):
        build("https://example.com", HastyClock(), NAME, time_zone="Mars/Base")


def test_an_event_of_last_year_costs_nothing() -> None:
    old = [event("One", ":20200101T000000Z", ":20200102T000000Z") for _ in range(50)]
    roster = fetched(*old, event("One", ":20260701T070000Z", ":20260701T160000Z"))
    assert [s.ends_at for s in roster.shifts] == [datetime(2026, 7, 1, 16, tzinfo=UTC)]
