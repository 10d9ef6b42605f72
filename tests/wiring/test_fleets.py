"""Fleets as they are put together: policies that fit into a bundle, keys that fit, decisions known after a restart."""

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.rules.test_opa_reports import event
from tests.wiring.configured import configured, first_read
from watchkey.engines import rego
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import CallerId
from watchkey.rules.bundle import SIGNATURES, BundleFile, check_files, read_signatures
from watchkey.rules.bundle_signature import BundleKey, public_pem, verify_token
from watchkey.rules.opa_reports import read_decisions
from watchkey.wiring import build
from watchkey.wiring.fleets import bundle_key, fleet_policy, reported_decisions, signer_of
from watchkey.wiring.policies import policy_config

HASH = "sha256:" + "ab" * 32
FLEET = f"callers: {{opa: {{token_hashes: ['{HASH}']}}}}\nfleets:\n  prod: {{callers: [opa]}}\n"
SIGNED = FLEET.replace("[opa]", "[opa], signing: {key_file: bundle.key, scope: s}")


def write_key(folder: Path, curve: ec.EllipticCurve | None = None) -> None:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "bundle.key").write_bytes(pem)


def files_of(archive: bytes) -> list[BundleFile]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = [(one.name, tar.extractfile(one)) for one in tar.getmembers()]
        return [BundleFile(name=name, body=file.read()) for name, file in members if file is not None]


def test_a_service_publishes_a_signed_bundle_and_keeps_it_current(tmp_path: Path) -> None:
    write_key(tmp_path)
    settings = configured(tmp_path, more=SIGNED)

    async def scenario() -> tuple[bytes, str]:
        async with build(settings) as service:
            await first_read(service)
            publisher = service.fleets.publishers["prod"]
            handout = await publisher.pull([], wait=10.0)
            (tmp_path / "roster.yaml").write_text(
                (tmp_path / "roster.yaml").read_text().replace("participants: [alice]", "participants: [bob]")
            )
            changed = await publisher.pull([handout.etag], wait=10.0, takes_deltas=True)
            assert changed.kind == "snapshot", "signed bundles have no deltas unless the file says so"
            return handout.body, changed.etag

    body, etag = asyncio.run(scenario())
    assert etag.startswith('"2-')
    files = files_of(body)
    key = bundle_key(settings.fleets["prod"])
    assert key is not None
    public = BundleKey(id="watchkey", algorithm="ES256", material=public_pem(key))
    token = read_signatures(next(file.body for file in files if file.name == SIGNATURES))
    check_files(verify_token(token, {"watchkey": public}), files, scope="s")


def test_revisions_go_on_and_decisions_are_known_after_a_restart(tmp_path: Path) -> None:
    reports = read_decisions(json.dumps([event()]).encode())

    async def once() -> tuple[int, tuple[int, int]]:
        async with build(configured(tmp_path, more=FLEET)) as service:
            await first_read(service)
            await service.fleets.publishers["prod"].pull([], wait=10.0)
            bundle = service.fleets.publishers["prod"].current
            taken = await service.fleets.decisions.take("prod", CallerId("opa"), reports)
            assert bundle is not None
            return bundle.revision, (taken.new, taken.known)

    first, second = asyncio.run(once()), asyncio.run(once())
    assert first == (1, (1, 0))
    assert second[0] > 1
    assert second[1] == (0, 1)
    assert list(reported_decisions(tmp_path / "watchkey.db")) == [("prod", "d1")]


def test_without_fleets_there_is_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with build(configured(tmp_path)) as service:
            assert service.fleets.publishers == {}

    asyncio.run(scenario())


def test_a_key_that_does_not_fit_is_refused_at_the_start(tmp_path: Path) -> None:
    write_key(tmp_path, ec.SECP384R1())
    with pytest.raises(Refused, match="not one for ES256"):
        build(configured(tmp_path, more=SIGNED))
    (tmp_path / "bundle.key").write_bytes(b"\xff")
    with pytest.raises(Refused, match="not text"):
        build(configured(tmp_path, more=SIGNED))


def test_a_shared_secret_is_the_text_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "bundle.key").write_text("a secret of more than thirty-two bytes\n")
    more = SIGNED.replace("scope: s", "algorithm: HS256")
    fleet = configured(tmp_path, more=more).fleets["prod"]
    key = bundle_key(fleet)
    assert key is not None
    assert key.material == "a secret of more than thirty-two bytes"
    assert signer_of(fleet) is not None


# -- policies


def policy(text: str, **changes: Any) -> rego.Config:
    return rego.Config(modules={"own.rego": text}, **changes)


def test_the_shipped_policy_fits() -> None:
    made = fleet_policy(policy_config(None), "h")
    assert sorted(made.modules) == ["policy/0-default.rego", "watchkey/access.rego", "watchkey/verdict.rego"]
    assert made.roots == ("watchkey",)


def test_another_entry_point_and_parameters_are_taken_along() -> None:
    config = policy(
        'package own\n\nallowed := {"allow": data.policyparams.open}\n', entrypoint="data.own.allowed",
        parameters={"open": True}, data={"limits": {"a": 1}},
    )  # fmt: skip
    made = fleet_policy(config, "h")
    assert "data.own.allowed with input as document" in made.modules["watchkey/verdict.rego"]
    assert made.roots == ("limits", "own", "policyparams", "watchkey")
    assert made.data == {"limits": {"a": 1}, "policyparams": {"open": True}}


def test_a_policy_in_the_old_dialect_says_so() -> None:
    made = fleet_policy(policy('package watchkey\n\ndecision = {"allow": true} { true }\n', dialect="v0"), "h")
    assert made.rego_versions == {"policy/0-own.rego": 0}


def test_files_of_one_policy_may_differ_in_their_dialect() -> None:
    modules = {
        "a.rego": 'package watchkey\n\ndecision = {"allow": data.b.x} { true }\n',
        "b.rego": "package b\n\nx if 1 == 1\n",
    }
    made = fleet_policy(rego.Config(modules=modules, versions={"a.rego": "v0"}), "h")
    assert made.rego_versions == {"policy/0-a.rego": 0}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (policy("package watchkey.access\n\nallow := true\n"), "belongs to the bundle"),
        (policy("package watchkey.access.more\n\nx := true\n"), "belongs to the bundle"),
        (policy("package watchkey\n\naccess.allow := true\n"), "belongs to the bundle"),
        (policy('package watchkey\n\nlinks[x] := {} if some x in ["eve"]\n'), "belongs to the bundle"),
        (policy("package watchkey\n\ndecision := data.watchkey.access.decision\n"), "does not fit"),
        (policy('package watchkey\n\ndecision := http.send({"url": "x", "method": "get"})\n'), "does not fit"),
        (policy("package watchkey\n\ndecision := true\n", data={"watchkey": {}}), "own data has 'watchkey'"),
    ],
    ids=[
        "in our package",
        "below our package",
        "into our package",
        "in place of our data",
        "a circle",
        "asks the network",
        "data in our place",
    ],
)
def test_a_policy_that_does_not_fit_is_malformed(config: rego.Config, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        fleet_policy(config, "h")
