"""`watchkey bundle`: keys, files and what an OPA is told."""

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watchkey.entrypoints.cli.main import watchkey
from watchkey.model.errors import Refused, Unavailable
from watchkey.rules.bundle import SIGNATURES, BundleFile, check_files, read_manifest, read_signatures
from watchkey.rules.bundle_signature import BundleKey, verify_token

FLEET = """
fleets:
  prod: {callers: [local], signing: {key_file: bundle.key, scope: write}}
"""


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(directory / "watchkey.yaml"), "bundle", *words])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    assert CliRunner().invoke(watchkey, ["init", str(tmp_path)]).exit_code == 0
    assert run(tmp_path, "key", str(tmp_path / "bundle.key")).exit_code == 0
    with (tmp_path / "watchkey.yaml").open("a") as file:
        file.write(FLEET)
    return tmp_path


def test_a_key_is_for_its_owner_and_never_overwritten(directory: Path) -> None:
    key = directory / "bundle.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_text()
    again = run(directory, "key", str(key))
    assert isinstance(again.exception, Refused)
    assert key.read_text() == before


def test_a_bundle_in_a_file_verifies_with_what_the_opas_are_told(directory: Path) -> None:
    file = directory / "b.tar.gz"
    made = run(directory, "build", "prod", "-o", str(file), "--revision", "7", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["revision"] == 7
    told = run(directory, "opa-config", "--url", "https://watchkey:8181")
    assert told.exit_code == 0, told.output
    configuration = json.loads(told.output)
    assert configuration["services"]["watchkey"] == {
        "url": "https://watchkey:8181",
        "credentials": {"bearer": {"token": "${WATCHKEY_TOKEN}"}},
    }
    source = configuration["bundles"]["prod"]
    assert source["resource"] == "bundles/prod"
    assert source["signing"] == {"scope": "write"}
    assert source["polling"]["long_polling_timeout_seconds"] > 0
    key = configuration["keys"]["watchkey"]
    assert "PRIVATE" not in told.output
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes()), mode="r:gz") as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files
    public = BundleKey(id="watchkey", algorithm=key["algorithm"], material=key["key"])
    claims = verify_token(read_signatures(members[SIGNATURES]), {"watchkey": public})
    check_files(claims, [BundleFile(name=name, body=body) for name, body in members.items()], scope="write")
    assert read_manifest(members[".manifest"]).revision == "7"


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "EdDSA", "RS256", "PS512", "HS384"])
def test_every_algorithm_has_its_key(directory: Path, algorithm: str) -> None:
    file = directory / "other.key"
    assert run(directory, "key", "--algorithm", algorithm, str(file)).exit_code == 0
    text = (directory / "watchkey.yaml").read_text()
    text = text.replace("key_file: bundle.key", f"key_file: other.key, algorithm: {algorithm}")
    (directory / "watchkey.yaml").write_text(text)
    made = run(directory, "build", "-o", str(directory / "b.tar.gz"))
    assert made.exit_code == 0, made.output
    told = json.loads(run(directory, "opa-config", "--url", "http://x").output)["keys"]["watchkey"]
    assert told["algorithm"] == algorithm
    is_shared = algorithm.startswith("HS")
    assert (told["key"] == "${WATCHKEY_BUNDLE_SECRET}") is is_shared
    assert file.read_text().strip() not in told["key"]


def test_deltas_beside_signatures_must_be_allowed_at_the_opa(directory: Path) -> None:
    text = (
        (directory / "watchkey.yaml")
        .read_text()
        .replace("callers: [local], sig", "callers: [local], deltas: true, sig")
    )
    (directory / "watchkey.yaml").write_text(text)
    told = json.loads(run(directory, "opa-config", "--url", "http://x").output)
    assert told["bundles"]["prod"]["signing"]["allow_unsigned_delta_bundles"] is True


def test_without_a_key_nothing_is_said_of_signatures(directory: Path) -> None:
    text = (directory / "watchkey.yaml").read_text().replace(", signing: {key_file: bundle.key, scope: write}", "")
    (directory / "watchkey.yaml").write_text(text)
    told = json.loads(run(directory, "opa-config", "--url", "http://x").output)
    assert "keys" not in told
    assert "signing" not in told["bundles"]["prod"]


def test_there_is_no_bundle_without_a_roster(directory: Path) -> None:
    (directory / "roster.yaml").unlink()
    made = run(directory, "build", "-o", str(directory / "b.tar.gz"))
    assert isinstance(made.exception, Unavailable)
    assert not (directory / "b.tar.gz").exists()


def test_an_unknown_fleet_is_a_misuse(directory: Path) -> None:
    asked = run(directory, "build", "test")
    assert asked.exit_code == 2
    assert "there is no fleet 'test'; there is prod" in asked.output
    text = (directory / "watchkey.yaml").read_text().replace(FLEET, "")
    (directory / "watchkey.yaml").write_text(text)
    assert "which fleet? there is none" in run(directory, "build").output
