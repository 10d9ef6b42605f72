"""Instants and lengths as people say them: `Tue 09:00 UTC`, `in 3 h`; pure, the instant *now* is an argument."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_WEEK: Final = timedelta(days=6)
"""Within six days a weekday's name is unambiguous."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def say_day(local: datetime) -> str:
    """`Tue 24 Nov`, in the instant's own zone; English whatever the locale, since these lines end up in tickets."""
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}"


def say_instant(instant: datetime | None, *, now: datetime, zone: tzinfo = UTC) -> str:
    """`09:00 UTC` today, `Tue 09:00 UTC` this week, `Tue 1 Dec 09:00 UTC` otherwise; None is `no known end`."""
    if instant is None:
        return "no known end"
    local, today = instant.astimezone(zone), now.astimezone(zone)
    clock = f"{local:%H:%M} {local.tzname() or 'UTC'}"
    if local.date() == today.date():
        return clock
    if abs(local - today) < _WEEK:
        return f"{_DAYS[local.weekday()]} {clock}"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{say_day(local)}{year} {clock}"


def say_length(length: timedelta) -> str:
    """The two largest units of a length: `2 d 4 h`, `3 h 20 min`, `45 s`; a fraction of a second is dropped."""
    seconds = abs(int(length.total_seconds()))
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for i, (count, unit) in enumerate(parts[:2]) if count or i == 0)


def say_distance(instant: datetime | None, *, now: datetime) -> str:
    """`in 3 h`, `3 h ago`, `now`; None is `never`."""
    if instant is None:
        return "never"
    distance = instant - now
    if abs(distance) < timedelta(seconds=1):
        return "now"
    return f"in {say_length(distance)}" if distance > timedelta(0) else f"{say_length(distance)} ago"
