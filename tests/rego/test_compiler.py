"""compile_modules: several files, host functions, seeds, and policies that must not compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rego.evaluating import answer, codes, policy
from watchkey.rego import UNDEFINED, BuiltinError, Dialect, HostFunction, RegoErrors, compile_modules, freeze
from watchkey.rego.types import NUMBER, STRING

SAMPLE = Path(__file__).parents[3] / "shared" / "contracts" / "cyral-sample.rego"


def send(host: Any, request: Any) -> Any:
    host["calls"].append(request["url"])
    if "users" in request["url"]:
        return {"body": {"users": [{"email": "ann@example.com", "id": "P1"}]}}
    return {"body": {"oncalls": host["oncalls"]}}


@pytest.mark.skipif(not SAMPLE.exists(), reason="../shared/contracts is not here")
@pytest.mark.parametrize(
    ("user", "oncalls", "allowed"),
    [
        ("ann@example.com", [{"escalation_level": 1}], True),
        ("ann@example.com", [{"escalation_level": None}], False),
        ("ann@example.com", [], False),
        ("bob@example.com", [{"escalation_level": 1}], False),
    ],
)
def test_the_published_sample_runs_unmodified_with_a_host_function(user: Any, oncalls: Any, allowed: Any) -> None:
    hosts = {"http.send": HostFunction(function=send)}
    compiled = compile_modules({"s.rego": SAMPLE.read_text()}, dialect=Dialect.V0, host_functions=hosts)
    data = freeze({"policyparams": {"api_token": "t", "min_escalation_level": 1}})
    host = {"calls": [], "oncalls": oncalls}
    result = compiled.query("data.cyral.authz_policy.decision").evaluate({"userID": user}, data, host=host)
    assert result.json() == {"allow": allowed, "ttl": "60s"}


def test_host_functions() -> None:
    hosts = {
        "roster.level": HostFunction(function=lambda host, who: host.get(who, UNDEFINED), args=(STRING,), result=NUMBER)
    }
    compiled = policy('p := roster.level("ann")\nq if { not roster.level("bob") }', host_functions=hosts)
    assert compiled.query("data.t.p").evaluate(host={"ann": 2}).json() == 2
    assert compiled.query("data.t.q").evaluate(host={}).json() is True
    assert codes("p := roster.level(1)", host_functions=hosts) == ["rego_type_error"]
    assert codes('p := roster.level("a") == "x"\nq if { roster.level("a") == "x" }', host_functions=hosts) == [
        "rego_type_error"
    ]


def test_a_host_function_is_called_once_for_the_same_arguments() -> None:
    calls = []
    hosts = {"h": HostFunction(function=lambda _host, x: calls.append(x) or x, args=(NUMBER,))}
    compiled = policy("p := [h(1), h(1), h(2)]", host_functions=hosts)
    assert compiled.query("data.t.p").evaluate().json() == [1, 1, 2]
    assert calls == [1, 2]


def test_an_error_of_a_host_function_is_undefined() -> None:
    def fail(_host: Any) -> None:
        raise BuiltinError("no answer")

    compiled = policy("p := h()\nq if { not h() }", host_functions={"h": HostFunction(function=fail, args=())})
    assert not compiled.query("data.t.p").evaluate().defined


def test_an_unknown_host_function_needs_its_types() -> None:
    with pytest.raises(ValueError, match="needs the types"):
        policy("p := h()", host_functions={"h": HostFunction(function=send)})


def test_random_built_ins_need_a_seed() -> None:
    assert codes('p := rand.intn("a", 5)') == ["rego_type_error"]
    compiled = policy(
        'p := rand.intn("a", 1000000) == rand.intn("a", 1000000)\nq := rand.intn("a", 1000000)', seeded=True
    )
    assert compiled.query("data.t.p").evaluate(seed=b"1").json() is True
    first, second = (compiled.query("data.t.q").evaluate(seed=seed).json() for seed in (b"1", b"2"))
    assert first != second
    assert first == compiled.query("data.t.q").evaluate(seed=b"1").json()


def test_modules_see_each_other() -> None:
    modules = {
        "a.rego": "package a\nimport data.b\np := b.q + data.b.f(1)",
        "b.rego": "package b\nq := 1\nf(x) := x + r",
        "b2.rego": "package b\nr := 10",
    }
    assert compile_modules(modules).query("data.a.p").evaluate().json() == 12


def test_every_file_is_reported() -> None:
    with pytest.raises(RegoErrors) as caught:
        compile_modules({"b.rego": "package b\np := 1 +", "a.rego": "package a\np := ["})
    assert [error.file for error in caught.value.errors] == ["a.rego", "b.rego"]


def test_strict_reports_more() -> None:
    assert answer("p := 1\nimport_free if { x := 1 }") == 1
    assert codes("p := 1\nq if { x := 1 }", strict=True) == ["rego_compile_error"]


def test_a_policy_nested_too_deeply_is_an_error() -> None:
    text = "p := " + "count(" * 3000 + "1" + ")" * 3000
    assert codes(text) == ["rego_parse_error"]


def test_a_rule_beyond_what_python_can_nest_still_works_or_is_refused() -> None:
    wide = "p := [1 | " + "; ".join(f"input[i{n}]" for n in range(60)) + "]"
    assert answer(wide, [1]) == [1]
    one = "p := count([1 | input" + "[_]" * 30 + "])"
    assert codes(one) in ([], ["rego_compile_error"])
