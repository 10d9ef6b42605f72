"""Who may ask about what, and codes that other people's scripts rely on."""

import pytest

from watchkey.model.access import Caller, Reason
from watchkey.model.ids import CallerId, ResourceId

ORDERS = ResourceId("orders-db")


@pytest.mark.parametrize(
    ("resources", "may"),
    [
        (None, True),
        (frozenset({ORDERS}), True),
        (frozenset({"wiki"}), False),
        (frozenset(), False),
    ],
)
def test_a_caller_asks_about_its_resources_only(resources: frozenset[ResourceId] | None, may: bool) -> None:  # noqa: FBT001  # a table
    assert Caller(id=CallerId("proxy"), resources=resources).may_ask_about(ORDERS) is may


def test_a_caller_is_neither_trusted_nor_free_by_default() -> None:
    nobody = Caller(id=CallerId("proxy"))
    assert not nobody.is_trusted
    assert not nobody.may_ask_about(ORDERS)


def test_reason_codes_are_stable() -> None:
    """A code is an interface: it may be added, never renamed."""
    assert {str(reason) for reason in Reason} >= {
        "on_call", "responding", "no_fact_needed", "caller_not_allowed", "unknown_resource", "unknown_privilege",
        "no_roster", "roster_stale", "clock_doubtful", "not_linked", "identity_ambiguous", "person_unknown",
        "person_inactive", "not_eligible", "not_on_call", "level_too_high", "level_unknown", "only_permanent",
        "provenance_too_weak", "not_responding", "incident_unvetted", "scope_unknown", "policy_denied",
        "policy_undefined", "policy_malformed", "policy_failed", "policy_over_budget", "no_time_left",
        "audit_unavailable", "internal_error", "policy_unreachable",
    }  # fmt: skip
