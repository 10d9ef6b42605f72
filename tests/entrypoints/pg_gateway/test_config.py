"""A gateway's section: what it may say, and where its files are."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection, problems_of, sections
from watchkey.entrypoints.pg_gateway.gateway import Trace
from watchkey.rules.located import ConfigError, Located, load
from watchkey.settings.sections import Surroundings
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


@dataclass
class Resource:
    """With a target, or without one."""

    target: dict[str, str]


class Written(Settings):
    """Settings whose gateways stand in a file."""

    def __init__(self, text: str) -> None:
        listed = load(text, "watchkey.yaml")
        super().__init__([listed.at(i) for i in range(len(listed.data))])
        self.resources: Any = {"orders-db": Resource({"host": "db"}), "dashboards": Resource({})}

    def convert(self, section: Located, wanted: type[GatewaySection]) -> GatewaySection:
        return Surroundings(directory=self.directory).convert(section, wanted)


FINE = "- databases: {orders: {resource: orders-db}}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FINE + FINE, "port: another gateway listens on port 6432"),
        (FINE + FINE + "  host: '::1'\n", "writes statements.jsonl already"),
        (FINE + FINE + "  port: 7000\n", "writes statements.jsonl already"),
        (FINE + "  tsl: x\n", "[0].tsl: unknown key"),
        (FINE + "  host: 10.0.0.1\n", "without TLS the gateway listens on loopback only"),
        (FINE + "  proxy_protocol_from: [10.0.0.1/8]\n", "host bits set"),
        (FINE + "  hosts: {x.example: orders}\n", "only with a certificate"),
        (FINE + "  certificate: none.pem\n  key: none.key\n", "none.pem and its key"),
        (FINE.replace("orders-db", "dashboards"), "databases.orders.resource: dashboards is not among `resources`"),
        (FINE.replace("orders-db", "else"), "else is not among `resources`"),
    ],
)
def test_what_cannot_be_served_is_found_with_its_place(text: str, words: str) -> None:
    problems = problems_of(Written(text), are_files_read=True)
    assert words in " | ".join(map(str, problems))
    assert all(str(problem).startswith("watchkey.yaml:") for problem in problems)


def test_a_gateway_that_can_be_served_has_no_problem_and_certificates_may_be_elsewhere() -> None:
    assert problems_of(Written(FINE), are_files_read=True) == ()
    elsewhere = FINE + "  host: 0.0.0.0\n  certificate: none.pem\n  key: none.key\n"
    assert problems_of(Written(elsewhere), are_files_read=False) == ()
    (problem,) = problems_of(Written(elsewhere + "  hosts: {x.example: else}\n"), are_files_read=False)
    assert "else, which is not among its databases" in str(problem)


def test_two_gateways_never_share_a_port_or_a_file() -> None:
    with pytest.raises(ConfigError, match="listens on port 6432"):
        sections(Written(FINE + FINE))
    one, other = sections(Written(FINE + FINE + "  port: 7000\n  statements: other.jsonl\n"))
    assert one.statements != other.statements
