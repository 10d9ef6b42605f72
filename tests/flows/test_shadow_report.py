"""What the log tells of shadow policies: grouped, counted, the gravest first; other entries are passed over."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.builders import NOW
from watchkey.flows.shadow_report import shadow_differences
from watchkey.model.audit import AuditEvent, Noted
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.policy_change import Change

FIELDS: dict[str, Any] = {
    "policy": "next", "policy_hash": "h", "change": "reason", "subject": "bob", "privilege": "write",
    "resource": "orders-db", "reason": "not_on_call", "would_be": "policy_denied",
}  # fmt: skip


def entries(*events: AuditEvent) -> list[tuple[int, bytes]]:
    return [(seq, make_entry(event, seq=seq, high_water=None).body) for seq, event in enumerate(events)]


def note(**changes: Any) -> Noted:
    return Noted(at=NOW, what="policy.shadow_differs", fields={**FIELDS, **changes})


def test_differences_are_counted_and_the_gravest_stand_first() -> None:
    later = replace(note(), at=NOW + timedelta(hours=2))
    gains = note(change="gains", subject="eve", would_be="on_call")
    found, unreadable = shadow_differences(entries(note(), Noted(at=NOW, what="other"), later, gains))
    assert unreadable == 0
    assert [(one.change, one.subject, one.times, one.first_seq) for one in found] == [
        (Change.GAINS, "eve", 1, 3),
        (Change.REASON, "bob", 2, 0),
    ]
    assert (found[1].first_at, found[1].last_at) == (NOW, NOW + timedelta(hours=2))


def test_only_what_is_asked_for() -> None:
    told = entries(note(), note(policy="strict"))
    assert [one.policy for one in shadow_differences(told, policies=frozenset({"strict"}))[0]] == ["strict"]
    assert shadow_differences(told, since=NOW + timedelta(seconds=1)) == ([], 0)


def test_what_cannot_be_read_is_counted() -> None:
    assert shadow_differences([(0, b"{"), *entries(note(change="unheard of"))]) == ([], 2)
