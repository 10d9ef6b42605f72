"""`watchkey audit`: exit codes that tell tampered, rolled back and gap apart, and outputs to check elsewhere."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.audit_cases import DENY, EVENTS, KEY, allow
from tests.fakes.clock import DrivenClock
from watchkey.entrypoints.cli.audit import audit, entry_line
from watchkey.entrypoints.cli.main import watchkey
from watchkey.model.access import Subject
from watchkey.model.audit import DecisionMade
from watchkey.model.ids import SubjectId
from watchkey.model.secret import Secret
from watchkey.rules.checkpoint import SigningKey
from watchkey.rules.merkle import hash_leaf
from watchkey.stores.sqlite import Config, SqliteStore, build

PUBLIC = str(KEY.verifying)
STRANGER = str(SigningKey("example.com/audit", bytes(32)).verifying)

N = len(EVENTS)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(audit, [str(word) for word in words])


def open_store(database: Path) -> SqliteStore:
    config = Config(path=str(database), key=Secret(KEY.reveal()), reserve_mib=0)
    store = build(config, name="sqlite", clock=DrivenClock())
    store.open()
    return store


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A log with one entry of each kind."""
    store = open_store(tmp_path / "watchkey.db")
    for event in EVENTS:
        store.append_and_block(event)
    store.close()
    return tmp_path / "watchkey.db"


