"""YAML data files of a bundle: what OPA and our own reader both read alike, and nothing else.

OPA turns YAML into JSON first (`sigs.k8s.io/yaml`) and goes on with that. It reads a few plain scalars otherwise than
YAML 1.2 has them, `0123` and `1_000` among them; such a file would mean one thing here and another in the fleet.
"""

import re
from decimal import Decimal
from typing import Any, Final

import yaml

from watchkey.model.errors import Malformed
from watchkey.rules.located import ConfigError, load

_READ_IN_TWO_WAYS: Final = re.compile(
    r"[-+]?0[0-9_]+|[-+]?[0-9.][0-9_.]*_[0-9_.]*([eE][-+]?[0-9_]+)?|[-+]0[xXoObB].*|0[XOB].*|0b[01_]+|0[xo].*_.*"
)
_NO_TEXT: Final = re.compile(
    r"|~|null|true|false|<<|[-+].*|[0-9]*\.[0-9.]*(e.*)?|[0-9]+e.*|0[xo].*|\.(inf|nan).*", re.IGNORECASE
)
"""Keys that are no text in YAML, and that OPA writes anew: `1.50` becomes `1.5`."""
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_BELOW: Final = 1e21
_PLAIN_FROM: Final = 1e-6
"""Between these, Go writes a floating-point number without an exponent."""


def read_yaml(body: bytes, name: str) -> Any:
    """The value of a file as plain data. Raises `Malformed`."""
    try:
        value = load(body, name).data
    except ConfigError as error:
        raise Malformed(str(error)) from error
    pending = [yaml.compose(body.decode("utf-8-sig"), Loader=_LOADER)]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            for key, inner in node.value:
                _refuse(key, _NO_TEXT, name)
                pending += [key, inner]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.ScalarNode):
            _refuse(node, _READ_IN_TWO_WAYS, name)
    return value


def _refuse(node: yaml.ScalarNode, pattern: re.Pattern[str], name: str) -> None:
    if not node.style and pattern.fullmatch(node.value):
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        raise Malformed(
            f"{name}:{line}:{column}: OPA reads {node.value[:40]!r} otherwise than it stands there; write the number"
            " plainly, or text in quotes"
        )


def go_number(value: float) -> str:
    """A number as Go writes it in JSON, which is what OPA hashes: the shortest digits, `1e+21` and `5`, never `5.0`."""
    if isinstance(value, int):
        return str(value)
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        text = f"{Decimal(repr(value)):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
