"""rego.metadata outside of a rule has no answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import policy
from watchkey.rego import EvaluationError


@pytest.mark.parametrize("name", ["rego.metadata.chain", "rego.metadata.rule"])
def test_only_rules_have_metadata(name: Any) -> None:
    query = policy("p := 1").query(f"{name}()")
    assert not query.evaluate().defined
    with pytest.raises(EvaluationError, match="within the scope of a rule"):
        query.evaluate(strict_builtin_errors=True)
