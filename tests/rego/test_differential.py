"""Random policies, data and inputs, judged by this engine and by a real OPA; a difference shrinks to a readable case.

``make fuzz`` runs it longer: WATCHKEY_FUZZ_CASES is the number of cases, which are other ones each time then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, note, settings

from tests.rego.fuzzing import DATA, INPUT, documents, modules
from tests.rego.real_opa import NO_OPA, OPA, Answer, RealOpa, real_opa
from watchkey.rego import EvaluationError, RegoErrors, compile_modules, freeze
from watchkey.rego.values import json_text

CASES = int(os.environ.get("WATCHKEY_FUZZ_CASES", "0"))

pytestmark = pytest.mark.skipif(OPA is None, reason=NO_OPA)


@pytest.fixture(scope="module")
def opa() -> Iterator[RealOpa]:
    with real_opa() as running:
        yield running


def ours(text: str, document: Any, data: dict[str, Any]) -> Answer:
    """What this engine says."""
    try:
        policy = compile_modules({"case.rego": text})
    except RegoErrors as problem:
        return Answer(kind="refused", detail=str(problem), codes=frozenset(each.code for each in problem.errors))
    try:
        result = policy.query("data.t").evaluate(document, freeze(data))
    except EvaluationError as problem:
        return Answer(kind="error", detail=str(problem))
    if not result.defined:
        return Answer(kind="undefined")
    return Answer(kind="value", value=json.loads(json_text(result.value)))


def comparable(value: Any) -> Any:
    """A value in which true is not 1, and numbers are compared by magnitude, as far as a float of OPA's JSON tells."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__, value
    return "number", Decimal(repr(value)) if isinstance(value, int) else Decimal(f"{value:.12g}")


def is_order_of_evaluation(one: Answer, other: Answer) -> bool:
    """Whether only one engine came to the call that conflicts: the other met something undefined beside it before."""
    return {one.kind, other.kind} in ({"error", "value"}, {"error", "undefined"}) and any(
        text in one.detail + other.detail for text in ("functions must not", "same inputs", "object keys must")
    )


def is_finer_type(own: Answer, theirs: Answer) -> bool:
    """Whether only one type checker sees that something can never hold; to the other it is undefined when it runs."""
    refused, other = (own, theirs) if own.kind == "refused" else (theirs, own)
    return refused.kind == "refused" and other.kind != "refused" and refused.codes == {"rego_type_error"}


SETTINGS = settings(
    max_examples=CASES or 500,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@SETTINGS
@given(text=modules(), document=documents(INPUT), data=documents(DATA))
@example(text="package t\nr0 := [x | some x in {3, 1, 2}]\n", document={}, data={})
@example(
    text="package t\nr0 := input.n\nr1 := [r0, x] if { x := data.t.r0 with input.n as 1 }\n", document={"n": 2}, data={}
)
@example(text="package t\nr0 if not input.a < null\nr1 := sort([2, 1, null, {}, []])\n", document={"a": True}, data={})
def test_both_engines_say_the_same(opa: RealOpa, text: str, document: Any, data: dict[str, Any]) -> None:
    theirs, own = opa.ask(text, document, data, "t"), ours(text, document, data)
    note(f"{text}\ninput: {json.dumps(document)}\ndata: {json.dumps(data)}\nopa:  {theirs}\nours: {own}")
    assume(not is_order_of_evaluation(own, theirs) and not is_finer_type(own, theirs))
    assert own.kind == theirs.kind
    assert comparable(own.value) == comparable(theirs.value)
