"""Every policy engine gives the same verdicts: the embedded one, and a real OPA asked over its Data API."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import HOUR, NOW, incident, question, request, resource, responder, shift
from tests.fakes.real_opa import needs_opa, put_data, put_policy, running_opa
from watchkey.engines import opa, rego
from watchkey.model.access import Outcome, Verdict
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.rules.evidence import find_evidence
from watchkey.rules.policy_input import policy_document
from watchkey.wiring import SystemClock

SHIPPED = (Path(__file__).parents[2] / "src/watchkey/policies/default.rego").read_text()
DATA = {"teams": {"level": 2}}

Ask = Callable[[str, Mapping[str, Any]], Verdict]
"""A policy's text without its package, and a document: what the engine says."""


def document(*shifts: Shift, **changes: Any) -> dict[str, Any]:
    asked = question(*shifts, **changes)
    return policy_document(asked, find_evidence(asked))


def embedded(text: str, given: Mapping[str, Any], *, strict_errors: bool = True) -> Verdict:
    modules = {"p.rego": f"package watchkey\n{text}"}
    engine = rego.build(rego.Config(modules=modules, data=DATA, strict_errors=strict_errors))
    return asyncio.run(engine.evaluate(given, now=NOW))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_opa() as url:
        put_data(url, "teams", DATA["teams"])
        yield url


numbers = itertools.count()


def remote(server: str, **changes: Any) -> Ask:
    def ask(text: str, given: Mapping[str, Any]) -> Verdict:
        name = f"case{next(numbers)}"
        put_policy(server, name, f"package {name}\n{text}")
        config = opa.Config(url=server, path=f"{name}/decision", timeout=timedelta(seconds=20), is_kept_open=False)
        return asyncio.run(asked(opa.Config(**(_fields(config) | changes)), given))

    return ask


def _fields(config: opa.Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


async def asked(config: opa.Config, given: Mapping[str, Any]) -> Verdict:
    engine = opa.build(config, clock=SystemClock())
    try:
        return await engine.evaluate(given, now=NOW)
    finally:
        await engine.close()


@pytest.fixture(params=["rego", pytest.param("opa", marks=needs_opa)])
def ask(request: pytest.FixtureRequest) -> Ask:
    return embedded if request.param == "rego" else remote(request.getfixturevalue("server"))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("decision := {}", Outcome.MALFORMED),
        ("decision := true", Outcome.MALFORMED),
        ("decision := null", Outcome.MALFORMED),
        ('decision := ["allow"]', Outcome.MALFORMED),
        ('decision := {"allow"}', Outcome.MALFORMED),
        ('decision := {"allow": "true"}', Outcome.MALFORMED),
        ('decision := {"allow": 1}', Outcome.MALFORMED),
        ('decision := {"allow": null}', Outcome.MALFORMED),
        ('decision := {"allow": {"allow": true}}', Outcome.MALFORMED),
        ('decision := {"Allow": true}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": "soon"}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": true}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": 1e300}', Outcome.MALFORMED),
        ('decision := {"allow": true, "ttl": {}}', Outcome.MALFORMED),
        ('decision := {"allow": true, "reasons": "because"}', Outcome.MALFORMED),
        ('decision := {"allow": true, "reasons": [1]}', Outcome.MALFORMED),
        ('decision := {"allow": true, "reasons": {"a": "b"}}', Outcome.MALFORMED),
        ('decision := {"allow": true} if input.subject.id == "mallory"', Outcome.UNDEFINED),
        ("other := 1", Outcome.UNDEFINED),
        ('decision := {"allow": true}\ndecision := {"allow": false}', Outcome.FAILED),
        ('decision := {"allow": false, "ttl": "60s"}', Outcome.NO),
        ('default decision := {"allow": false}\ndecision := {"allow": true} if input.nothing', Outcome.NO),
        ('decision := {"allow": true}', Outcome.YES),
        ('decision := {"allow": true, "more": [1, {"a": null}]}', Outcome.YES),
        ('decision := {"allow": data.teams.level == 2}', Outcome.YES),
        ('decision := {"allow": input.on_call[0].level == 1}', Outcome.YES),
        ('decision := {"allow": input.now_ns == 1782907200000000000}', Outcome.YES),
        ('decision := {"allow": input.on_call[0].until_ns - input.now_ns > 0}', Outcome.YES),
    ],
)
def test_only_a_well_formed_yes_is_a_yes(ask: Ask, text: str, outcome: Outcome) -> None:
    assert ask(text, document(shift())).outcome is outcome


@pytest.mark.parametrize(
    ("ttl", "span"),
    [("60", timedelta(seconds=60)), ("0.5", timedelta(seconds=0.5)), ('"1h30m"', HOUR * 1.5), ("null", None)],
)
def test_ttl_and_reasons_are_what_the_policy_said(ask: Ask, ttl: str, span: timedelta | None) -> None:
    verdict = ask(f'decision := {{"allow": true, "ttl": {ttl}, "reasons": ["on call", "ünïcode \\u2028"]}}', document())
    assert (verdict.ttl, verdict.reasons, verdict.detail) == (span, ("on call", "ünïcode \u2028"), "")


