"""Errors: what they say, and that several travel together."""

from __future__ import annotations

from watchkey.rego.errors import NOWHERE, EvaluationError, LimitExceeded, Location, RegoError, RegoErrors

PLACE = Location(file="a.rego", line=3, column=5, text="p if x")


def test_an_error_has_a_caret_under_its_column() -> None:
    lines = str(RegoError(code="rego_parse_error", message="no", location=PLACE)).splitlines()
    assert lines[0] == "a.rego:3:5: rego_parse_error: no"
    assert lines[2].index("^") == lines[1].index("x") - 1


def test_a_long_line_is_cut_around_the_column() -> None:
    place = Location(file="a.rego", line=1, column=900, text="x" * 899 + "!" + "y" * 900)
    lines = str(RegoError(code="c", message="m", location=place)).splitlines()
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^")] == "!"


def test_without_a_place() -> None:
    assert str(RegoError(code="c", message="m")) == "c: m"
    assert (NOWHERE.line, NOWHERE.file) == (0, "")


def test_several_errors() -> None:
    errors = RegoErrors([RegoError(code="a", message="1"), RegoError(code="b", message="2")])
    assert str(errors) == "a: 1\nb: 2"
    assert errors.errors[1].line == 0


def test_an_evaluation_error_takes_a_place_once() -> None:
    error = LimitExceeded("too much").at(PLACE)
    assert str(error) == "a.rego:3:5: eval_limit_error: too much"
    assert error.at(NOWHERE).location is PLACE
    assert isinstance(error, EvaluationError)
