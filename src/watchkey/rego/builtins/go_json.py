"""JSON text as Go's ``json.Marshal`` writes it."""

from __future__ import annotations

from typing import Any, Final

from watchkey.rego.values import json_text

_ESCAPED: Final = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


def go_json(value: Any) -> str:
    """Compact JSON text, keys sorted; ``<``, ``>``, ``&`` and Unicode's line ends are escaped."""
    return json_text(value).translate(_ESCAPED)
