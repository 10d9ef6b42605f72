"""Which files make a policy."""

from pathlib import Path

import click
import pytest

from tests.entrypoints.cli.policy_house import run
from tests.wiring.configured import configured
from watchkey.entrypoints.cli.output import Globals
from watchkey.entrypoints.cli.policy_files import PolicyFiles, json_or_yaml, policies_of, shipped


def of(*files: Path, dialect: str | None = None) -> PolicyFiles:
    (policy,) = policies_of(Globals(), files, dialect)
    return policy


def test_a_folder_gives_modules_data_and_cases(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a/p.rego").write_text("package a")
    (tmp_path / "a/data.json").write_text('{"x": 12345678901234567890123}')
    (tmp_path / "a/other.json").write_text("{}")
    (tmp_path / "c.yaml").write_text("resources: {}\ncases: []\npolicy: {files: [theirs.rego]}\n")
    (tmp_path / "theirs.rego").write_text("package theirs")
    (tmp_path / ".git/q.rego").write_text("package q")
    (tmp_path / "note.txt").write_text("")
    policy = of(tmp_path)
    assert list(policy.modules) == [str(tmp_path / "a/p.rego")]
    assert policy.data() == {"a": {"x": 12345678901234567890123}}
    assert policy.cases == (tmp_path / "c.yaml",)


def test_a_named_file_is_taken_even_if_cases_bring_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("resources: {}\ncases: []\npolicy: {files: [theirs.rego]}\n")
    (tmp_path / "theirs.rego").write_text("package theirs")
    assert list(of(tmp_path / "c.yaml", tmp_path / "theirs.rego").modules) == [str(tmp_path / "theirs.rego")]


def test_data_files_are_joined_and_must_not_clash(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": {"a": 1}}')
    (tmp_path / "b.yaml").write_text("x: {b: 2}")
    assert of(tmp_path / "a.json", tmp_path / "b.yaml").data() == {"x": {"a": 1, "b": 2}}
    (tmp_path / "b.yaml").write_text("x: {a: 2}")
    with pytest.raises(click.UsageError, match="'a' stands in another data file"):
        of(tmp_path / "a.json", tmp_path / "b.yaml").data()
    (tmp_path / "b.yaml").write_text("[1]")
    with pytest.raises(click.UsageError, match="holds an object"):
        of(tmp_path / "b.yaml").data()


def test_what_is_no_policy_file_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(click.UsageError, match=r"not a \.rego"):
        of(tmp_path / "x.txt")
    (tmp_path / "x.rego").write_bytes(b"package \xff")
    with pytest.raises(click.UsageError, match="not UTF-8 at byte 8"):
        of(tmp_path / "x.rego")


def test_the_dialect_gives_the_entry_point(tmp_path: Path) -> None:
    (tmp_path / "x.rego").write_text("package x")
    assert of(tmp_path / "x.rego", dialect="cyral").entrypoint == "data.cyral.authz_policy.decision"
    assert of(tmp_path / "x.rego").entrypoint == shipped().entrypoint == "data.watchkey.decision"


def test_json_and_yaml() -> None:
    assert json_or_yaml('{"a": 1782907200000000000}', "x") == {"a": 1782907200000000000}
    assert json_or_yaml("a: on", "x") == {"a": "on"}


ELSEWHERE = "policy fleet is in the OPA at http://127.0.0.1:1, and its text is not here"


def test_a_policy_elsewhere_is_passed_over_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.rego").write_text("package watchkey")
    own = "  own: {files: [own.rego]}\n"
    configured(tmp_path, more=f"\npolicies:\n{own}  fleet: {{engine: opa, url: 'http://127.0.0.1:1'}}\n")
    globals_ = Globals(config=tmp_path / "watchkey.yaml")
    assert [one.name for one in policies_of(globals_, (), None)] == ["own"]
    assert ELSEWHERE in capsys.readouterr().err


@pytest.mark.parametrize("words", [("check",), ("test",), ("coverage",), ("eval", "true"), ("explain", "data.a")])
def test_where_all_policies_are_elsewhere_there_is_nothing_to_do_here(tmp_path: Path, words: tuple[str, ...]) -> None:
    configured(tmp_path, more="\npolicies:\n  fleet: {engine: opa, url: 'http://127.0.0.1:1', token: {env: NOT_SET}}\n")
    result = run(*words, config=tmp_path / "watchkey.yaml")
    assert result.exit_code == 2
    assert ELSEWHERE in " ".join(result.stderr.split())


@pytest.mark.parametrize("pair", [("default", "fleet"), ("fleet", "default")])
def test_decisions_are_not_made_again_elsewhere(tmp_path: Path, pair: tuple[str, str]) -> None:
    configured(tmp_path, more="\npolicies:\n  fleet: {engine: opa, url: 'http://127.0.0.1:1'}\n")
    result = run("diff", *pair, config=tmp_path / "watchkey.yaml")
    assert result.exit_code == 2
    assert ELSEWHERE in " ".join(result.stderr.split())
