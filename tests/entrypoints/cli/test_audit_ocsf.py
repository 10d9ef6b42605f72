"""`watchkey audit export --format ocsf`: the sessions of the log, and statements with the address of their session."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.audit_cases import AT
from tests.entrypoints.cli.test_audit import open_store
from tests.rules.test_ocsf import LINE, SESSION, valid
from watchkey.entrypoints.cli.audit import audit
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = open_store(tmp_path / "watchkey.db")
    for what, more in (
        ("session.opened", {"application": "psql"}),
        ("lease.opened", {}),
        ("session.ended", {"why": "x"}),
    ):
        store.append_and_block(Noted(at=AT, what=what, fields=SESSION | more))
    store.close()
    lines = [LINE, LINE | {"session": "another"}]
    (tmp_path / "statements.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(audit, ["export", "--db", str(folder / "watchkey.db"), *words])


def test_sessions_and_statements_are_events_one_a_line(folder: Path) -> None:
    result = run(folder, "--format", "ocsf", "--statements", str(folder / "statements.jsonl"))
    assert result.exit_code == 0, result.output
    events = [valid(json.loads(line)) for line in result.stdout.splitlines()]
    assert [(event["class_uid"], event["activity_id"]) for event in events] == [
        (3002, 1),
        (3002, 2),
        (6005, 4),
        (6005, 4),
    ]
    assert events[2]["src_endpoint"] == {"ip": "203.0.113.7", "port": 5}
    assert events[3]["src_endpoint"] == {"name": "unknown"}
    assert "4 events" in result.stderr


def test_into_a_file(folder: Path) -> None:
    assert run(folder, "--format", "ocsf", "-o", str(folder / "out")).exit_code == 0
    assert len((folder / "out").read_text().splitlines()) == 2


def test_misuse_and_a_broken_line(folder: Path) -> None:
    assert run(folder, "--statements", str(folder / "statements.jsonl")).exit_code == 2
    (folder / "statements.jsonl").write_text("{}\n")
    broken = run(folder, "--format", "ocsf", "--statements", str(folder / "statements.jsonl"))
    assert isinstance(broken.exception, Malformed)
    assert "line 1" in str(broken.exception)
