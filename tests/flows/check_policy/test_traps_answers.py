"""Each trap about answers."""

import pytest

from tests.flows.check_policy.linted import rules

LATER = '\nallow if input.caller == "x"'


@pytest.mark.parametrize(
    ("text", "is_trap"),
    [
        ("default allow := true" + LATER, True),
        ('default decision := {"allow": true}\ndecision := {"allow": false} if input.caller == 1', True),
        ("allow := true", True),
        ("allow if true", True),
        ('decision := {"allow": true, "reasons": []}', True),
        ("default allow := false" + LATER, False),
        ('decision := {"allow": true} if input.caller == "x"', False),
        ("default is_weekend := true\nis_weekend := false if input.caller == 1", False),
        ('allow := true if input.caller == "x"', False),
        ("allow := false", False),
    ],
)
def test_allowing_by_default(text: str, is_trap: bool) -> None:  # noqa: FBT001
    assert ("default-allow" in rules(text)) is is_trap


@pytest.mark.parametrize(
    ("answer", "is_trap"),
    [
        ('{"allow": true, "ttl": "60s"}', True),
        ('{"allow": true, "ttl": 60}', True),
        ('{"allow": true, "ttl": input.resource.ttl_max_s}', False),
        ('{"allow": false, "ttl": "60s"}', False),
        ('{"allow": true}', False),
    ],
)
def test_constant_times_to_live(answer: str, is_trap: bool) -> None:  # noqa: FBT001
    assert ("ttl-constant" in rules(f'decision := {answer} if input.caller == "x"')) is is_trap


def test_old_syntax_is_told_once_a_file() -> None:
    assert rules('allow { input.caller == "x" }\nallow { input.caller == "y" }', dialect="v0") == {"v0-syntax"}
    assert rules('import rego.v1\nallow if input.caller == "x"', dialect="v0") == set()


def test_an_allow_says_why() -> None:
    assert "no-reason" in rules('decision := {"allow": true, "ttl": input.resource.ttl_max_s} if input.on_call')
    assert "no-reason" not in rules('decision := {"allow": true, "reasons": ["on_call"]} if input.on_call')
    assert "no-reason" not in rules('decision := {"allow": false, "ttl": 0} if input.on_call')
    assert "no-reason" not in rules("allow if input.on_call")
