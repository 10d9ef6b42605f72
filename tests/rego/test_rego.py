"""The package as others use it: what its first page says can be typed as it stands there."""

import pytest

import watchkey.rego
from watchkey.rego import EvaluationError, LimitExceeded, Limits, RegoErrors, compile_modules, freeze

POLICY = """package authz
decision := {"allow": data.roster[input.subject] == "primary"}
"""


def test_the_example_of_the_first_page() -> None:
    query = compile_modules({"authz.rego": POLICY}).query("data.authz.decision")
    data = freeze({"roster": {"alice": "primary", "bob": "secondary"}})
    assert query.evaluate({"subject": "alice"}, data, now_ns=0).json() == {"allow": True}
    assert query.evaluate({"subject": "bob"}, data, now_ns=0).json() == {"allow": False}
    assert not query.evaluate({"subject": "mallory"}, data, now_ns=0).defined


def test_its_three_errors_are_told_apart() -> None:
    with pytest.raises(RegoErrors, match=r"a\.rego:2:"):
        compile_modules({"a.rego": "package a\np := nothing"})
    with pytest.raises(EvaluationError) as conflict:
        compile_modules({"a.rego": "package a\np := 1\np := 2"}).query("data.a.p").evaluate()
    assert not isinstance(conflict.value, LimitExceeded)
    loop = compile_modules({"a.rego": "package a\np := count(numbers.range(1, 5000))"}).query("data.a.p")
    with pytest.raises(LimitExceeded):
        loop.evaluate(limits=Limits(steps=10))


def test_everything_it_offers_is_there() -> None:
    assert [name for name in watchkey.rego.__all__ if not hasattr(watchkey.rego, name)] == []
