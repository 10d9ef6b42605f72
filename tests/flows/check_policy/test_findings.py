"""How a finding reads."""

from watchkey.flows.check_policy import Finding, Severity
from watchkey.rego import Location


def test_a_finding_shows_its_line_and_a_caret() -> None:
    place = Location(file="a.rego", line=2, column=3, text="x\t>= 1")
    finding = Finding(rule="r", severity=Severity.HIGH, location=place, message="wrong", fix="do this")
    assert str(finding).split("\n") == ["a.rego:2:3: high r: wrong", "    x >= 1", "      ^", "    fix: do this"]
