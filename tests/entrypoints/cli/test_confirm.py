"""`watchkey confirm`, against a real service in a process: a second person, and nobody else."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.entrypoints.cli.test_serve import command
from watchkey.entrypoints.cli.confirm import _words
from watchkey.entrypoints.cli.init import write_example
from watchkey.entrypoints.cli.main import watchkey

ROSTER = """\
people:
  alice: {{name: Alice Adams}}
  bob: {{name: Bob Brown}}
  carol: {{name: Carol Clark}}
schedules:
  primary:
    name: Primary
    zone: UTC
    layers: [{{participants: [bob], turn: daily, handoff: "00:00", from: 2026-01-01}}]
    overrides: [{{person: alice, from: "{start}", to: "{end}", by: alice}}]
policies: {{orders: {{name: Orders, levels: [[primary]]}}}}
services: {{orders: {{name: Orders, policy: orders}}}}
"""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    process = subprocess.Popen(
        command(directory, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        while process.stdout.readline().strip() != "ready":
            assert process.poll() is None, "it ended before it was ready"
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


class House:
    """A folder with a roster in which alice put herself on call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = write_example(folder, is_forced=False).token.reveal()
        now = datetime.now(UTC)  # noqa: TID251 -- the service of another process has the real time
        moment = "%Y-%m-%dT%H:%M:%SZ"
        self.roster = folder / "roster.yaml"
        self.roster.write_text(
            ROSTER.format(start=f"{now - timedelta(hours=1):{moment}}", end=f"{now + timedelta(hours=1):{moment}}")
        )

    def run(self, url: str, *words: str, **environment: str) -> Result:
        config = str(self.folder / "watchkey.yaml")
        given = {"WATCHKEY_SERVER": url, "WATCHKEY_TOKEN": self.token, **environment}
        return CliRunner().invoke(watchkey, ["--config", config, *words], env=given)

    def login(self, url: str, who: str) -> Mapping[str, str]:
        return {"WATCHKEY_LOGIN": self.run(url, "login", who).stdout.strip()}


def test_a_second_person_opens_what_a_self_made_override_does_not(tmp_path: Path) -> None:
    house = House(tmp_path)
    with serving(tmp_path) as url:
        bob, alice = house.login(url, "bob"), house.login(url, "alice")
        (one,) = json.loads(house.run(url, "confirm", "--json", **bob).stdout)["shifts"]
        assert (one["name"], one["grade"]) == ("Alice Adams", "self_override")
        own = house.run(url, "confirm", "shift", one["id"], **alice)
        assert (own.exit_code, "second person" in own.output) == (1, True), own.output
        program = house.run(url, "confirm", "shift", one["id"], WATCHKEY_LOGIN=house.token)
        assert (program.exit_code, "proves no person" in program.output) == (2, True)
        given = house.run(url, "confirm", "shift", one["id"], **bob)
        assert (given.exit_code, "vouched for by bob" in given.stdout) == (0, True)
        assert "bob, until" in house.run(url, "confirm", **bob).stdout
    with serving(tmp_path) as url:
        bob = house.login(url, "bob")
        (again,) = json.loads(house.run(url, "confirm", "--json", **bob).stdout)["shifts"]
        assert (again["id"], again["confirmed_by"]) == (one["id"], "bob")
        assert house.run(url, "confirm", "withdraw", one["id"], **bob).exit_code == 0
        assert house.run(url, "confirm", "withdraw", one["id"], **bob).exit_code == 1
    log = house.run("", "audit", "tail", "--json").stdout
    assert log.index("shift.confirmed") < log.index("shift.confirmation_withdrawn")


@pytest.mark.parametrize("token", ["", "wk_program", "x"])
def test_a_person_must_be_proven(token: str) -> None:
    result = CliRunner().invoke(watchkey, ["confirm", "--server", "http://127.0.0.1:1"], env={"WATCHKEY_LOGIN": token})
    assert (result.exit_code, "WATCHKEY_LOGIN" in result.output) == (2, True)


def test_the_table_says_who_when_and_what_you_may_do() -> None:
    one = {
        "id": "1f2e", "name": "Al\x1b[31m", "policy": None, "schedule": "primary", "level": None,
        "starts_at": None, "ends_at": "2026-07-01T12:30:00Z", "grade": "unknown", "resources": ["orders-db"],
        "confirmed_by": None, "confirmed_until": None, "why_not": "",
    }  # fmt: skip
    text = _words({"shifts": [one, {**one, "why_not": "it is yours"}]})
    assert "2026-07-01 12:30" in text
    assert "needed; you may give it" in text
    assert "it is yours" in text
    assert "\x1b" not in text
    assert "no shift needs a word" in _words({"shifts": []})
