"""Audit entries: the canonical form against RFC 8785's own figures, the allow-list of fields, time that steps back."""

import json
import struct
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit_cases import ALLOW, AT, DENY, EVENTS, allow
from watchkey.model.access import Allow, Deny, Subject
from watchkey.model.audit import AuditEvent, DecisionMade, Noted, ServiceStopped
from watchkey.model.errors import Malformed
from watchkey.model.ids import SubjectId
from watchkey.model.secret import Secret
from watchkey.rules.audit_entry import ENTRY_BYTES_MAX, canonical_json, instant, make_entry

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner)
    ),
    max_leaves=12,
)


def entry(event: AuditEvent, **known: Any) -> dict[str, Any]:
    made = make_entry(event, seq=known.pop("seq", 0), high_water=known.pop("high_water", None))
    value: dict[str, Any] = json.loads(made.body)
    return value


# The samples of RFC 8785, appendix B: bits of a double and its text.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_rfc_has_them(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == text.encode()


def test_the_example_of_the_rfc() -> None:
    # RFC 8785 section 3.2.2 to 3.2.4.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_members_are_sorted_by_utf_16_code_units() -> None:
    # RFC 8785 section 3.2.3: the emoji's first code unit is below the Hebrew presentation form's.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    wanted = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys, 0)))) == wanted


@given(json_values)
def test_the_canonical_form_is_json_and_its_own_canonical_form(value: Any) -> None:
    written = canonical_json(value)
    read = json.loads(written, parse_int=float)  # RFC 8785 knows doubles only
    assert read == value
    assert canonical_json(read) == written


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        b"bytes",
        {1: 2},
        {"x": object()},
        "\ud800",
        {"\udfff": 1},
        Secret("s"),
        AT,
    ],
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(Malformed):
        canonical_json({"value": value})


def test_a_value_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Malformed, match="nested"):
        canonical_json(endless)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_quick_form_is_the_canonical_form(event: AuditEvent) -> None:
    body = make_entry(event, seq=3, high_water=AT + timedelta(seconds=9)).body
    assert canonical_json(json.loads(body)) == body


@given(
    st.text(st.characters(codec="utf-8")),
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.frozensets(st.text(st.characters(codec="utf-8"), max_size=3)),
)
def test_the_quick_form_is_the_canonical_form_whatever_people_are_called(
    text: str, age: timedelta, groups: frozenset[str]
) -> None:
    request = replace(ALLOW.request, subject=Subject(id=SubjectId(text), groups=groups))
    decision = replace(ALLOW, request=request, sentence=text, grounds=(replace(ALLOW.grounds[0], age=age),))
    body = make_entry(DecisionMade(decision=decision), seq=0, high_water=None).body
    assert canonical_json(json.loads(body)) == body
    assert json.loads(body)["subject"] == text


def test_every_kind_of_event_has_a_case_here() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(AuditEvent))


def test_an_allow_in_full() -> None:
    assert entry(DecisionMade(decision=ALLOW), seq=17) == {
        "seq": 17,
        "kind": "decision",
        "at": "2026-11-25T03:04:05.678901Z",
        "outcome": "allow",
        "reason": "on_call",
        "sentence": ALLOW.sentence,
        "subject": "alice@example.com",
        "groups": ["db", "sre"],
        "resource": "orders-db",
        "privilege": "write",
        "caller": "gateway",
        "until": "2026-11-25T03:34:05.678901Z",
        "policy": {"hash": "ab" * 32, "revision": 3},
        "grounds": [{"source": "pager", "revision": 7, "age_s": 12.5}],
        "evidence": [
            {
                "kind": "on_call",
                "person": "P1",
                "scope": "pager/service/orders",
                "level": 1,
                "starts_at": "2026-11-25T02:04:05.678901Z",
                "until": "2026-11-25T04:04:05.678901Z",
                "end_kind": "exact",
                "schedule": "orders-primary",
                "policy": "orders-policy",
                "provenance": "rota",
                "is_vetted": True,
            },
            {
                "kind": "responding",
                "person": "P1",
                "scope": "pager/service/orders",
                "end_kind": "unknown",
                "provenance": "unknown",
                "incident": "I1",
                "involvement": "acknowledged",
                "is_vetted": False,
                "path": ["checkout", "orders"],
                "escalated_to": 2,
            },
        ],
    }


