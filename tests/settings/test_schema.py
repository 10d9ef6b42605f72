"""The JSON Schema: valid in itself, and of one mind with the program about what is right and wrong in types."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from jsonschema import Draft202012Validator

from watchkey.rules.durations import parse_duration
from watchkey.rules.located import ConfigError, load
from watchkey.settings import Surroundings, parse_settings
from watchkey.settings.schema import DURATION_PATTERN, configuration_schema
from watchkey.wiring import source_configs

HASH = "sha256:" + "ab" * 32
RIGHT = f"""\
version: 1
sources:
  a: {{kind: roster_file, path: r.yaml}}
  b: {{kind: pagerduty, token: {{env: T}}, region: eu, deadline: 30s}}
defaults: {{privileges: [read], ttl_max: 5m}}
resources:
  db: {{kind: pg, opened_by: [{{source: a, service: S}}], opens: {{unknown: all, rota: [read]}}, labels: {{tier: "1"}}}}
callers: {{gw: {{token_hashes: ["{HASH}"], resources: all}}}}
links: {{ann: {{a: ann}}}}
groups: {{sre: [ann]}}
listen: {{http: {{port: 0, tls: null, limits: {{}}}}, gateways: [{{port: 1}}]}}
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return configuration_schema(source_configs())


def verdicts(schema: dict[str, Any], text: str) -> tuple[bool, bool]:
    """What the schema and what the program say."""
    by_schema = Draft202012Validator(schema).is_valid(load(text, "w").data)
    try:
        parse_settings(
            text,
            file=Path("w"),
            surroundings=Surroundings(directory=Path("/nowhere"), are_secrets_read=False),
            source_configs=source_configs(),
        )
    except ConfigError:
        return by_schema, False
    return by_schema, True


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    parts = {"the file": schema, **schema["$defs"]}
    without = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, node in part.get("properties", {}).items()
        if "description" not in node
    ]
    assert without == []


def test_both_accept_what_is_right(schema: dict[str, Any]) -> None:
    assert verdicts(schema, RIGHT) == (True, True)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("version: 1", "version: 2"),
        ("links:", "lnks:"),
        ("kind: roster_file", "kind: roster_fle"),
        ("path: r.yaml", "pth: r.yaml"),
        (", path: r.yaml", ""),
        ("{env: T}", "literal"),
        ("{env: T}", "{env: T, file: f}"),
        ("{env: T}", "{}"),
        ("region: eu", "region: mars"),
        ("deadline: 30s", "deadline: 30"),
        ("ttl_max: 5m", "ttl_max: 5 m"),
        ("kind: pg, ", ""),
        ("source: a, ", ""),
        ("unknown: all", "unknwn: all"),
        ("unknown: all", "unknown: most"),
        ('tier: "1"', "tier: 1"),
        (HASH, "wk_token"),
        ("resources: all", "resources: some"),
        ("sre: [ann]", "sre: ann"),
        ("port: 0", "port: 65536"),
        ("port: 0", "port: '0'"),
        ("  db: {", "  db/1: {"),
    ],
)
def test_both_refuse_what_is_wrong(schema: dict[str, Any], was: str, becomes: str) -> None:
    assert was in RIGHT
    assert verdicts(schema, RIGHT.replace(was, becomes, 1)) == (False, False)


@pytest.mark.parametrize("text", ["90s", "15m", "12h", "3d", "5", "5 m", "m", "-5s", "5w", "1h30m", ""])
def test_durations_are_told_apart_alike(text: str) -> None:
    try:
        parse_duration(text)
        is_right = True
    except ValueError:
        is_right = False
    assert Draft202012Validator({"pattern": DURATION_PATTERN}).is_valid(text) == is_right


def test_defaults_are_written_as_the_file_writes_them(schema: dict[str, Any]) -> None:
    assert schema["$defs"]["ResourceSection"]["properties"]["ttl_max"]["default"] == "1h"
    assert schema["$defs"]["SyncSection"]["properties"]["window"]["default"] == "3d"


def test_a_type_that_has_no_place_in_a_file_is_refused() -> None:
    class Odd(msgspec.Struct):
        what: complex

    with pytest.raises((NotImplementedError, TypeError)):
        configuration_schema({"odd": Odd})


def test_the_example_agrees_with_it(schema: dict[str, Any]) -> None:
    example = Path(configuration_schema.__code__.co_filename).parent / "example" / "watchkey.yaml"
    text = example.read_text(encoding="utf-8").replace("sha256:TOKEN_HASH", HASH)
    jsonschema.validate(load(text, "w").data, schema, cls=Draft202012Validator)
    assert text.splitlines()[0] == "# yaml-language-server: $schema=./watchkey.schema.json"
