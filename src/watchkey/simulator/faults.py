"""What can go wrong with the simulated provider: outages, limits, slowness, bodies that are not what they should be."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Body(StrEnum):
    """What the body of an answer looks like."""

    GOOD = "good"
    TRUNCATED = "truncated"
    """Half of the JSON, with a length that says it is all."""
    HTML = "html"
    """A login page with status 200."""
    EMPTY = "empty"
    UNKNOWN = "unknown"
    """JSON of another shape."""
    ENDLESS = "endless"
    """Begins and never ends: a byte now and then."""


@dataclass(slots=True, kw_only=True)
class Faults:
    """Set the fields at any time; they count from the next request on."""

    status: int | None = None
    """Answer this instead; 503 is an outage, 401 a revoked key."""
    only: str = ""
    """The faults hit paths that begin so; empty: all."""
    skip: int = 0
    """So many more requests go well before the faults begin."""
    times: int | None = None
    """The faults hit so many requests and are over; None: until they are taken away."""
    hang: bool = False
    """Take the request and never answer."""
    body: Body = Body.GOOD
    rate_limit: int | None = None
    """Answer 429 once so many requests were served since `refill`; None: no limit."""
    rate_limit_reset: int | None = 7
    """What `ratelimit-reset` says, in seconds; None: a 429 without headers and without body."""
    served: int = 0
    before_answer: Callable[[str, int], None] | None = None
    """Called with path and offset before a list is made: to change the account between two pages."""
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request begins to hang."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops, so that nothing hangs for ever."""

    def clear(self) -> None:
        """Everything works again."""
        self.status, self.only, self.skip, self.times = None, "", 0, None
        self.hang, self.body, self.rate_limit, self.before_answer = False, Body.GOOD, None, None

    def refill(self) -> None:
        """Begin a new minute of the rate limit."""
        self.served = 0

    def hits(self, path: str) -> bool:
        """Whether this request goes wrong; counts `skip` and `times` down."""
        has_fault = self.status is not None or self.hang or self.body is not Body.GOOD
        if not has_fault or not path.startswith(self.only):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            if self.times <= 0:
                return False
            self.times -= 1
        return True

    def is_over_limit(self) -> bool:
        """Count one request against the rate limit."""
        if self.rate_limit is None:
            return False
        if self.served >= self.rate_limit:
            return True
        self.served += 1
        return False
