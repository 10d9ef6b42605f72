"""`watchkey init`: what it writes works at once, and it takes nothing away from anybody."""

import hashlib
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watchkey.entrypoints.cli.main import watchkey
from watchkey.model.ids import CallerId
from watchkey.rules.checkpoint import parse_signing_key
from watchkey.rules.located import load
from watchkey.settings import load_settings
from watchkey.settings.against import check_files
from watchkey.wiring import source_configs

FILES = ["watchkey.yaml", "roster.yaml", "watchkey.schema.json", "audit.key", ".gitignore"]


def run(*words: str) -> Result:
    return CliRunner().invoke(watchkey, ["init", *words], prog_name="watchkey")


def test_it_writes_files_that_work_at_once(tmp_path: Path) -> None:
    result = run(str(tmp_path / "new"), "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert answer["written"] == FILES
    directory = tmp_path / "new"
    assert sorted(one.name for one in directory.iterdir()) == sorted(FILES)
    settings = load_settings(directory / "watchkey.yaml", environ={}, source_configs=source_configs())
    assert set(settings.resources) == {"orders-db", "dashboards"}
    assert check_files(settings) == ()


def test_the_token_is_shown_once_and_stored_hashed(tmp_path: Path) -> None:
    token = json.loads(run(str(tmp_path), "--json").output)["token"]
    settings = load_settings(tmp_path / "watchkey.yaml", environ={})
    hashed = "sha256:" + hashlib.sha256(token.encode()).hexdigest()
    assert settings.callers[CallerId("local")].token_hashes == (hashed,)
    for file in tmp_path.iterdir():
        assert token not in file.read_text(encoding="utf-8")


def test_two_runs_make_two_tokens_and_keys(tmp_path: Path) -> None:
    tokens = {json.loads(run(str(tmp_path / name), "--json").output)["token"] for name in "ab"}
    keys = {(tmp_path / name / "audit.key").read_text() for name in "ab"}
    assert len(tokens) == len(keys) == 2


def test_the_audit_key_is_its_owners_alone_and_kept_out_of_git(tmp_path: Path) -> None:
    run(str(tmp_path / "Größe 1"))
    key = tmp_path / "Größe 1" / "audit.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert parse_signing_key(key.read_text()).name == "watchkey/Gr--e-1"
    assert "audit.key" in (tmp_path / "Größe 1" / ".gitignore").read_text().splitlines()


def test_it_overwrites_nothing_unless_forced_and_the_key_never(tmp_path: Path) -> None:
    run(str(tmp_path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    refused = run(str(tmp_path))
    assert refused.exit_code == 2
    assert "--force overwrites" in refused.output
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / ".gitignore").write_text("mine\n")
    forced = json.loads(run(str(tmp_path), "--force", "--json").output)
    assert forced["kept"] == ["audit.key", ".gitignore"]
    assert (tmp_path / "audit.key").read_bytes() == before["audit.key"]
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert (tmp_path / "watchkey.yaml").read_bytes() != before["watchkey.yaml"]  # another token


def test_one_file_in_the_way_is_enough_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "roster.yaml").write_text("people: {}\n")
    result = run(str(tmp_path))
    assert result.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["roster.yaml"]


def test_the_next_steps_are_said(tmp_path: Path) -> None:
    output = run(str(tmp_path / "x")).output
    assert f"cd {tmp_path / 'x'} && watchkey config check" in output
    assert "watchkey check alice write orders-db" in output
    assert "shown this once" in output


def test_the_editor_finds_the_schema_beside_the_file(tmp_path: Path) -> None:
    run(str(tmp_path))
    first = (tmp_path / "watchkey.yaml").read_text().splitlines()[0]
    named = first.partition("$schema=")[2]
    schema = json.loads((tmp_path / named).read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema).validate(load((tmp_path / "watchkey.yaml").read_text(), "w").data)


def test_what_is_commented_out_works_when_it_is_not(tmp_path: Path) -> None:
    """A comment that shows a form nobody may write would be worse than none."""
    run(str(tmp_path))
    lines = (tmp_path / "watchkey.yaml").read_text().splitlines()
    shown = ["# policies:", "#   office-hours:", "#     files: [policies/office_hours.rego]"]
    shown += ["#     dialect: v1 # or v0, or cyral", "#     parameters: {opens_at: 8}"]
    shown += ["  # pagerduty:", "  #   kind: pagerduty", "  #   token: {env: PAGERDUTY_TOKEN} # a read-only key"]
    assert set(shown) <= set(lines)
    text = "\n".join(line.replace("# ", "", 1) if line in shown else line for line in lines)
    (tmp_path / "watchkey.yaml").write_text(text)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "office_hours.rego").touch()
    settings = load_settings(
        tmp_path / "watchkey.yaml", environ={"PAGERDUTY_TOKEN": "t"}, source_configs=source_configs()
    )
    assert set(settings.sources) == {"local", "pagerduty"}
    assert set(settings.policies) == {"office-hours"}
