"""Which files make a policy."""

import json
from pathlib import Path

import click
import pytest

from tests.entrypoints.cli.policy_house import run
from tests.entrypoints.cli.test_policy_check import FLOOR
from tests.wiring.configured import configured
from tests.wiring.test_candidates import OWN_CASES
from watchkey.entrypoints.cli.output import Globals
from watchkey.entrypoints.cli.policy_files import PolicyFiles, json_or_yaml, policies_of, shipped
from watchkey.model.errors import Malformed, Refused
from watchkey.rules.bundle import BundleFile, pack, signature_claims, signatures_file
from watchkey.rules.bundle_signature import BundleKey, sign_claims


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


# --- bundles -------------------------------------------------------------------------------------------------------

DECIDES = 'package watchkey\ndecision := {"allow": data.orders.level == 2, "ttl": 60}\n'


def bundle(folder: Path, *, is_signed: bool = False, **files: str) -> Path:
    texts = {"watchkey/p.rego": DECIDES, "orders/data.json": '{"level": 2}', **files}
    listed = [BundleFile(name=name, body=text.encode()) for name, text in texts.items()]
    if is_signed:
        key = BundleKey(id="k", algorithm="HS256", material="x" * 40)
        listed.append(signatures_file(sign_claims(signature_claims(listed), key)))
    (folder / "b.tar.gz").write_bytes(pack(listed))
    return folder / "b.tar.gz"


def test_a_bundle_is_checked_tested_and_asked_like_files(tmp_path: Path) -> None:
    tested = "package own_test\nimport data.watchkey\ntest_level if watchkey.decision.allow\n"
    path = bundle(tmp_path, **{"own_test.rego": tested})
    assert run("check", path).stdout == "fine: 2 files\n"
    passed = run("test", path)
    assert (passed.exit_code, passed.stdout) == (0, "fine: 1 passed\n")
    assert run("eval", "data.watchkey.decision.allow", path).stdout == "true\n"
    assert json.loads(run("eval", "data.orders", path).stdout) == {"level": 2}
    assert run("explain", "data.watchkey.decision", path).exit_code == 0
    assert run("coverage", path).exit_code == 0


def test_a_package_that_the_bundle_does_not_own_is_found(tmp_path: Path) -> None:
    result = run("check", bundle(tmp_path, **{".manifest": '{"roots": ["orders"]}'}))
    assert isinstance(result.exception, Malformed)
    assert "package watchkey is outside the roots" in str(result.exception)


def test_a_trap_in_a_bundle_is_named_by_its_place_in_it(tmp_path: Path) -> None:
    result = run("check", bundle(tmp_path, **{"watchkey/p.rego": FLOOR}))
    assert result.exit_code == 1
    assert "b.tar.gz/watchkey/p.rego:6:2\n" in result.stdout
    assert "level-floor" in result.stdout


def test_cases_beside_a_bundle_are_about_it(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    cases = tmp_path / "cases.yaml"
    cases.write_text(OWN_CASES)
    assert run("test", path, cases).stdout == "fine: 1 passed\n"
    assert run("test", cases).exit_code == 1, "the policy that ships has another ttl"


def test_a_version_of_the_manifest_holds_for_the_commands_too(tmp_path: Path) -> None:
    manifest = {".manifest": '{"rego_version": 0}', "orders/old.rego": "package orders\nallow { true }\n"}
    texts = {"watchkey/p.rego": "package watchkey\nallow { data.orders.allow }\n"}
    path = bundle(tmp_path, **manifest, **texts)
    assert run("eval", "data.watchkey.allow", path).stdout == "true\n"
    assert "v0-syntax" in run("check", path).stdout


def test_a_signature_that_is_not_looked_at_is_said(tmp_path: Path) -> None:
    result = run("eval", "data.orders.level", bundle(tmp_path, is_signed=True))
    assert (result.exit_code, result.stdout) == (0, "2\n")
    assert "its signature is not looked at here" in result.stderr


def test_a_configured_bundle_is_verified_by_every_command(tmp_path: Path) -> None:
    bundle(tmp_path)
    (tmp_path / "key.txt").write_text("x" * 40)
    signed = "\npolicies:\n  own: {bundle: b.tar.gz, verification: {key_file: key.txt, algorithm: HS256}}\n"
    configured(tmp_path, more=signed)
    for words in (("check",), ("test",), ("eval", "true")):
        result = run(*words, config=tmp_path / "watchkey.yaml")
        assert isinstance(result.exception, Refused)
        assert "is not signed" in str(result.exception)
    bundle(tmp_path, is_signed=True)
    assert run("eval", "data.orders.level", config=tmp_path / "watchkey.yaml").stdout == "2\n"


def test_two_bundles_are_two_policies(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    (tmp_path / "c.tgz").write_bytes(path.read_bytes())
    result = run("check", path, tmp_path / "c.tgz")
    assert result.exit_code == 2
    assert "one bundle at a time" in result.stderr


def test_blanks_in_a_bundle_are_not_put_right_in_place(tmp_path: Path) -> None:
    path = bundle(tmp_path, **{"watchkey/q.rego": "package watchkey\n\N{NO-BREAK SPACE}x := 1\n"})
    result = run("check", "--fix-spaces", path)
    assert result.exit_code == 2
    assert "is in a bundle" in " ".join(result.stderr.split())
