"""The embedded engine: the shipped policy, Cyral-style policies without a network, and failures that are outcomes."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW, SERVICE, incident, question, request, resource, responder, shift
from watchkey.engines.rego import WITHHELD, BundleOrigin, Config, build, policy_hash
from watchkey.model.access import Outcome, Verdict
from watchkey.model.errors import Malformed
from watchkey.model.oncall import EndKind, Shift
from watchkey.rules.evidence import find_evidence
from watchkey.rules.policy_input import policy_document

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "src/watchkey/policies/default.rego").read_text()
STYLED = (ROOT / "examples/cyral-style/authz.rego").read_text()
SAMPLE = ROOT.parent / "shared/contracts/cyral-sample.rego"
PUBLISHED = ROOT.parent / "shared/contracts/cyral-sample-as-published.rego"


def document(*shifts: Shift, **changes: Any) -> Mapping[str, Any]:
    asked = question(*shifts, **changes)
    return policy_document(asked, find_evidence(asked))


def judged(config: Config, given: Mapping[str, Any]) -> Verdict:
    return asyncio.run(build(config).evaluate(given, now=NOW))


def said(text: str, given: Mapping[str, Any] | None = None) -> Verdict:
    return judged(Config(modules={"p.rego": f"package watchkey\n{text}"}), given or document(shift()))


def cyral(text: str, given: Mapping[str, Any], **parameters: Any) -> Verdict:
    entrypoint = "data.cyral.authz_policy.decision"
    return judged(
        Config(modules={"p.rego": text}, dialect="cyral", entrypoint=entrypoint, parameters=parameters), given
    )


# --- the shipped policy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (document(shift()), Outcome.YES),
        (document(), Outcome.NO),
        (document(shift(level=2)), Outcome.NO),
        (document(shift(level=None)), Outcome.NO),
        (document(shift(end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None)), Outcome.NO),
        (document(shift(end_kind=EndKind.UNKNOWN, ends_at=None)), Outcome.YES),
        (document(facts={"incidents": (incident(responder()),)}), Outcome.YES),
        (document(facts={"incidents": (incident(responder(), opened_by="PALICE"),)}), Outcome.NO),
        (document(shift(), asks=request(privilege="own")), Outcome.NO),
    ],
)
def test_the_shipped_policy(given: Mapping[str, Any], outcome: Outcome) -> None:
    assert judged(Config(modules={"default.rego": SHIPPED}), given).outcome is outcome


def test_the_shipped_policy_wishes_the_resources_own_ttl_and_says_why() -> None:
    verdict = judged(
        Config(modules={"default.rego": SHIPPED}), document(shift(), about=resource(ttl_max=timedelta(hours=2)))
    )
    assert (verdict.ttl, verdict.reasons) == (timedelta(hours=2), ("on_call",))


# --- what a policy may answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("decision := {}", Outcome.MALFORMED),
        ("decision := true", Outcome.MALFORMED),
        ('decision := {"allow": "true"}', Outcome.MALFORMED),
        ('decision := {"allow": 1}', Outcome.MALFORMED),
        ('decision := {"allow": null}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": "soon"}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": true}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": 1e300}', Outcome.MALFORMED),
        ('decision := {"allow": true, "reasons": "because"}', Outcome.MALFORMED),
        ('decision := {"allow": true, "reasons": [1]}', Outcome.MALFORMED),
        ('decision := {"allow": true} if input.subject.id == "mallory"', Outcome.UNDEFINED),
        ("other := 1", Outcome.UNDEFINED),
        ('decision := {"allow": true}\ndecision := {"allow": false}', Outcome.FAILED),
        ('decision := {"allow": count(numbers.range(1, 100000000)) > 0}', Outcome.OVER_BUDGET),
        ('decision := {"allow": false, "ttl": "60s"}', Outcome.NO),
        ('decision := {"allow": true}', Outcome.YES),
    ],
)
def test_only_a_well_formed_yes_is_a_yes(text: str, outcome: Outcome) -> None:
    assert said(text).outcome is outcome


@pytest.mark.parametrize(
    "failing",
    [
        "to_number(input.subject.id)",
        "time.parse_rfc3339_ns(input.subject.id)",
        'net.cidr_contains(input.subject.id, "10.0.0.1")',
        "json.unmarshal(input.subject.id)",
        "1 / count(input.subject.groups)",
    ],
)
def test_what_cannot_be_computed_is_no_ground_for_an_allow(failing: str) -> None:
    """`not` of a call that fails is true with OPA's default: the error fails the evaluation instead."""
    text = f'decision := {{"allow": true}} if not {failing}'
    assert said(text).outcome is Outcome.FAILED
    lenient = Config(modules={"p.rego": f"package watchkey\n{text}"}, strict_errors=False)
    assert judged(lenient, document(shift())).outcome is Outcome.YES


