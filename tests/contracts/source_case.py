"""What one vendor brings to the contract suite, and the instant at which all of them are read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from watchkey.model.ids import SourceName
from watchkey.ports import Clock, Source

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
WINDOW = timedelta(hours=24)
CANARY = "canary-5e11ab"
"""The credential of every case; it must never show."""
REQUEST_TIMEOUT = timedelta(seconds=0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCase:
    """One vendor. `reply` is the vendor: what is asked for (see `replying`) -> raw answer."""

    build: Callable[[str, Clock, SourceName], Source]
    """Base URL, clock, name; with CANARY as credential and REQUEST_TIMEOUT for one request."""
    reply: Callable[[str], bytes]
    holders: frozenset[tuple[str, int | None]]
    """Person and level of everybody on call at NOW in `reply`."""
    empty: Callable[[str], bytes]
    """The vendor when nobody is on call."""
    build_unknown: Callable[[str, Clock, SourceName], Source]
    """The same with a configuration that names a schedule (or what comes next to it) that is not there."""
    unknown: str = "SGONE"
    """What `build_unknown` calls it."""
    is_paged: bool = True
    """Whether the vendor gives its lists in pages; then `reply` has a list of two."""
    has_handoffs: bool = True
    """Whether the vendor tells when a turn ends and who comes next."""