def edit(database: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER entries_are_not_changed")
        connection.execute("DROP TRIGGER entries_are_not_removed")
        for statement, values in statements:
            connection.execute(statement, values)
        connection.commit()


def body_of(database: Path, seq: int) -> bytes:
    with closing(sqlite3.connect(database)) as connection:
        body: bytes = connection.execute("SELECT body FROM entries WHERE seq = ?", (seq,)).fetchone()[0]
        return body


def test_a_log_as_it_was_signed_is_ok(database: Path) -> None:
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert (result.exit_code, result.stdout) == (0, f"ok  {N} entries are as they were signed by example.com/audit\n")
    assert result.stderr == ""


def test_the_answer_for_programs(database: Path) -> None:
    answer = json.loads(run("verify", "--db", database, "--key", PUBLIC, "--json").stdout)
    assert (answer["verdict"], answer["entries"], answer["covered"], answer["uncovered"]) == ("ok", N, N, 0)
    assert answer["findings"] == []
    assert len(answer["root"]) == 64


def test_without_a_key_the_one_beside_the_log_is_used_and_doubted(database: Path, tmp_path: Path) -> None:
    result = run("verify", "--db", database)
    assert result.exit_code == 0
    assert "could have exchanged both" in result.stderr
    (tmp_path / "key.txt").write_text(PUBLIC + "\n", encoding="utf-8")
    assert run("verify", "--db", database, "--key", tmp_path / "key.txt").stderr == ""


def test_a_careless_edit_is_tampering_and_named(database: Path) -> None:
    body = body_of(database, 1).replace(b"bob", b"eve")
    edit(database, ("UPDATE entries SET body = ? WHERE seq = 1", (body,)))
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert result.exit_code == 2
    assert result.stdout == "TAMPERED  entry 1 was changed: it does not have the hash that was stored\n"


def test_a_careful_edit_is_tampering_too(database: Path) -> None:
    body = body_of(database, 1).replace(b"bob", b"eve")
    edit(database, ("UPDATE entries SET body = ?, leaf = ? WHERE seq = 1", (body, hash_leaf(body))))
    answer = run("verify", "--db", database, "--key", PUBLIC, "--json")
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["findings"][0]["damage"] == "tampered"


def test_another_key_is_tampering(database: Path) -> None:
    result = run("verify", "--db", database, "--key", STRANGER)
    assert result.exit_code == 2
    assert "is not signed by" in result.stdout


def test_a_removed_entry_is_a_gap(database: Path) -> None:
    edit(database, ("DELETE FROM entries WHERE seq = 4", ()))
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert (result.exit_code, result.stdout) == (4, "GAP  entry 4 is missing\n")


def test_an_old_copy_is_a_rollback(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "old")
    store = open_store(database)
    store.append_and_block(allow())
    store.close()
    shutil.copy(tmp_path / "old", database)
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert result.exit_code == 3
    said = f"entry {N} is missing at the end: the remembered checkpoint watchkey.db.checkpoint covers {N + 1} entries"
    assert result.stdout == f"ROLLED BACK  {said}\n"


def test_an_anchor_that_was_kept_elsewhere_finds_a_complete_rollback(database: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path, tmp_path.with_name("backup"))
    store = open_store(database)
    store.append_and_block(allow())
    store.close()
    (tmp_path / "anchor").write_text(run("anchor", "--db", database).stdout, encoding="utf-8")
    (tmp_path / "line").write_text(run("anchor", "--db", database, "--json").stdout, encoding="utf-8")
    old = tmp_path.with_name("backup") / "watchkey.db"
    assert run("verify", "--db", old, "--key", PUBLIC).exit_code == 0
    for kept in ("anchor", "line"):
        result = run("verify", "--db", old, "--key", PUBLIC, "--since", tmp_path / kept)
        assert (result.exit_code, result.stderr) == (3, "")
        assert f"{kept} covers {N + 1} entries" in result.stdout
    shutil.rmtree(old.parent)


def test_a_log_of_which_nothing_is_known_outside_is_doubted(database: Path) -> None:
    Path(f"{database}.checkpoint").unlink()
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert result.exit_code == 0
    assert "looks whole; give a checkpoint that you kept with --since" in result.stderr


def test_a_damaged_file_is_tampering(database: Path) -> None:
    raw = bytearray(database.read_bytes())
    raw[4096:8192] = bytes(4096)
    database.write_bytes(raw)
    result = run("verify", "--db", database, "--key", PUBLIC)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--nonsense"),
        ("verify", "--db", "no such.db", "--key", PUBLIC),
        ("verify", "--export", "no such.jsonl", "--key", PUBLIC),
        ("verify", "--db", "x", "--export", "y", "--key", PUBLIC),
        ("verify", "--export", "y"),
        ("verify", "--db", "x", "--key", "not a key"),
        ("verify-proof", "no such.tlog-proof", "--key", PUBLIC),
        ("verify-proof",),
    ],
)
def test_what_could_not_be_checked_does_not_look_like_a_verdict(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("watchkey: ")


def test_a_private_key_given_by_mistake_is_not_repeated(database: Path) -> None:
    result = run("verify", "--db", database, "--key", KEY.reveal())
    assert result.exit_code == 1
    assert KEY.reveal()[-20:] not in result.output


def test_verification_beside_a_running_service(tmp_path: Path) -> None:
    store = open_store(tmp_path / "watchkey.db")
    for number in range(50):
        store.append_and_block(allow(number))
    result = run("verify", "--db", tmp_path / "watchkey.db", "--key", PUBLIC)
    store.close()
    assert result.exit_code == 0
    assert "not signed yet" in result.stdout


# Proofs


def test_a_proof_is_checked_without_the_log(database: Path, tmp_path: Path) -> None:
    proof = run("prove", "1", "--db", database)
    assert proof.exit_code == 0
    assert proof.stderr == ""
    (tmp_path / "1.tlog-proof").write_text(proof.stdout, encoding="utf-8")
    database.unlink()
    result = run("verify-proof", tmp_path / "1.tlog-proof", "--key", PUBLIC)
    assert result.exit_code == 0
    assert result.stdout.startswith("ok  entry 1 of example.com/audit\n2026-11-25 03:04:05Z")
    answer = json.loads(run("verify-proof", tmp_path / "1.tlog-proof", "--key", PUBLIC, "--json").stdout)
    assert (answer["verdict"], answer["seq"], answer["entry"]["subject"]) == ("ok", 1, "bob@example.com")


def test_a_wrong_proof_is_tampering(database: Path, tmp_path: Path) -> None:
    text = run("prove", "1", "--db", database).stdout
    for wrong in (text.replace("index 1", "index 2"), text[:-5], "", "nonsense"):
        (tmp_path / "wrong").write_text(wrong, encoding="utf-8")
        assert run("verify-proof", tmp_path / "wrong", "--key", PUBLIC).exit_code == 2
    assert run("verify-proof", tmp_path / "wrong", "--key", STRANGER).exit_code == 2


def test_an_entry_that_is_not_there_has_no_proof(database: Path) -> None:
    result = run("prove", "99", "--db", database)
    assert "there is no entry 99" in str(result.exception)


# Export


def exported(database: Path, tmp_path: Path) -> Path:
    file = tmp_path / "audit.jsonl"
    result = run("export", "--db", database, "-o", file)
    assert (result.exit_code, result.stderr) == (0, f"{N} entries and their checkpoint\n")
    return file


def test_an_export_is_json_lines_that_verify(database: Path, tmp_path: Path) -> None:
    file = exported(database, tmp_path)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line.get("seq") for line in lines] == [*range(N), None]
    assert lines[-1]["checkpoint"].startswith(f"example.com/audit\n{N}\n")
    assert run("verify", "--export", file, "--key", PUBLIC).exit_code == 0
    assert run("export", "--db", database).stdout == file.read_text(encoding="utf-8")