def test_a_policy_that_never_ends_runs_out_of_its_budget() -> None:
    pairs = "some a in xs; some b in xs; some c in xs; some d in xs"
    bomb = f'decision := {{"allow": count([1 | {pairs}]) > 0}}\nxs := numbers.range(1, 999)'
    assert said(bomb).outcome is Outcome.OVER_BUDGET


def test_time_is_the_requests_instant() -> None:
    assert said('decision := {"allow": time.now_ns() == input.now_ns}').outcome is Outcome.YES


def test_a_policy_that_does_not_compile_says_where() -> None:
    with pytest.raises(Malformed, match=r"p\.rego:2:.*http\.send"):
        build(Config(modules={"p.rego": 'package watchkey\ndecision := http.send({"url": "https://example.com"})'}))


def test_parameters_and_data_are_where_they_should_be() -> None:
    config = Config(
        modules={"p.rego": 'package watchkey\ndecision := {"allow": data.policyparams.level == data.teams.level}'},
        parameters={"level": 2},
        data={"teams": {"level": 2}, "policyparams": {"level": 3}},
    )
    assert judged(config, document()).outcome is Outcome.YES


def test_answers_do_not_leak_between_questions() -> None:
    engine = build(Config(modules={"default.rego": SHIPPED}))
    yes, no = document(shift()), document()
    outcomes = [asyncio.run(engine.evaluate(given, now=NOW)).outcome for given in (yes, no, yes, no)]
    assert outcomes == [Outcome.YES, Outcome.NO, Outcome.YES, Outcome.NO]


def test_the_hash_tells_every_part_and_not_the_revision() -> None:
    base = Config(modules={"a.rego": "package a"})
    others = [
        Config(modules={"b.rego": "package a"}),
        Config(modules={"a.rego": "package b"}),
        Config(modules={"a.rego": "package a"}, dialect="v0"),
        Config(modules={"a.rego": "package a"}, entrypoint="data.a"),
        Config(modules={"a.rego": "package a"}, parameters={"x": 1}),
        Config(modules={"a.rego": "package a"}, data={"x": 1}),
        Config(modules={"a.rego": "package a"}, strict_errors=False),
    ]
    assert len({policy_hash(config) for config in (base, *others)}) == 8
    assert policy_hash(base) == policy_hash(Config(modules={"a.rego": "package a"}, revision=9))


# --- Cyral-style policies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (document(shift()), Outcome.YES),
        (document(shift(level=2)), Outcome.NO),
        (document(shift(level=None)), Outcome.NO),
        (document(shift("PBOB")), Outcome.NO),
        (document(), Outcome.NO),
    ],
)
def test_a_policy_of_our_own_in_that_style(given: Mapping[str, Any], outcome: Outcome) -> None:
    verdict = cyral(STYLED, given, max_escalation_level=1)
    assert verdict.outcome is outcome
    assert verdict.ttl == (timedelta(minutes=5) if outcome is Outcome.YES else timedelta(seconds=30))


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs ../shared/contracts/cyral-sample.rego beside the project")
@pytest.mark.parametrize(
    ("given", "level", "outcome"),
    [
        (document(shift()), 1, Outcome.YES),
        (document(), 1, Outcome.NO),
        (document(shift("PBOB")), 1, Outcome.NO),
        # Its own flaws, bounded elsewhere: a floor on the level shuts out the primary and lets the secondary in.
        (document(shift()), 2, Outcome.NO),
        (document(shift(level=2)), 2, Outcome.YES),
        # OPA's order: null is below every number, so an unknown level passes no floor.
        (document(shift(level=None)), 1, Outcome.NO),
    ],
)
def test_the_sample_runs_unmodified(given: Mapping[str, Any], level: int, outcome: Outcome) -> None:
    verdict = cyral(SAMPLE.read_text(), given, min_escalation_level=level)
    assert verdict.outcome is outcome
    assert verdict.ttl == timedelta(seconds=60)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs ../shared/contracts/cyral-sample-as-published.rego")