def test_context_is_only_what_the_caller_told(ask: Ask) -> None:
    odd = {"text": 'quote " backslash \\ \u0000 \u2028 ü', "big": 2**60, "deep": [[[{}]]], "none": None}
    given = document(shift()) | {"context": odd}
    text = r'decision := {"allow": input.context == {"text": "quote \" backslash \\ \u0000 \u2028 ü", '
    assert ask(text + '"big": 1152921504606846976, "deep": [[[{}]]], "none": null}}', given).outcome is Outcome.YES


def test_a_failure_says_what_failed(ask: Ask) -> None:
    verdict = ask('decision := {"allow": true}\ndecision := {"allow": false}', document())
    assert verdict.outcome is Outcome.FAILED
    assert verdict.detail


# --- the policy that ships, on generated questions -----------------------------------------------------------------


ENDS: list[dict[str, Any]] = [
    {"ends_at": NOW + timedelta(microseconds=1)},
    {"ends_at": NOW + HOUR, "end_kind": EndKind.TRUNCATED},
    {"ends_at": None, "end_kind": EndKind.UNKNOWN},
    {"ends_at": None, "end_kind": EndKind.PERMANENT},
]


def ordinary() -> list[dict[str, Any]]:
    """Questions as the service asks them; the same on each run."""
    dice = random.Random(20260701)
    found = [document(), document(shift()), document(facts={"incidents": (incident(responder()),)})]
    for _ in range(120):
        shifts = [
            shift(
                dice.choice(["PALICE", "PALICE", "PBOB"]),
                level=dice.choice([None, 1, 1, 2, 3]),
                starts_at=NOW - dice.choice([timedelta(0), timedelta(microseconds=1), HOUR]),
                provenance=dice.choice(list(Provenance)),
                **dice.choice(ENDS),
            )
            for _ in range(dice.randint(0, 3))
        ]
        about = resource(max_level=dice.randint(1, 2), ttl_max=dice.choice([HOUR, HOUR / 4]))
        asks = request(privilege=dice.choice(["read", "write", "own"]))
        responding = (incident(responder(), opened_by=dice.choice([None, "PALICE", "PBOB"])),)
        facts = {"incidents": dice.choice([(), responding])}
        found.append(document(*shifts, about=about, asks=asks, facts=facts))
    return found


def broken_ones() -> list[dict[str, Any]]:
    """The same questions, each with something wrong in it."""
    dice = random.Random(20260702)
    given = ordinary()
    return [broken(dice.choice(given), dice) for _ in range(180)]


def broken(given: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The document with one value, at any depth, of another kind or gone."""
    copy = _copied(given)
    node: Any = copy
    while True:
        key = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and dice.random() < 0.8:
            node = node[key]
            continue
        if dice.random() < 0.3:
            del node[key]
        else:
            node[key] = dice.choice([None, True, False, 0, -1, 1.5, 10**30, "", "write", [], {}, [None], {"a": 1}])
        return copy


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


@needs_opa
@pytest.mark.parametrize("is_strict", [True, False])
def test_the_shipped_policy_has_the_same_verdict_in_both(server: str, *, is_strict: bool) -> None:
    put_policy(server, "shipped", SHIPPED)
    given = [*ordinary(), *broken_ones()]
    config = opa.Config(url=server, timeout=timedelta(seconds=20), strict_errors=is_strict)

    async def both() -> list[tuple[Verdict, Verdict]]:
        here = rego.build(rego.Config(modules={"default.rego": SHIPPED}, strict_errors=is_strict))
        there = opa.build(config, clock=SystemClock())
        try:
            return [(await here.evaluate(one, now=NOW), await there.evaluate(one, now=NOW)) for one in given]
        finally:
            await there.close()

    def said(verdict: Verdict) -> tuple[object, ...]:
        return verdict.outcome, verdict.ttl, verdict.reasons

    pairs = asyncio.run(both())
    assert [i for i, (here, there) in enumerate(pairs) if said(here) != said(there)] == []
    outcomes = [here.outcome for here, _ in pairs]
    assert min(outcomes.count(Outcome.YES), outcomes.count(Outcome.NO)) > 20


NOT_OF_AN_ERROR = 'decision := {"allow": true} if not to_number(input.subject.id)'


@pytest.mark.parametrize("engine", ["rego", pytest.param("opa", marks=needs_opa)])
def test_an_error_inside_the_policy_is_no_allow_unless_told(engine: str, request: pytest.FixtureRequest) -> None:
    def verdict(*, is_strict: bool) -> Verdict:
        if engine == "rego":
            return embedded(NOT_OF_AN_ERROR, document(), strict_errors=is_strict)
        return remote(request.getfixturevalue("server"), strict_errors=is_strict)(NOT_OF_AN_ERROR, document())

    strict = verdict(is_strict=True)
    assert strict.outcome is Outcome.FAILED
    assert "to_number" in strict.detail
    assert verdict(is_strict=False).outcome is Outcome.YES


@needs_opa
def test_a_policy_that_takes_too_long_is_over_budget(server: str) -> None:
    slow = (
        'xs := numbers.range(1, 2000)\ndecision := {"allow": count([1 | some a in xs; some b in xs; a + b < 0]) == 0}'
    )
    verdict = remote(server, timeout=timedelta(milliseconds=200))(slow, document())
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert "no complete answer within 0.2 s" in verdict.detail
