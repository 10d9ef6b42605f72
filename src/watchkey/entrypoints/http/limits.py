"""Every bound of the HTTP way in on one page, and the token buckets that share it out fairly among callers."""

from typing import Annotated

import msgspec

from watchkey.model.ids import CallerId

Bytes = Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `listen.http.limits` may say. The units stand in the names: `_s` seconds, `_bytes` bytes, `_max` a count."""

    head_bytes: Bytes = 16 * 1024
    """Request line and headers together."""
    url_bytes: Bytes = 8 * 1024
    headers_max: Count = 100
    body_bytes: Bytes = 64 * 1024
    webhook_body_bytes: Bytes = 256 * 1024
    """PagerDuty sends up to 256 KB and drops what is larger."""
    report_body_bytes: Bytes = 1024 * 1024
    """Decision logs and status documents of OPAs, as they are sent; OPA packs 32 KiB unless configured otherwise."""
    report_bytes: Bytes = 16 * 1024 * 1024
    """The same when unpacked."""
    depth_max: Annotated[int, msgspec.Meta(ge=4, le=128)] = 32
    """How deeply a JSON body may nest."""
    batch_max: Count = 1000
    """Questions in one batch."""
    connections_max: Count = 4096
    """Beyond it the connection that has been idle longest makes room; when none is idle the new one is refused."""
    pipeline_max: Count = 64
    """Requests of one connection that wait for their turn before no more is read from it."""
    head_s: Seconds = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers."""
    body_s: Seconds = 20.0
    """From the end of the headers to the end of the body."""
    answer_s: Seconds = 30.0
    """From the complete request to its answer."""
    write_s: Seconds = 20.0
    """How long a client may leave an answer unread."""
    idle_s: Seconds = 75.0
    """How long a connection may rest between two requests."""
    drain_s: Seconds = 10.0
    """How long a stopping service waits for the requests under way."""
    refusal_grid_s: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.025
    """A *no* to an untrusted caller leaves at a multiple of this after its question, so that its time tells nothing."""
    quota_per_s: Rate = 5000.0
    """Questions a second that one caller may ask in the long run."""
    quota_burst: Annotated[float, msgspec.Meta(ge=1)] = 10000.0
    """Questions that one caller may ask at once."""
    webhook_reads_per_s: Rate = 0.5
    """Reads of one source that webhooks may cause; hints beyond it are joined into a later one, never lost."""
    webhook_burst: Annotated[float, msgspec.Meta(ge=1)] = 5.0


class TokenBucket:
    """A rate with a burst. Time is an argument: seconds of a clock that only grows."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Take one token, or say that there is none."""
        if now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait_for(self) -> float:
        """Seconds from the last `take` until there is a token again."""
        return max(0.0, (1.0 - self._tokens) / self._rate)


class Quotas:
    """One bucket a caller, so that a caller in a loop starves nobody but itself.

    Callers come from the configuration, so their number is bounded.
    """

    __slots__ = ("_buckets", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: dict[CallerId, TokenBucket] = {}

    def bucket(self, caller: CallerId, now: float) -> TokenBucket:
        """The bucket of that caller."""
        found = self._buckets.get(caller)
        if found is None:
            found = TokenBucket(rate=self._limits.quota_per_s, burst=self._limits.quota_burst, now=now)
            self._buckets[caller] = found
        return found
