"""A small drawing of who holds the pager over a window of time; pure: values in, text out."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from watchkey.entrypoints.cli.output import pad, printable, width_of
from watchkey.entrypoints.cli.times import say_day

_TICKS: Final = tuple(timedelta(minutes=m) for m in (5, 15, 30)) + tuple(timedelta(hours=h) for h in (1, 3, 6, 12))
_LABEL_MAX: Final = 28
_TICK_CELLS: Final = 7
"""A tick's text, `09:00`, with a gap before the next."""
_WIDTH_MIN: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One stretch of a row, `[starts_at, ends_at)`; None means since ever, or without an end."""

    label: str
    """Bars with the same label share a row; rows stand in the order of their first bar."""
    starts_at: datetime | None
    ends_at: datetime | None
    is_end_known: bool = True
    """False for an end that is only where the read stopped: the bar ends in `?`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The characters of a drawing; all one cell wide."""

    full: str
    empty: str
    tick: str
    axis: str
    now: str
    onward: str
    unknown: str = "?"


UNICODE: Final = Glyphs(full="█", empty="·", tick="┬", axis="─", now="▲", onward="▶")
ASCII: Final = Glyphs(full="#", empty=".", tick="+", axis="-", now="^", onward=">")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The stretch of time that is drawn, `[start, end)`, and how many cells it has."""

    start: datetime
    end: datetime
    cells: int

    @property
    def cell(self) -> timedelta:
        """How much time one cell stands for."""
        return (self.end - self.start) / self.cells

    def column(self, instant: datetime) -> int:
        """The cell that holds the instant; below 0 or from `cells` on when it lies outside."""
        return int((instant - self.start) // self.cell)

    def middle(self, column: int) -> datetime:
        """The instant that decides whether a cell is full."""
        return self.start + self.cell * column + self.cell / 2


def timeline(  # noqa: PLR0913 -- a drawing has that many knobs; all but the bars and the window have defaults
    bars: Sequence[Bar],
    *,
    start: datetime,
    end: datetime,
    now: datetime | None = None,
    zone: tzinfo = UTC,
    width: int = 78,
    glyphs: Glyphs = UNICODE,
    gaps: str | None = None,
) -> str:
    """Draw the bars over `[start, end)`, at most `width` cells wide, with ticks in the zone and a mark at `now`.

    `gaps` names a last row for the time that no bar covers, and is left out when there is none. A bar that is shorter
    than a cell is still drawn: somebody who was on call for a minute must not vanish.

    Raises ValueError when the window is empty.
    """
    if end <= start:
        raise ValueError("the window to draw is empty")
    rows = _rows(bars, start=start, end=end, gaps=gaps)
    zone_name = _zone_name(start, end, zone)
    labels = [printable(label) for label in rows]
    margin = min(max(width_of(label) for label in (zone_name, *labels)), _LABEL_MAX) + 1
    window = Window(start=start, end=end, cells=max(width - margin, _WIDTH_MIN))
    days, hours, axis = _head(window, zone, glyphs)
    lines = [" " * margin + days, pad(zone_name, margin) + hours, " " * margin + axis]
    lines += [
        pad(label, margin - 1) + " " + _draw(row, window, glyphs)
        for label, row in zip(labels, rows.values(), strict=True)
    ]
    if now is not None and start <= now < end:
        lines.append(" " * margin + _now_mark(window.column(now), window, glyphs))
    return "\n".join(line.rstrip() for line in lines)


def uncovered(bars: Iterable[Bar], *, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The stretches of `[start, end)` that no bar covers, in order."""
    holes: list[tuple[datetime, datetime]] = []
    reached = start
    for begin, finish in sorted((bar.starts_at or start, bar.ends_at or end) for bar in bars):
        if finish <= start or begin >= end:
            continue
        if begin > reached:
            holes.append((reached, begin))
        reached = max(reached, finish)
    if reached < end:
        holes.append((reached, end))
    return holes


def _rows(bars: Sequence[Bar], *, start: datetime, end: datetime, gaps: str | None) -> dict[str, list[Bar]]:
    rows: dict[str, list[Bar]] = {}
    for bar in bars:
        if (bar.ends_at is None or bar.ends_at > start) and (bar.starts_at is None or bar.starts_at < end):
            rows.setdefault(bar.label, []).append(bar)
    holes = uncovered(bars, start=start, end=end)
    if gaps is not None and holes:
        rows[gaps] = [Bar(label=gaps, starts_at=begin, ends_at=finish) for begin, finish in holes]
    return rows


def _zone_name(start: datetime, end: datetime, zone: tzinfo) -> str:
    """`CET`, or `CET/CEST` when the clocks change in the window."""
    return "/".join(dict.fromkeys(instant.astimezone(zone).tzname() or "UTC" for instant in (start, end)))


def _now_mark(column: int, window: Window, glyphs: Glyphs) -> str:
    text = f"{glyphs.now} now"
    if column + len(text) <= window.cells:
        return " " * column + text
    text = f"now {glyphs.now}"
    return " " * (column + 1 - len(text)) + text


def _draw(bars: Sequence[Bar], window: Window, glyphs: Glyphs) -> str:
    cells = [glyphs.empty] * window.cells
    for bar in bars:
        first = 0 if bar.starts_at is None else max(0, window.column(bar.starts_at + window.cell / 2))
        after = window.cells if bar.ends_at is None else min(window.cells, window.column(bar.ends_at + window.cell / 2))
        first = min(first, window.cells - 1)
        after = max(after, first + 1)
        cells[first:after] = [glyphs.full] * (after - first)
        if not bar.is_end_known:
            cells[after - 1] = glyphs.unknown
        elif bar.ends_at is None or bar.ends_at > window.end:
            cells[after - 1] = glyphs.onward
    return "".join(cells)


def _head(window: Window, zone: tzinfo, glyphs: Glyphs) -> tuple[str, str, str]:
    """Three lines: days, hours, axis."""
    days, hours = [" "] * window.cells, [" "] * window.cells
    axis = [glyphs.axis] * window.cells
    shown_day, free_from = "", 0
    for instant in _ticks(window, zone):
        column = window.column(instant)
        local = instant.astimezone(zone)
        axis[column] = glyphs.tick
        day = say_day(local)
        if day != shown_day and free_from <= column <= window.cells - len(day):
            days[column : column + len(day)] = day
            shown_day, free_from = day, column + len(day) + 1
        text = f"{local:%H:%M}"
        if column + len(text) <= window.cells:
            hours[column : column + len(text)] = text
    return "".join(days), "".join(hours), "".join(axis)


def _ticks(window: Window, zone: tzinfo) -> list[datetime]:
    """Round local times in the window, far enough apart that their texts do not touch."""
    least = window.cell * _TICK_CELLS
    step = next((tick for tick in _TICKS if tick >= least), None)
    days = 1 if step is not None else next(n for n in itertools.count(1) if timedelta(days=n) >= least)
    midnight = window.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    found: list[datetime] = []
    last = window.end
    while midnight.astimezone(UTC) < last:
        steps = 1 if step is None else timedelta(days=1) // step
        for i in range(steps):
            # Wall-clock arithmetic on purpose: a tick stands at 06:00 local on the day of a clock change, too.
            instant = (midnight + (step or timedelta(0)) * i).astimezone(UTC)
            if window.start <= instant < window.end and (not found or instant - found[-1] >= least / 2):
                found.append(instant)
        midnight += timedelta(days=days)
    return found
