"""Which resources the risks are told of."""

from watchkey.rules.shared_account import RISKS, warnings_of


def test_each_risk_of_each_resource_that_shares() -> None:
    told = warnings_of({"b": {"mode": "shared_account"}, "a": {"mode": "own_role"}, "c": {}})
    assert len(told) == len(RISKS)
    assert all(line.startswith("b has a shared account: ") for line in told)
