"""Built-ins that only a host can supply are known by name and have no function."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import codes, policy
from watchkey.rego import HostFunction
from watchkey.rego.builtins import registered


@pytest.mark.parametrize("name", ["http.send", "opa.runtime", "providers.aws.sign_req", "net.lookup_ip_addr"])
def test_they_are_declared(name: Any) -> None:
    assert registered()[name].function is None


def test_the_declared_types_hold_for_the_host() -> None:
    hosts = {"http.send": HostFunction(function=lambda _host, request: {"echo": request})}
    assert codes('p := http.send("a")', host_functions=hosts) == ["rego_type_error"]
    found = policy('p := http.send({"a": 1}).echo.a', host_functions=hosts).query("data.t.p").evaluate()
    assert found.json() == 1
