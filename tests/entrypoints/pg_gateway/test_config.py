"""A gateway's section: what it may say, and where its files are."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection, sections
from watchkey.entrypoints.pg_gateway.gateway import Trace
from watchkey.targets.postgres import Config


@dataclass
class Settings:
    """Settings whose sections are plain values."""

    gateways: list[Any]
    directory: Path = field(default=Path("/etc/watchkey"))

    def convert(self, section: Any, wanted: type[GatewaySection]) -> GatewaySection:
        return msgspec.convert(section, wanted, dec_hook=lambda _, value: Path(value))


def test_little_needs_to_be_said_and_the_log_is_beside_the_configuration() -> None:
    (section,) = sections(Settings([{"databases": {"orders": {"resource": "orders-db"}}}]))
    assert (section.host, section.port, section.databases["orders"].trace) == ("127.0.0.1", 6432, Trace.STATEMENTS)
    assert section.statements == Path("/etc/watchkey/statements.jsonl")
    (elsewhere,) = sections(Settings([{"databases": {}, "statements": "/var/log/s.jsonl"}]))
    assert elsewhere.statements == Path("/var/log/s.jsonl")


@pytest.mark.parametrize(
    ("trace", "parameters", "recorded"),
    [
        ("statements", None, "off"), ("statements", "hashed", "hashed"), ("full", None, "full"),
        ("full", "hashed", "hashed"), ("full", "off", "off"), ("connections", "full", "off"), ("off", "hashed", "off"),
    ],
)  # fmt: skip
def test_parameters_are_recorded_with_statements_only(trace: str, parameters: str | None, recorded: str) -> None:
    database = {"resource": "r", "trace": trace, "parameters": parameters}
    (section,) = sections(Settings([{"databases": {"x": database}}]))
    assert section.databases["x"].recorded_parameters == recorded


def test_every_key_stands_in_the_how_to() -> None:
    text = (Path(__file__).parents[3] / "docs/how-to/postgres-gateway.md").read_text()
    _, gateway, database = text.partition("## All keys")[2].partition("## What it does not do")[0].split("\nA ", 2)
    database, _, target = database.partition("\nA `target`")
    for part, section in ((gateway, GatewaySection), (database, DatabaseSection), (target, Config)):
        rows = [line for line in part.splitlines() if line.startswith("| `")]
        told = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert sorted(told) == sorted(section.__struct_fields__)


@pytest.mark.parametrize(
    "section",
    [
        {}, {"databases": {"x": {}}}, {"databases": {"x": {"resource": "r", "trace": "some"}}},
        {"databases": {}, "port": 70000},
        {"databases": {}, "sessions_max": 0}, {"databases": {}, "tsl": True},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        sections(Settings([section]))
