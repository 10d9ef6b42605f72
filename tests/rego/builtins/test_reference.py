"""The page of built-ins is what the registry says, and the registry has what OPA has."""

from __future__ import annotations

import pytest

from tests.rego.builtins.calling import Context
from tests.rego.builtins.reference import LANGUAGE, OPA_BUILTINS, PAGE, REFUSED, page, status
from watchkey.rego import RegoErrors, compile_modules
from watchkey.rego.builtins import registered

ARGUMENTS = {
    "http.send": "{}",
    "net.lookup_ip_addr": '"a"',
    "opa.runtime": "",
    "providers.aws.sign_req": "{}, {}, 1",
}
HOST = {"http.send", "net.lookup_ip_addr", "opa.runtime", "providers.aws.sign_req"}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_built_in_of_opa_has_a_status() -> None:
    known = registered()
    assert [status(name, known) for name in OPA_BUILTINS]
    assert set(known) <= set(OPA_BUILTINS)


def test_nothing_is_said_to_be_missing_that_is_there() -> None:
    assert not set(REFUSED) & set(registered())
    assert set(LANGUAGE) | set(REFUSED) <= set(OPA_BUILTINS)


def test_what_reaches_outside_is_for_the_host() -> None:
    assert {name for name, each in registered().items() if each.function is None} == HOST


@pytest.mark.parametrize("name", sorted(HOST | set(REFUSED)))
def test_what_is_not_there_does_not_compile(name: str) -> None:
    with pytest.raises(RegoErrors) as caught:
        compile_modules({"p.rego": f"package p\n\nx := {name}({ARGUMENTS[name]})\n"})
    assert name in str(caught.value)


@pytest.mark.parametrize("call", ['rand.intn("a", 5)', 'uuid.rfc4122("a")'])
def test_drawing_without_a_seed_does_not_compile(call: str) -> None:
    source = {"p.rego": f"package p\n\nx := {call}\n"}
    with pytest.raises(RegoErrors, match=call.partition("(")[0]):
        compile_modules(source)
    found = compile_modules(source, seeded=True).query("data.p.x").evaluate(input={}, seed=b"seed")
    assert found.value == registered()[call.partition("(")[0]].call(Context(), "a", *([5] if "5" in call else []))
