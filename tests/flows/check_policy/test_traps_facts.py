"""Each trap about facts: what falls into it, and what looks alike and does not."""

import pytest

from tests.flows.check_policy.linted import findings, rules

SOME = "some s in input.on_call\n"


def allow(*lines: str) -> str:
    return "allow if {\n" + SOME + "\n".join(lines) + "\n}\n"


@pytest.mark.parametrize(
    "line",
    [
        "s.level >= 1",
        "s.level > input.resource.max_level",
        "1 <= s.level",
        's["level"] >= data.policyparams.min',
        "n := s.level; n >= 2",
        "t := s; t.level >= 2",
        "input.on_call[_].level >= 2",
        "x := {y | y := input.on_call[_]; y.escalation_level >= 2}; count(x) > 0",
        "every y in input.on_call { y.level > 2 }",
    ],
)
def test_a_floor_on_the_level_is_found_however_it_is_written(line: str) -> None:
    assert "level-floor" in rules(allow(line))


@pytest.mark.parametrize(
    "line",
    [
        "is_number(s.level); s.level <= input.resource.max_level",
        "input.resource.max_level >= s.level",
        "count(input.on_call) >= 1",
        "input.context.risk_level_of_day >= 3",
        "s.level == 1",
    ],
)
def test_a_ceiling_is_not(line: str) -> None:
    assert "level-floor" not in rules(allow(line))


def test_a_rule_named_level_is_no_level() -> None:
    assert "level-floor" not in rules("level := 3\nallow if level >= 2")


def test_the_place_is_the_comparisons_left_side() -> None:
    (found,) = [one for one in findings(allow("x := 1", "x == 1; s.level >= 2")) if one.rule == "level-floor"]
    assert (found.location.line, found.location.column, found.location.text) == (5, 9, "x == 1; s.level >= 2")


@pytest.mark.parametrize("line", ["not s.level > 2", "not s.level <= 2"])
def test_a_negated_level_lets_missing_ones_in(line: str) -> None:
    assert "level-negated" in rules(allow(line))


@pytest.mark.parametrize(
    ("line", "is_trap"),
    [
        ("s.level <= 2", True),
        ("is_number(s.level); s.level <= 2", False),
        ("s.level <= 2; is_number(s.level)", False),
        ("is_number(input.on_call[0].level); s.level <= 2", True),
        ("n := s.level; is_number(n); n <= 2", False),
        ("is_number(s.level); s.level <= data.policyparams.max", True),
        ("is_number(s.level); is_number(data.policyparams.max); s.level <= data.policyparams.max", False),
        ('s.level <= "2"', True),
        ("s.until_ns > null", True),
        ("input.context.x < true", True),
        ("input.context.x < [1]", True),
        ('input.context.version < "2"', False),
        ("s.starts_ns <= input.now_ns", False),
        ("s.level == 2; s.level <= 2", False),
    ],
)
def test_comparisons_across_types(line: str, is_trap: bool) -> None:  # noqa: FBT001
    assert ("cross-type" in rules(allow(line))) is is_trap


def test_a_parameter_behind_a_rule_is_followed() -> None:
    body = "ceiling := l if l := data.policyparams.max\n" + allow("is_number(s.level); s.level <= ceiling")
    assert "cross-type" in rules(body)
    guarded = "ceiling := l if { l := data.policyparams.max; is_number(l) }\n"
    assert "cross-type" not in rules(guarded + allow("is_number(s.level); s.level <= ceiling"))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("s.until > input.now", "text-time"),
        ("s.until_ns > input.now_ns", None),
        ("input.now_ns <= s.until_ns", "closed-end"),
        ("s.until_ns >= input.now_ns", "closed-end"),
        ("input.now_ns < s.until_ns", None),
        ("s.starts_ns <= input.now_ns", None),
    ],
)
def test_times(line: str, rule: str | None) -> None:
    assert rules(allow(line)) & {"text-time", "closed-end"} == ({rule} if rule else set())


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("data.people[_].email == input.subject.id", {"mail-identity", "mail-case"}),
        ("lower(data.people[_].email) == lower(input.subject.id)", {"mail-identity"}),
        ("lower(data.people[_].email) == input.subject.id", {"mail-identity", "mail-case"}),
        ("input.subject.id in data.people[_].emails", {"mail-identity", "mail-case"}),
        ("data.people[_].email = input.subject.id", {"mail-identity", "mail-case"}),
        ("m := data.people[_].email; m == input.subject.id", {"mail-identity", "mail-case"}),
        ("m := data.people[_].email; m != null", set()),
        ("data.people[_].id == input.subject.id", set()),
    ],
)
def test_mail(line: str, wanted: set[str]) -> None:
    assert rules(allow(line)) & {"mail-identity", "mail-case"} == wanted


@pytest.mark.parametrize(
    ("line", "is_trap"),
    [
        ("input.on_call[0].end_kind", True),
        ("u := data.users; u[0].id == 1", True),
        ("input.on_call[_].end_kind", False),
        ("input.context.path[0] == 1", False),
        ('data.users["0"].id == 1', False),
    ],
)
def test_only_one_row(line: str, is_trap: bool) -> None:  # noqa: FBT001
    assert ("first-only" in rules(allow(line))) is is_trap


def test_permanent_on_calls_need_a_look_at_the_end() -> None:
    assert "permanent-on-call" in rules(allow("s.person == 1"))
    for line in ('s.end_kind != "permanent"', "s.until_ns > input.now_ns", 's.provenance == "rota"'):
        assert "permanent-on-call" not in rules(allow(line))
    assert "permanent-on-call" not in rules('allow if input.context.office == "open"')


def test_responders_are_missed() -> None:
    assert "no-responders" in rules(allow("s.person == 1"))
    assert "no-responders" not in rules(allow("s.person == 1") + "allow if input.responding[_].is_vetted")


def test_where_a_shift_comes_from_has_to_be_looked_at() -> None:
    assert "no-provenance" in rules(allow("s.person == 1"))
    for line in ('s.provenance == "rota"', "input.privilege in input.resource.opens[s.grade]"):
        assert "no-provenance" not in rules(allow(line))
    assert "no-provenance" not in rules('allow if input.context.office == "open"')


def test_one_answer_for_everything() -> None:
    assert "one-answer" in rules(allow("s.person == 1"))
    for line in ('input.privilege == "read"', 'input.resource.id == "orders-db"'):
        assert "one-answer" not in rules(allow(line))
