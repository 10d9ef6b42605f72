"""The JSON Schema of the configuration for editors, made from the same types that read it."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from watchkey.model.oncall import Provenance
from watchkey.model.secret import Secret
from watchkey.rules.durations import DURATION_SHAPE, format_duration
from watchkey.settings.load import SourceConfigs
from watchkey.settings.shape import File

DURATION_PATTERN: Final = "^[0-9]{1,9}(ms|s|m|h|d)$"
_SECRET: Final = {
    "description": "A secret never stands in the file: {env: NAME} is in the environment, {file: PATH} in a file.",
    "type": "object",
    "properties": {"env": {"type": "string", "minLength": 1}, "file": {"type": "string", "minLength": 1}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_REFERENCE: Final = "#/$defs/{name}"


def configuration_schema(source_configs: SourceConfigs) -> dict[str, Any]:
    """The schema (draft 2020-12) of `watchkey.yaml`, with the keys of each kind of source.

    It says less than the program checks: names that must exist elsewhere in the file are beyond a schema.
    """
    types: list[Any] = [File, *source_configs.values()]
    references, definitions = msgspec.json.schema_components(types, schema_hook=_foreign, ref_template=_REFERENCE)
    sections = _tidied(definitions)
    for name in ("ResourceDefaults", "ResourceSection"):
        sections[name]["properties"]["opens"]["propertyNames"] = {"enum": [grade.value for grade in Provenance]}
    top = sections.pop("File")
    # A kind's own definition forbids keys that it does not know, `kind` among them: it is written out with it instead.
    kinds = dict(zip(source_configs, references[1:], strict=True))
    named = {kind: _definition_name(reference) for kind, reference in kinds.items()}
    top["properties"]["sources"]["additionalProperties"] = _source(
        {kind: sections[name] for kind, name in named.items()}
    )
    for name in set(named.values()):
        del sections[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Watchkey configuration",
        **{key: value for key, value in top.items() if key != "title"},
        "$defs": sections,
    }


def tidy_schema(wanted: type) -> dict[str, Any]:
    """The schema of one type of ours, with its parts under `$defs`."""
    (reference,), definitions = msgspec.json.schema_components([wanted], schema_hook=_foreign, ref_template=_REFERENCE)
    sections = _tidied(definitions)
    top = sections.pop(_definition_name(reference))
    return {**{key: value for key, value in top.items() if key != "title"}, "$defs": sections}


def _foreign(wanted: type) -> dict[str, Any]:
    """What msgspec does not know."""
    if wanted is Secret:
        return dict(_SECRET)
    if wanted is Path:
        return {"type": "string", "minLength": 1}
    raise NotImplementedError(f"{wanted} has no place in a configuration")


def _definition_name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _source(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Any source: its kind, and then the keys of that kind."""
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"description": "Which adapter reads it.", "enum": sorted(kinds)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": _with_kind(section)}
            for kind, section in sorted(kinds.items())
        ],
    }


def _with_kind(section: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"kind": True, **section.get("properties", {})}
    return {**{key: value for key, value in section.items() if key != "title"}, "properties": properties}


def _tidied(node: Any) -> Any:
    """The schema with what msgspec cannot know: durations as we write them, and patterns as ECMA-262 has them."""
    if isinstance(node, list):
        return [_tidied(one) for one in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidied(value) for key, value in node.items()}
    if tidy.get("format") == "duration":
        del tidy["format"]
        tidy["pattern"] = DURATION_PATTERN
        tidy["description"] = _sentence(tidy.get("description"), f"Written as {DURATION_SHAPE}.")
        if isinstance(tidy.get("default"), str):
            tidy["default"] = format_duration(msgspec.convert(tidy["default"], timedelta))
    elif isinstance(tidy.get("pattern"), str):
        tidy["pattern"] = tidy["pattern"].replace(r"\Z", "$")
    if "$ref" in tidy and isinstance(tidy.get("default"), dict):
        del tidy["default"]  # the parts say their own
    if tidy.get("title") and re.fullmatch(r"\w+", str(tidy["title"])):
        del tidy["title"]  # a class's name tells an editor's user nothing
    return tidy


def _sentence(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)