def test_the_sample_as_published_has_odd_spaces_and_is_told_so() -> None:
    with pytest.raises(Malformed, match=r"5:1: .*U\+00A0"):
        cyral(PUBLISHED.read_text(), document())


CALL = """package cyral.authz_policy
default decision = {"allow": false, "ttl": "60s"}
decision = {"allow": true, "ttl": "60s"} { %s }"""


@pytest.mark.parametrize(
    "url",
    [
        "https://api.pagerduty.com/services",
        "https://evil.example/users",
        "http://api.pagerduty.com/users",
        "https://api.pagerduty.com@evil.example/users",
        "https://api.pagerduty.com/users/../incidents",
        "file:///etc/passwd",
        "",
    ],
)
def test_any_other_url_is_a_denial_that_says_so(url: str) -> None:
    verdict = cyral(CALL % f'not http.send({{"url": "{url}", "method": "GET"}})', document(shift()))
    assert verdict.outcome is Outcome.FAILED
    assert "only the users and on-calls of PagerDuty are answered here" in verdict.detail


@pytest.mark.parametrize("strict_errors", [True, False])
def test_a_refused_request_is_a_denial_however_errors_count(*, strict_errors: bool) -> None:
    text = CALL % 'not http.send({"url": "https://evil.example/users", "method": "GET"})'
    config = Config(
        modules={"p.rego": text},
        dialect="cyral",
        entrypoint="data.cyral.authz_policy.decision",
        strict_errors=strict_errors,
    )
    verdict = judged(config, document(shift()))
    assert verdict.outcome is Outcome.FAILED
    assert "https://evil.example/users; only the users" in verdict.detail


def test_another_method_is_refused_too() -> None:
    asked = 'http.send({"url": "https://api.pagerduty.com/users", "method": "POST"})'
    assert cyral(CALL % f"not {asked}", document(shift())).outcome is Outcome.FAILED


def test_the_policy_learns_of_nobody_but_the_subject() -> None:
    asked = (
        'http.send({"url": "https://api.pagerduty.com/users", "method": "GET", "body": {"query": "bob"}}).body.users'
    )
    assert cyral(CALL % f"count({asked}) == 0", document(shift())).outcome is Outcome.YES


def test_the_token_it_finds_is_not_one() -> None:
    assert cyral(CALL % f'data.policyparams.api_token == "{WITHHELD}"', document()).outcome is Outcome.YES
    assert SERVICE


# --- out of a bundle -----------------------------------------------------------------------------------------------

OLD = 'package watchkey\ndecision = {"allow": true} { input.privilege }'


def bundled(**changes: Any) -> Config:
    fields: dict[str, Any] = {"revision": "7", "declared": 7, "roots": ("watchkey",)}
    return Config(modules={"b/p.rego": OLD}, versions={"b/p.rego": "v0"}, bundle=BundleOrigin(**(fields | changes)))


def test_a_module_is_in_the_language_that_its_bundle_says() -> None:
    assert judged(bundled(), document(shift())).outcome is Outcome.YES
    with pytest.raises(Malformed, match=r"b/p\.rego:2"):
        build(Config(modules={"b/p.rego": OLD}))


def test_a_bundle_says_its_revision_and_what_it_owns() -> None:
    assert build(bundled()).declared_revision == 7
    text = "# METADATA\n# custom: {revision: 3}\npackage watchkey\n"
    own = Config(modules={"p.rego": text}, bundle=BundleOrigin(revision="x", declared=None, roots=("",)))
    assert build(own).declared_revision == 3
    with pytest.raises(Malformed, match="package watchkey is outside the roots"):
        build(bundled(roots=("watch", "watchkey/a")))


def test_the_hash_tells_what_a_bundle_says() -> None:
    others = [bundled(), bundled(revision="8"), bundled(roots=("",)), Config(modules={"b/p.rego": OLD})]
    assert len({policy_hash(one) for one in others}) == 4