def test_a_deny_says_why_and_has_no_end() -> None:
    fields_ = entry(DecisionMade(decision=DENY))
    assert (fields_["outcome"], fields_["reason"], fields_["evidence"]) == ("deny", "not_on_call", [])
    assert "until" not in fields_
    assert "groups" not in fields_


def test_a_note_keeps_its_fields_apart_from_our_own() -> None:
    fields_ = entry(Noted(at=AT, what="x.y", fields={"seq": 9, "kind": "decision", "at": "never"}), seq=4)
    assert (fields_["seq"], fields_["kind"], fields_["what"]) == (4, "noted", "x.y")
    assert fields_["fields"] == {"seq": 9, "kind": "decision", "at": "never"}


def test_what_a_caller_tells_besides_is_not_logged() -> None:
    assert "canary" in str(ALLOW.request.context)
    assert b"canary" not in make_entry(DecisionMade(decision=ALLOW), seq=0, high_water=None).body


def test_every_field_of_a_fact_is_logged() -> None:
    logged = entry(DecisionMade(decision=ALLOW))["evidence"]
    assert is_dataclass(ALLOW.evidence[0])
    assert {name for fact in logged for name in fact} == {each.name for each in fields(ALLOW.evidence[0])}


def test_every_field_of_a_decision_is_logged_or_left_out_on_purpose() -> None:
    # A new field of a decision must be decided upon here: logged, or named with the reason.
    left_out = {"instead", "next_shift_at"}  # both are in the sentence, and name people who did not ask
    renamed = {"decided_at": "at", "policy_hash": "policy", "policy_revision": "policy"}
    names = {each.name for kind in (Allow, Deny) for each in fields(kind)} - left_out - {"request"}
    assert {renamed.get(name, name) for name in names} <= set(entry(DecisionMade(decision=ALLOW)))


def test_instants_are_utc_and_sort_as_text() -> None:
    elsewhere = datetime(2026, 11, 25, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert instant(elsewhere) == "2026-11-25T03:04:05.000000Z"
    assert instant(datetime.min.replace(tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"
    with pytest.raises(Malformed, match="time zone"):
        instant(datetime(2026, 1, 1))  # noqa: DTZ001 - the error under test


def test_time_that_goes_back_is_seen() -> None:
    later = AT + timedelta(seconds=5)
    made = make_entry(allow(), seq=1, high_water=later)
    assert json.loads(made.body)["high_water"] == instant(later)
    assert json.loads(made.body)["clock_stepped_back"] is True
    assert made.high_water == later


def test_decisions_that_overtook_each_other_are_not_called_a_step() -> None:
    later = AT + timedelta(milliseconds=300)
    value = entry(allow(), high_water=later)
    assert value["high_water"] == instant(later)
    assert "clock_stepped_back" not in value
    assert "high_water" not in entry(allow(), high_water=AT)


def test_an_event_too_large_to_keep_is_refused() -> None:
    with pytest.raises(Malformed, match="at most"):
        make_entry(Noted(at=AT, what="x", fields={"text": "x" * ENTRY_BYTES_MAX}), seq=0, high_water=None)


def test_text_that_is_not_unicode_is_refused() -> None:
    decision = replace(DENY, request=replace(DENY.request, subject=Subject(id=SubjectId("\ud800"))))
    with pytest.raises(Malformed, match="Unicode"):
        make_entry(DecisionMade(decision=decision), seq=0, high_water=None)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Malformed, match="time zone"):
        make_entry(ServiceStopped(at=datetime(2026, 1, 1)), seq=0, high_water=AT)  # noqa: DTZ001 - the error under test
