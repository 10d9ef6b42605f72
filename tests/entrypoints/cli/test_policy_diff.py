"""`policy diff` on a real log: names, counts, exit codes."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.entrypoints.cli.policy_house import run
from tests.wiring.configured import configured, first_read
from watchkey.rules.bundle import BundleFile, pack
from watchkey.wiring import build

DENIES_WRITING = """package watchkey
decision := {"allow": input.privilege == "read", "ttl": input.resource.ttl_max_s}
"""
SHORT = 'package watchkey\ndecision := {"allow": true, "ttl": 60}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration whose log has three decisions, one of them repeated twice."""

    async def scenario() -> None:
        async with build(configured(tmp_path)) as service:
            await first_read(service)
            for subject, privilege in (("alice", "write"), ("alice", "write"), ("alice", "read"), ("bob", "write")):
                await service.request_access.decide(request(subject, privilege), CALLER)

    asyncio.run(scenario())
    (tmp_path / "denies.rego").write_text(DENIES_WRITING)
    (tmp_path / "short.rego").write_text(SHORT)
    return tmp_path


def test_the_same_policy_changes_nothing(folder: Path) -> None:
    result = run("diff", "default", "default", config=folder / "watchkey.yaml")
    assert (result.exit_code, result.output) == (0, "same: 4 answers compared\n")


def test_who_loses_what_is_told_by_name_and_count(folder: Path) -> None:
    config = folder / "watchkey.yaml"
    result = run("diff", "default", folder / "denies.rego", config=config)
    assert result.exit_code == 1
    assert "1 lose access:" in result.output
    assert "differs: 4 answers compared" in result.output
    answer = json.loads(run("diff", "default", folder / "denies.rego", "--json", config=config).output)
    (one,) = answer["differences"]
    assert (one["kind"], one["subject"], one["privilege"], one["times"]) == ("loses", "alice", "write", 2)
    assert (one["old"], one["new"]) == ("on_call", "policy_denied")
    turned = json.loads(run("diff", folder / "denies.rego", "default", "--json", config=config).output)
    assert [one["kind"] for one in turned["differences"]] == ["gains"]


def test_a_shorter_time_is_a_difference(folder: Path) -> None:
    answer = json.loads(run("diff", "default", folder / "short.rego", "--json", config=folder / "watchkey.yaml").output)
    assert {(one["kind"], one["subject"]) for one in answer["differences"]} == {("shorter", "alice")}


def test_only_what_is_asked_for_is_compared(folder: Path) -> None:
    config = folder / "watchkey.yaml"
    for words in (("--since", "2100-01-01T00:00Z"), ("--resource", "other")):
        result = run("diff", "default", folder / "denies.rego", *words, config=config)
        assert (result.exit_code, result.output.startswith("nothing was compared")) == (3, True)
        assert run("diff", "default", "default", *words, "--skip-lost", config=config).exit_code == 0
    assert run("diff", "default", "nowhere", config=config).exit_code == 2
    (folder / "empty").mkdir()
    assert run("diff", "default", folder / "empty", config=config).exit_code == 2


def test_a_roster_that_is_forgotten_is_told(folder: Path) -> None:
    import sqlite3

    with sqlite3.connect(folder / "watchkey.db") as connection:
        connection.execute("DELETE FROM roster_revisions")
    connection.close()
    config = folder / "watchkey.yaml"
    result = run("diff", "default", "default", config=config)
    assert result.exit_code == 3
    assert "3 not made again: a roster of local is not kept any more" in result.output
    assert run("diff", "default", "default", "--skip-lost", config=config).exit_code == 0


def test_a_bundle_is_compared_like_files(folder: Path) -> None:
    listed = [BundleFile(name="p.rego", body=DENIES_WRITING.encode())]
    (folder / "b.tar.gz").write_bytes(pack(listed))
    answer = json.loads(run("diff", "default", folder / "b.tar.gz", "--json", config=folder / "watchkey.yaml").output)
    assert [one["kind"] for one in answer["differences"]] == ["loses"]
