"""Figures for Prometheus: counted in plain integers on the way, shaped only when somebody scrapes."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence, Sized
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from watchkey import __version__
from watchkey.entrypoints.http.fleet_metrics import collect_fleets
from watchkey.entrypoints.http.fleets import Fleets
from watchkey.flows.shadow_policy import ShadowPolicy
from watchkey.flows.swap_policy import SwapPolicy
from watchkey.flows.watch_links import WatchLinks
from watchkey.model.access import Decision, Reason
from watchkey.model.ids import SourceName
from watchkey.ports import Clock, RosterStore
from watchkey.rules.link_check import LinkTrouble

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_BUCKETS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds in seconds: a repeated allow takes microseconds, a durable write milliseconds."""
_STATUSES: Final = (200, 400, 401, 403, 404, 405, 413, 429, 500, 503)
_WEBHOOK_OUTCOMES: Final = ("accepted", "duplicate", "bad_signature")
_ALLOWING: Final = frozenset({Reason.ON_CALL, Reason.RESPONDING, Reason.NO_FACT_NEEDED})


class Watched(Protocol):
    """What is looked at when somebody scrapes."""

    @property
    def rosters(self) -> RosterStore:
        """The rosters that decisions use now."""
        ...

    @property
    def source_names(self) -> Sequence[SourceName]:
        """All configured sources."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...


class Connected(Protocol):
    """The connections, as far as they are counted."""

    refused: int
    timed_out: int

    @property
    def open(self) -> Sized:
        """Those that are open now."""
        ...


class Metrics(Collector):
    """All figures of this process, on a registry of its own; other parts may register collectors there too."""

    def __init__(self, service: Watched) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.over_quota = 0
        self.connections: Connected | None = None
        self.fleets: Fleets | None = None
        self._service = service
        self._requests: dict[tuple[str, int], int] = {}
        self._decisions: dict[Reason, int] = dict.fromkeys(Reason, 0)
        self._seconds_in: list[int] = [0] * (len(_BUCKETS) + 1)
        self._seconds_sum = 0.0
        self._webhooks: dict[tuple[str, str], int] = {}
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def start(self, routes: Sequence[str]) -> None:
        """Begin every series at zero, so that the first event of a kind is seen as an increase."""
        self._requests = {(route, status): 0 for route in (*routes, "other") for status in _STATUSES}
        self._webhooks = {(name, outcome): 0 for name in self._service.source_names for outcome in _WEBHOOK_OUTCOMES}

    def count_request(self, route: str, status: int) -> None:
        """One request was answered."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    def count_decision(self, decision: Decision, seconds: float) -> None:
        """One decision was made, in that time."""
        self._decisions[decision.reason] += 1
        self._seconds_in[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds_sum += seconds

    def count_webhook(self, source: SourceName, outcome: str) -> None:
        """One webhook arrived for a configured source."""
        self._webhooks[source, outcome] = self._webhooks.get((source, outcome), 0) + 1

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Shape the figures; called by the registry."""
        build = GaugeMetricFamily("watchkey_build_info", "The version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        requests = CounterMetricFamily(
            "watchkey_http_requests", "Requests answered, by route and status.", labels=["route", "status"]
        )
        for (route, status), number in self._requests.items():
            requests.add_metric([route, str(status)], number)
        yield requests
        yield from self._collect_decisions()
        yield CounterMetricFamily(
            "watchkey_quota_refusals", "Questions refused because their caller was over its quota.", self.over_quota
        )
        yield from self._collect_connections()
        yield from self._collect_sources()
        yield from self._collect_policies()
        yield from self._collect_links()
        if self.fleets is not None:
            yield from collect_fleets(self.fleets, self._service.clock.monotonic())

    def _collect_decisions(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "watchkey_decisions", "Decisions given, by outcome and reason.", labels=["outcome", "reason"]
        )
        for reason, number in self._decisions.items():
            decisions.add_metric(["allow" if reason in _ALLOWING else "deny", reason.value], number)
        yield decisions
        seconds = HistogramMetricFamily("watchkey_decision_seconds", "Time to decide and to record, in seconds.")
        bounds = [*map(str, _BUCKETS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._seconds_in)), strict=True))
        seconds.add_metric([], buckets, self._seconds_sum)
        yield seconds

    def _collect_connections(self) -> Iterator[Metric]:
        connected = self.connections
        yield GaugeMetricFamily(
            "watchkey_http_connections", "Connections open now.", len(connected.open) if connected else 0
        )
        yield CounterMetricFamily(
            "watchkey_http_connections_refused",
            "Connections refused because too many were open.",
            connected.refused if connected else 0,
        )
        yield CounterMetricFamily(
            "watchkey_http_timeouts",
            "Requests that took too long to arrive, to answer or to be read.",
            connected.timed_out if connected else 0,
        )

    def _collect_policies(self) -> Iterator[Metric]:
        """Policies that are not what their files say, and what the policies beside would have said."""
        swap: SwapPolicy | None = getattr(self._service, "policies", None)  # tests wire services without them
        shadow: ShadowPolicy | None = getattr(self._service, "shadow", None)
        if swap is not None:
            kept = GaugeMetricFamily(
                "watchkey_policy_kept", "1 when a changed policy could not be taken over.", labels=["policy"]
            )
            for name in self._service_policies():
                kept.add_metric([name], float(name in swap.problems))
            yield kept
        if shadow is not None:
            yield CounterMetricFamily(
                "watchkey_shadow_compared", "Decisions compared with the policy beside.", shadow.compared
            )
            yield CounterMetricFamily(
                "watchkey_shadow_lost", "Decisions that were not compared.", shadow.dropped + shadow.failed
            )
            changes = CounterMetricFamily(
                "watchkey_shadow_changes", "What the policy beside would have changed.", labels=["change"]
            )
            for change, number in shadow.changes.items():
                changes.add_metric([change.value], number)
            yield changes

    def _collect_links(self) -> Iterator[Metric]:
        """What is wrong with the links between subjects and people."""
        watch: WatchLinks | None = getattr(self._service, "watch_links", None)  # tests wire services without it
        if watch is None:
            return
        alerts = CounterMetricFamily("watchkey_link_alerts", "Troubles with links that were told.", labels=["trouble"])
        standing = GaugeMetricFamily("watchkey_link_troubles", "Troubles with links that stand.", labels=["trouble"])
        for trouble in LinkTrouble:
            alerts.add_metric([trouble.value], watch.alerts[trouble])
            standing.add_metric([trouble.value], watch.standing[trouble])
        yield alerts
        yield standing

    def _service_policies(self) -> Iterator[str]:
        yield from getattr(self._service, "engines", ())

    def _collect_sources(self) -> Iterator[Metric]:
        webhooks = CounterMetricFamily(
            "watchkey_webhooks", "Webhooks for a configured source, by outcome.", labels=["source", "outcome"]
        )
        for (source, outcome), number in self._webhooks.items():
            webhooks.add_metric([source, outcome], number)
        yield webhooks
        complete = GaugeMetricFamily(
            "watchkey_roster_complete", "1 when a complete roster of the source is held.", labels=["source"]
        )
        age = GaugeMetricFamily(
            "watchkey_roster_age_seconds", "Seconds since the last complete read that agreed.", labels=["source"]
        )
        revision = GaugeMetricFamily("watchkey_roster_revision", "The revision of the roster.", labels=["source"])
        held = self._service.rosters.held()
        for name in self._service.source_names:
            complete.add_metric([name], float(name in held))
        for name, roster in held.items():
            age.add_metric([name], max(0.0, self._service.clock.monotonic() - roster.read_at))
            revision.add_metric([name], roster.revision)
        yield from (complete, age, revision)
