"""Every series starts at zero and counts what happened."""

from datetime import UTC
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from tests.builders import SOURCE
from tests.entrypoints.http.house import ASK, House, call
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.flows.shadow_policy import ShadowPolicy
from watchkey.flows.swap_policy import Candidate, SwapPolicy
from watchkey.flows.watch_links import WatchLinks
from watchkey.model.access import Reason
from watchkey.ports import PolicyEngine
from watchkey.rules.link_check import LinkTrouble
from watchkey.rules.policy_change import Change
from watchkey.stores import memory as rosters


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_all_reasons_routes_and_outcomes_are_there_at_zero() -> None:
    metrics = Metrics(House())
    metrics.start(["decide"])
    found = samples(metrics.text())
    for reason in Reason:
        outcome = "allow" if reason in {Reason.ON_CALL, Reason.RESPONDING, Reason.NO_FACT_NEEDED} else "deny"
        assert found["watchkey_decisions_total", (("outcome", outcome), ("reason", reason.value))] == 0
    for status in ("200", "401", "429", "500"):
        assert found["watchkey_http_requests_total", (("route", "decide"), ("status", status))] == 0
    assert found["watchkey_webhooks_total", (("outcome", "accepted"), ("source", SOURCE))] == 0
    assert found["watchkey_decision_seconds_count", ()] == 0
    assert found["watchkey_roster_complete", (("source", SOURCE),)] == 1


def test_they_count(house: House) -> None:
    call(house, "POST", "/v1/decide", ASK)
    call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": "carol"}})
    call(house, "POST", "/v1/decide", ASK, who=None)
    found = samples(call(house, "GET", "/metrics").body)
    assert found["watchkey_decisions_total", (("outcome", "allow"), ("reason", "on_call"))] == 1
    assert found["watchkey_decisions_total", (("outcome", "deny"), ("reason", "not_on_call"))] == 1
    assert found["watchkey_http_requests_total", (("route", "decide"), ("status", "200"))] == 2
    assert found["watchkey_http_requests_total", (("route", "decide"), ("status", "401"))] == 1
    assert found["watchkey_decision_seconds_count", ()] == 2
    assert found["watchkey_http_connections", ()] == 1
    assert found["watchkey_roster_revision", (("source", SOURCE),)] == 1


def test_the_buckets_of_the_histogram_add_up(house: House) -> None:
    for name in ("alice", "bob", "carol"):
        call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": name}})
    found = samples(call(house, "GET", "/metrics").body)
    buckets = [value for (name, _), value in found.items() if name == "watchkey_decision_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3


def test_policies_and_what_stands_beside_them() -> None:
    async def never(_: str) -> Candidate:
        raise AssertionError

    audit, memory, clock = MemoryAudit(), DictMemory(), DrivenClock()
    engines: dict[str, PolicyEngine] = {"own": ScriptedEngine(), "other": ScriptedEngine()}
    swap = SwapPolicy(engines=engines, prepare=never, audit=audit, memory=memory, clock=clock)
    swap.problems["own"] = "it does not compile"
    shadow = ShadowPolicy(shadows={}, engines=engines, audit=audit, zone=UTC)
    shadow.compared, shadow.dropped, shadow.failed = 5, 1, 1
    shadow.changes[Change.LOSES] = 2
    service = SimpleNamespace(
        rosters=rosters.build(), source_names=(), clock=clock, policies=swap, shadow=shadow, engines=engines
    )
    found = samples(Metrics(service).text())  # type: ignore[arg-type]  # as much of a service as figures need
    assert found["watchkey_policy_kept", (("policy", "own"),)] == 1
    assert found["watchkey_policy_kept", (("policy", "other"),)] == 0
    assert found["watchkey_shadow_compared_total", ()] == 5
    assert found["watchkey_shadow_lost_total", ()] == 2
    assert found["watchkey_shadow_changes_total", (("change", "loses"),)] == 2


def test_what_is_wrong_with_links_is_counted() -> None:
    clock, store = DrivenClock(), rosters.build()
    watch = WatchLinks(links=(), others=(), rosters=store, memory=DictMemory(), audit=MemoryAudit(), clock=clock)
    watch.alerts[LinkTrouble.EMAIL_CHANGED] += 2
    watch.standing[LinkTrouble.INACTIVE] += 1
    service = SimpleNamespace(rosters=store, source_names=(), clock=clock, watch_links=watch)
    found = samples(Metrics(service).text())  # type: ignore[arg-type]  # as much of a service as figures need
    assert found["watchkey_link_alerts_total", (("trouble", "email_changed"),)] == 2
    assert found["watchkey_link_troubles", (("trouble", "inactive"),)] == 1
    assert found["watchkey_link_troubles", (("trouble", "gone"),)] == 0
