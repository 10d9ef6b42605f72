"""`docs/reference/configuration.md`, written from the JSON Schema and so from the types; a test keeps the two equal."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from watchkey.settings.load import SourceConfigs
from watchkey.settings.schema import DURATION_PATTERN, configuration_schema

_SECTIONS: Final = (
    ("defaults", "ResourceDefaults"),
    ("resources.ID", "ResourceSection"),
    ("resources.ID.opened_by[]", "Pager"),
    ("resources.ID.blast_radius", "BlastRadius"),
    ("resources.ID.second_source", "SecondSource"),
    ("policies.NAME", "PolicySection"),
    ("policies.NAME.verification", "VerificationSection"),
    ("callers.ID", "CallerSection"),
    ("fleets.NAME", "FleetSection"),
    ("fleets.NAME.signing", "SigningSection"),
    ("storage", "StorageSection"),
    ("listen", "ListenSection"),
    ("listen.http", "HttpSection"),
    ("listen.http.tls", "TlsSection"),
    ("sync", "SyncSection"),
    ("confirmations", "ConfirmationsSection"),
)

_INTRODUCTION: Final = """\
# Configuration

<!-- Written from the code: WATCHKEY_REWRITE_GOLDEN=1 python -m pytest tests/settings/test_reference.py -->

One YAML file, `watchkey.yaml`, kept in git. `watchkey init` writes one that works; `watchkey config check` finds what
is wrong in yours; `watchkey config schema` prints the schema that an editor completes and checks it with.

Which file: `--config FILE`, else the environment variable `WATCHKEY_CONFIG`, else `watchkey.yaml` in the working
directory. Nothing else in the environment changes what the file says.

- Relative paths start at the folder of the file. Durations are `90s`, `15m`, `12h`, `3d`.
- YAML 1.2: `on`, `no` and `18:00` are text. Anchors, tags and a key that stands twice are errors, and so is every key
  that is not on this page.
- A secret never stands in the file, because the file is shared, copied and kept. Write `{env: NAME}` to take it from
  the environment, or `{file: PATH}` to take it from a file.
- An error names file, line, column, the path, what was expected and the nearest valid name, for everything that is
  wrong at once:

```text
watchkey.yaml:14:5: resources.orders-db.max_levl: unknown key; expected one of …; did you mean max_level?
```
"""


def configuration_page(source_configs: SourceConfigs) -> str:
    """The page, in Markdown."""
    return "\n".join([_INTRODUCTION, *_Page(configuration_schema(source_configs)).parts()])


class _Page:
    """Turns one schema into tables."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.definitions: Mapping[str, Any] = schema["$defs"]

    def parts(self) -> Iterator[str]:
        """One part for each section, and one for each kind of source."""
        yield self.part("The file", self.schema)
        for title, name in _SECTIONS:
            yield self.part(f"`{title}`", self.definitions[name])
        for rule in self.schema["properties"]["sources"]["additionalProperties"]["allOf"]:
            kind = rule["if"]["properties"]["kind"]["const"]
            yield self.part(f"`sources.NAME` with `kind: {kind}`", rule["then"])

    def part(self, title: str, section: Mapping[str, Any]) -> str:
        """A heading, what the section is, and a row for each key."""
        required = set(section.get("required", ()))
        rows = [
            " | ".join((f"| `{key}`", self.type(node), _default(key, node, required), f"{_meaning(node)} |"))
            for key, node in section["properties"].items()
            if isinstance(node, dict)
        ]
        head = ["| key | type | default | meaning |", "|---|---|---|---|"]
        return "\n".join([f"## {title}", "", str(section.get("description", "")), "", *head, *rows, ""])

    def type(self, node: Mapping[str, Any]) -> str:
        """What may stand there, in words."""
        if "anyOf" in node:
            return " or ".join(self.type(one) for one in node["anyOf"] if one.get("type") != "null")
        if "enum" in node:
            return ", ".join(f"`{one}`" for one in node["enum"])
        if "$ref" in node:
            return self.referred(str(node["$ref"]).rpartition("/")[2])
        if node.get("type") == "array":
            return f"list of {self.type(node['items'])}" if "items" in node else "list"
        return _simple_type(node)

    def referred(self, name: str) -> str:
        """A section of this page by its title; any other definition (an enum) by its values."""
        title = next((title for title, defined in _SECTIONS if defined == name), None)
        return f"section `{title}`" if title else self.type(self.definitions[name])


def _simple_type(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    if kind in {"integer", "number"}:
        return _bounds(node)
    if kind == "object":
        return "secret" if node.get("maxProperties") == 1 else "mapping"
    if kind == "string":
        return "duration" if node.get("pattern") == DURATION_PATTERN else "text"
    return "`true`, `false`" if kind == "boolean" else "anything"


def _meaning(node: Mapping[str, Any]) -> str:
    shown = str(node.get("description", "")).partition(" Written as a duration")[0]
    return shown.replace("|", "\\|").replace("\n", " ")


def _default(key: str, node: Mapping[str, Any], required: set[str]) -> str:
    if key in required:
        return "*required*"
    if node.get("default") is None:
        return ""
    return f"`{msgspec.json.encode(node['default']).decode().strip(chr(34))}`"


def _bounds(node: Mapping[str, Any]) -> str:
    word = "whole number" if node["type"] == "integer" else "number"
    least, above = node.get("minimum"), node.get("exclusiveMinimum")
    most, below = node.get("maximum"), node.get("exclusiveMaximum")
    bounds = (("from", least), ("above", above), ("to", most), ("below", below))
    return " ".join([word, *(f"{side} {bound}" for side, bound in bounds if bound is not None)])
