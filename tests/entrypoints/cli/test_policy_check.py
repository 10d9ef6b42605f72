"""`policy check` and `fmt-check`: exit codes, places, JSON, copies."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.entrypoints.cli.policy_house import CONTRACTS, POLICIES, run
from watchkey.entrypoints.cli.main import watchkey

FLOOR = """package watchkey
decision := {"allow": true, "ttl": input.resource.ttl_max_s, "reasons": ["on_call"]} if {
	some s in input.on_call
	s.provenance == "rota"
	is_number(s.level)
	s.level >= 2
	count(input.responding) == 0
}
"""


def written(folder: Path, text: str, name: str = "p.rego") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_policy_that_ships_is_fine() -> None:
    result = run("check", "--strict", POLICIES / "default.rego", POLICIES / "default_test.rego")
    assert (result.exit_code, result.output) == (0, "fine: 2 files\n")


def test_a_trap_is_shown_with_its_line_and_a_way_out(tmp_path: Path) -> None:
    result = run("check", written(tmp_path, FLOOR))
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[:3] == [f"{tmp_path}/p.rego:6:2", "     s.level >= 2", "     ^"]
    assert lines[3].startswith("  high level-floor: ")
    assert lines[4].startswith("    fix: turn it round into a ceiling")
    assert lines[5] == "found: 1 finding of 1 kind"
    assert run("check", "--ignore", "level-floor", tmp_path).exit_code == 0
    assert run("check", "--ignore", "no-such-trap", tmp_path).exit_code == 2


def test_errors_of_several_files_and_exit_code_2(tmp_path: Path) -> None:
    a = written(tmp_path, "package a\nallow if nonsense\n", "a.rego")
    b = written(tmp_path, "package b\nallow if input.x == 1\nallow if nothing\n", "b.rego")
    result = run("check", a, b)
    assert result.exit_code == 2
    assert f"{a}:2:10: " in result.output
    assert f"{b}:3:10: " in result.output
    answer = json.loads(run("check", "--json", a, b).output)
    assert answer["ok"] is False
    (policy,) = answer["policies"]
    assert [(one["file"], one["line"]) for one in policy["errors"]] == [(str(a), 2), (str(b), 3)]


def test_the_schema_is_held_against_the_input(tmp_path: Path) -> None:
    file = written(tmp_path, "package b\nallow if input.subjcet.id == 1\n")
    assert run("check", file).exit_code == 2
    assert run("check", "--no-schema", file).exit_code == 0


def test_strict_finds_what_is_unused(tmp_path: Path) -> None:
    file = written(
        tmp_path, "package b\nallow if { x := 1; input.privilege == 2 }\nimport data.foo\n".replace("2", '"r"')
    )
    assert run("check", file).exit_code == 0
    assert run("check", "--strict", file).exit_code == 2


@pytest.mark.skipif(not CONTRACTS.exists(), reason="needs ../shared/contracts beside the project")
def test_the_sample_as_published_can_be_normalised(tmp_path: Path) -> None:
    file = written(tmp_path, (CONTRACTS / "cyral-sample-as-published.rego").read_text(), "s.rego")
    result = run("check", "--dialect", "cyral", "--fix-spaces", file)
    assert result.exit_code == 2
    assert f"{file}:5:1: rego_parse_error: 170 blanks are not a plain space" in result.output
    assert f"wrote {tmp_path}/s.normalised.rego" in result.output
    assert run("check", "--dialect", "cyral", tmp_path / "s.normalised.rego").exit_code == 1
    assert file.read_text() == (CONTRACTS / "cyral-sample-as-published.rego").read_text()


def test_a_copy_never_replaces_anything(tmp_path: Path) -> None:
    file = written(tmp_path, "package\u00a0p\n")
    assert run("fmt-check", "--normalise", file).exit_code == 1
    assert (tmp_path / "p.normalised.rego").read_text() == "package p\n"
    assert run("fmt-check", "--normalise", file).exit_code == 1
    written(tmp_path, "mine", "p.normalised.rego")
    result = run("fmt-check", "--normalise", file)
    assert (result.exit_code, (tmp_path / "p.normalised.rego").read_text()) == (2, "mine")


def test_white_space_is_told_with_its_place(tmp_path: Path) -> None:
    file = written(tmp_path, "package p\n\nallow\u00a0if true \n")
    result = run("fmt-check", file)
    assert result.exit_code == 1
    assert f"{file}:3:6" in result.output
    assert "1 not plain spaces" in result.output
    assert {one["rule"] for one in json.loads(run("fmt-check", "--json", file).output)["findings"]} == {
        "odd-spaces",
        "trailing-blanks",
    }
    assert run("fmt-check", POLICIES).exit_code == 0


def test_without_files_the_policies_of_the_configuration_are_checked(tmp_path: Path) -> None:
    assert CliRunner().invoke(watchkey, ["init", str(tmp_path)]).exit_code == 0
    config = tmp_path / "watchkey.yaml"
    assert run("check", config=config).exit_code == 0  # the one that ships
    written(tmp_path, FLOOR, "own.rego")
    config.write_text(config.read_text() + "\npolicies:\n  own: {files: [own.rego]}\n")
    result = run("check", config=config)
    assert (result.exit_code, "level-floor" in result.output) == (1, True)
    assert run("check", "--dialect", "v0", config=config).exit_code == 2


def test_no_terminal_is_driven_by_a_policys_text(tmp_path: Path) -> None:
    file = written(tmp_path, "package p\nallow if nonsense # \x1b[31m\n")
    assert "\x1b" not in run("check", file).output


def test_data_without_a_floor_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "p.rego").write_text("package p\n")
    (tmp_path / "deep.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    result = run("check", tmp_path / "p.rego", tmp_path / "deep.json")
    assert result.exit_code == 2
    assert "nested" in result.output