def lines_changed(file: Path, change: str) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    match change:
        case "changed":
            lines[1] = lines[1].replace(b"bob", b"eve")
        case "removed":
            del lines[3]
        case "swapped":
            lines[3], lines[4] = lines[4], lines[3]
        case "inserted":
            lines.insert(3, lines[3])
        case "cut":
            del lines[N - 2 : N]
        case "appended":
            lines.insert(N, lines[N - 1].replace(b'"seq":%d' % (N - 1), b'"seq":%d' % N))
        case "no checkpoint":
            del lines[N]
        case "another checkpoint":
            lines[N] = lines[N].replace(b"\\n%d\\n" % N, b"\\n%d\\n" % (N - 1))
        case "nonsense":
            lines[3] = b"nonsense\n"
        case "empty line":
            lines.insert(3, b"\n")
        case "empty":
            lines = []
    file.write_bytes(b"".join(lines))


CHANGES = {
    "changed": 2,
    "removed": 4,
    "swapped": 2,
    "inserted": 2,
    "cut": 3,
    "appended": 2,
    "no checkpoint": 2,
    "another checkpoint": 2,
    "nonsense": 2,
    "empty line": 2,
    "empty": 2,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_export_is_found(database: Path, tmp_path: Path, change: str) -> None:
    file = exported(database, tmp_path)
    lines_changed(file, change)
    assert run("verify", "--export", file, "--key", PUBLIC).exit_code == CHANGES[change]


# Tail


def test_tail_shows_one_line_for_each_entry(database: Path) -> None:
    lines = run("tail", "--db", database, "-n", "3").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"2026-11-25 03:04:05Z {N - 3:>8}  service_started  version=")
    first = run("tail", "--db", database).stdout.splitlines()[0]
    assert first == (
        "2026-11-25 03:04:05Z        0  ALLOW  alice@example.com write orders-db  until 03:34Z  "
        "on_call: alice holds the pager of orders, level 1, until 04:04 UTC"
    )


def test_tail_for_programs_is_the_entries_as_they_are_stored(database: Path) -> None:
    lines = run("tail", "--db", database, "-n", "2", "--json").stdout.splitlines()
    assert [line.encode() for line in lines] == [body_of(database, N - 2), body_of(database, N - 1)]


def test_a_name_with_an_escape_sequence_does_not_move_the_cursor(tmp_path: Path) -> None:
    store = open_store(tmp_path / "watchkey.db")
    request = replace(DENY.request, subject=Subject(id=SubjectId("eve\x1b[2J\u202e")))
    store.append_and_block(DecisionMade(decision=replace(DENY, request=request)))
    store.close()
    line = run("tail", "--db", tmp_path / "watchkey.db").stdout
    assert "\x1b" not in line
    assert "\u202e" not in line


@pytest.mark.parametrize("fields", [{}, {"kind": "decision"}, {"kind": "noted", "fields": 3}, {"seq": None, "at": 7}])
def test_an_entry_that_lacks_something_is_still_shown(fields: dict[str, Any]) -> None:
    assert entry_line(fields)


def test_tail_follows(database: Path) -> None:
    command = [sys.executable, "-c", "from watchkey.entrypoints.cli.audit import audit; audit()"]
    with subprocess.Popen(
        [*command, "tail", "-n", "1", "-f", "--json", "--db", str(database)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == N - 1
        store = open_store(database)
        store.append_and_block(allow(9))
        assert json.loads(process.stdout.readline())["sentence"] == "allow 9"
        store.append_and_block(allow(10))
        assert json.loads(process.stdout.readline())["sentence"] == "allow 10"
        store.close()
        process.terminate()


# Going on after a loss


def test_a_rollback_is_accepted_only_after_asking(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "old")
    store = open_store(database)
    store.append_and_block(allow())
    store.close()
    (tmp_path / "audit.key").write_text(KEY.reveal(), encoding="utf-8")
    (tmp_path / "audit.key").chmod(0o600)
    config = tmp_path / "watchkey.yaml"
    config.write_text("version: 1\n", encoding="utf-8")

    def accept(answer: str) -> Result:
        return CliRunner().invoke(watchkey, ["--config", str(config), "audit", "accept-rollback"], input=answer)

    unneeded = accept("")
    assert "nothing to accept" in unneeded.stdout, unneeded.exception
    shutil.copy(tmp_path / "old", database)
    refused = accept("n\n")
    assert refused.exit_code == 1
    assert f"Missing: entry {N}" in refused.stderr
    assert run("verify", "--db", database, "--key", PUBLIC).exit_code == 3
    accepted = accept("y\n")
    assert f"the log goes on from entry {N}, which says what is missing" in accepted.stdout
    assert run("verify", "--db", database, "--key", PUBLIC).exit_code == 0
    assert "audit.rollback_accepted" in run("tail", "--db", database, "-n", "1").stdout
