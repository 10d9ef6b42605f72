"""Figures about fleets of OPAs, for Prometheus."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from watchkey.entrypoints.http.fleets import Fleets
from watchkey.flows.publish_bundle import PublishBundle
from watchkey.flows.receive_opa_reports import OpaState

QUIET_S: Final = 900.0
"""An OPA that has said nothing for so long counts as gone; OPA reports each five minutes and on each change."""


def collect_fleets(fleets: Fleets, now: float) -> Iterator[Metric]:
    """The figures; `now` in seconds of the monotonic clock."""
    pulls = CounterMetricFamily(
        "watchkey_bundle_pulls", "Pulls of a bundle, by what they got.", labels=["fleet", "got"]
    )
    revision = GaugeMetricFamily("watchkey_bundle_revision", "The revision that is handed out.", labels=["fleet"])
    waiting = GaugeMetricFamily("watchkey_bundle_waiting", "OPAs that wait for a change now.", labels=["fleet"])
    held = GaugeMetricFamily("watchkey_bundle_held", "1 when a newer bundle cannot be made.", labels=["fleet"])
    for name, publisher in fleets.publishers.items():
        counts = publisher.counts
        for got in ("snapshots", "deltas", "unchanged", "turned_away"):
            pulls.add_metric([name, got], getattr(counts, got))
        revision.add_metric([name], 0 if publisher.current is None else publisher.current.revision)
        waiting.add_metric([name], publisher.waiting)
        held.add_metric([name], float(publisher.problem is not None))
    yield from (pulls, revision, waiting, held)
    yield from _opas(fleets, now)
    decisions = CounterMetricFamily(
        "watchkey_opa_decisions", "Decisions that OPAs reported, new ones and repeated ones.", labels=["report"]
    )
    decisions.add_metric(["new"], fleets.decisions.new)
    decisions.add_metric(["known"], fleets.decisions.known)
    yield decisions


def _opas(fleets: Fleets, now: float) -> Iterator[Metric]:
    seen = GaugeMetricFamily(
        "watchkey_fleet_opas", "OPAs by the state that they last reported; those that are quiet too long are gone.",
        labels=["fleet", "state"],
    )  # fmt: skip
    reports = CounterMetricFamily("watchkey_opa_statuses", "Statuses that OPAs reported.", labels=["fleet"])
    for name, receiver in fleets.statuses.items():
        counts = dict.fromkeys(("current", "behind", "failing", "gone"), 0)
        for state in receiver.opas.values():
            counts[_state(state, fleets.publishers[name], now)] += 1
        for word, number in counts.items():
            seen.add_metric([name, word], number)
        reports.add_metric([name], receiver.received)
    yield from (seen, reports)


def _state(state: OpaState, publisher: PublishBundle, now: float) -> str:
    if now - state.told_at > QUIET_S:
        return "gone"
    if state.report.code or state.report.plugins:
        return "failing"
    is_current = publisher.content_of(state.report.revision) == publisher.content_revision
    return "current" if is_current else "behind"
