"""Bundles that a real OPA built and signed, and how a policy in one starts, changes and is refused."""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import CALLER, request
from tests.fakes.real_opa import needs_opa, opa
from tests.wiring.configured import configured, first_read, kinds
from watchkey import wiring
from watchkey.model.access import Allow, Decision, Reason
from watchkey.model.errors import Malformed, PortError, Refused
from watchkey.rules.bundle import BundleFile, pack, signature_claims, signatures_file
from watchkey.rules.bundle_signature import BundleKey, sign_claims
from watchkey.settings import PolicySettings, Settings, VerificationSettings
from watchkey.wiring import Service, build, open_bundle, policy_config, versions_of

SECRET = "a shared secret of more than 32 bytes, as text"
YES = 'package watchkey\ndecision := {"allow": data.orders.level == 2, "ttl": 60}\n'
NO = YES.replace("== 2", "== 3")


def policy(folder: Path, **more: Any) -> PolicySettings:
    return PolicySettings(
        name="own", files=(), dialect="v1", entrypoint="data.watchkey.decision", parameters={},
        bundle=folder / "own.tar.gz", **more,
    )  # fmt: skip


def write(
    folder: Path, files: dict[str, str], revision: object = None, *, is_signed: bool = True, **manifest: Any
) -> None:
    """A bundle `own.tar.gz` of these files, with a manifest and a signature by SECRET."""
    said = {} if revision is None else {"revision": str(revision)}
    bodies = {**files, ".manifest": json.dumps({**said, "roots": ["watchkey", "orders"], **manifest})}
    listed = [BundleFile(name=name, body=body.encode()) for name, body in bodies.items()]
    if is_signed:
        key = BundleKey(id="k", algorithm="HS256", material=SECRET)
        listed.append(signatures_file(sign_claims(signature_claims(listed), key)))
    (folder / "key.txt").write_text(SECRET + "\n")
    (folder / "next").write_bytes(pack(listed))
    (folder / "next").replace(folder / "own.tar.gz")


DATA = {"orders/data.json": '{"level": 2}'}
BUNDLED = "\npolicies:\n  own: {bundle: own.tar.gz, verification: {key_file: key.txt, algorithm: HS256}}\n"


def bundled(folder: Path) -> Settings:
    return configured(folder, "policy: own", BUNDLED)


# --- what a real OPA builds ----------------------------------------------------------------------------------------


def keys(folder: Path, algorithm: str) -> tuple[Path, Path]:
    """A key pair of that algorithm, as OPA reads it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    private: Any
    if algorithm.startswith("HS"):
        (folder / "key").write_text(SECRET)
        return folder / "key", folder / "key"
    if algorithm.startswith("ES"):
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        private = ec.generate_private_key(curves[algorithm])
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (folder / "key").write_bytes(private.private_bytes(serialization.Encoding.PEM, *form))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "public").write_bytes(public)
    return folder / "key", folder / "public"


ODD = '{"text": "<b> & \\u2028 é \\" \\\\ \\u0001 \\ud83d\\ude00", "n": [1, 1.50, 1e3, -0, 12345678901234567890123]}'


def tree(folder: Path) -> Path:
    source = folder / "source"
    (source / "orders/odd").mkdir(parents=True)
    (source / "default.rego").write_text(YES + "# ü\n", encoding="utf-8")
    (source / "orders/data.json").write_text('{ "level" : 2 }')
    (source / "orders/odd/data.json").write_text(ODD, encoding="utf-8")
    (source / ".manifest").write_text('{"revision": "7", "roots": ["watchkey", "orders"], "metadata": {"a": 1.0}}')
    return source


ALGORITHMS = ["HS256", "HS512", "RS256", "RS512", "PS256", "PS512", "ES256", "ES384", "ES512"]


@needs_opa
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_opa_builds_and_signs_is_verified_and_read(tmp_path: Path, algorithm: str) -> None:
    key, public = keys(tmp_path, algorithm)
    signing = ("--signing-key", key, "--signing-alg", algorithm)
    opa("build", "-b", tree(tmp_path), "-o", tmp_path / "own.tar.gz", *signing)
    bundle = open_bundle(tmp_path / "own.tar.gz", VerificationSettings(key_file=public, algorithm=algorithm))
    assert (bundle.is_signed, bundle.declared) == (True, 7)
    assert bundle.data["orders"]["odd"]["text"] == '<b> & \u2028 é " \\ \x01 😀'
    assert bundle.data["orders"]["odd"]["n"][4] == 12345678901234567890123
    (tmp_path / "other").mkdir()
    _, other = keys(tmp_path / "other", algorithm)
    if algorithm.startswith("HS"):
        other.write_text(SECRET[::-1])
    with pytest.raises(Refused, match=r"own\.tar\.gz: the signature of the bundle is not genuine"):
        open_bundle(tmp_path / "own.tar.gz", VerificationSettings(key_file=other, algorithm=algorithm))


@needs_opa
def test_a_tree_that_opa_signed_and_tar_packed_is_read_with_its_yaml_and_its_scope(tmp_path: Path) -> None:
    source = tree(tmp_path)
    (source / "orders/more").mkdir()
    (source / "orders/more/data.yaml").write_text("a: 1.50\nb: [on, 18:00, 1e21, ~]\n")
    (source / "README.md").write_text("for people")
    key, public = keys(tmp_path, "RS256")
    (tmp_path / "claims.json").write_text('{"scope": "write", "keyid": "release"}')
    signing = ("--signing-key", key, "--signing-alg", "RS256", "--claims-file", tmp_path / "claims.json")
    run = ["opa", "sign", *signing, "--bundle", "."]
    subprocess.run(run, cwd=source, check=True, capture_output=True)
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    subprocess.run(["tar", "czf", tmp_path / "own.tar.gz", *names], cwd=source, check=True)
    settings = VerificationSettings(key_file=public, algorithm="RS256", scope="write")
    bundle = open_bundle(tmp_path / "own.tar.gz", settings)
    assert bundle.data["orders"]["more"] == {"a": 1.5, "b": ["on", "18:00", 1e21, None]}
    with pytest.raises(Refused, match="another scope"):
        open_bundle(tmp_path / "own.tar.gz", VerificationSettings(key_file=public, algorithm="RS256"))
    # `tar -C DIR .` writes `./` before each name, which is the same place.
    subprocess.run(["tar", "czf", tmp_path / "dot.tar.gz", "-C", source, "."], check=True)
    assert open_bundle(tmp_path / "dot.tar.gz", settings).data == bundle.data
    (source / "default.rego").write_text(NO)
    subprocess.run(["tar", "czf", tmp_path / "own.tar.gz", *names], cwd=source, check=True)
    with pytest.raises(Refused, match=r"default\.rego: not what was signed"):
        open_bundle(tmp_path / "own.tar.gz", settings)


@needs_opa
def test_opa_and_we_read_the_same_data_of_one_bundle(tmp_path: Path) -> None:
    opa("build", "-b", tree(tmp_path), "-o", tmp_path / "own.tar.gz")
    answer = json.loads(opa("eval", "-b", tmp_path / "own.tar.gz", "-f", "json", "data.orders"))
    there = answer["result"][0]["expressions"][0]["value"]
    # OPA prints large whole numbers of data as they are written.
    assert open_bundle(tmp_path / "own.tar.gz").data["orders"] == there


@needs_opa
@pytest.mark.parametrize("target", ["wasm", "plan"])
def test_what_opa_compiled_to_something_else_is_refused(tmp_path: Path, target: str) -> None:
    source = tree(tmp_path)
    out = tmp_path / "own.tar.gz"
    run = ["opa", "build", "-t", target, "-e", "watchkey/decision", "-b", str(source), "-o", str(out)]
    if subprocess.run(run, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"this opa builds no {target}")
    with pytest.raises(Malformed, match="compiled policies are not taken"):
        open_bundle(out)


# --- the engine's view ---------------------------------------------------------------------------------------------


def test_the_manifest_says_which_language_each_file_is_in(tmp_path: Path) -> None:
    old = "package orders.%s\nallow { input.x == 1 }"
    files = {"old/a.rego": old % "a", "old/deep/b.rego": old % "b", "new.rego": YES, **DATA}
    write(tmp_path, files, is_signed=False, rego_version=1, file_rego_versions={"/old/*.rego": 0})
    bundle = open_bundle(tmp_path / "own.tar.gz")
    # OPA's pattern has no delimiters here: one star goes through folders.
    assert versions_of(bundle) == {"new.rego": "v1", "old/a.rego": "v0", "old/deep/b.rego": "v0"}
    wiring.policy_engine(policy(tmp_path))
    write(tmp_path, files, is_signed=False, file_rego_versions={"*/a.rego": 0})
    with pytest.raises(Malformed, match=r"own\.tar\.gz/old/deep/b\.rego:2"):
        wiring.policy_engine(policy(tmp_path))
    write(tmp_path, {"new.rego": "package watchkey\nallow { true }"}, is_signed=False, rego_version=0)
    wiring.policy_engine(policy(tmp_path))
    write(tmp_path, files, is_signed=False, file_rego_versions={"[": 0})
    with pytest.raises(Malformed, match="is no pattern"):
        wiring.policy_engine(policy(tmp_path))


def test_a_package_outside_the_roots_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"p.rego": "package watchkeys\n"}, is_signed=False)
    with pytest.raises(
        Malformed, match=r"package watchkeys is outside the roots that \.manifest names: 'watchkey', 'orders'"
    ):
        wiring.policy_engine(policy(tmp_path))


def test_the_hash_tells_the_content_and_the_revision(tmp_path: Path) -> None:
    found = []
    for revision, text in ((7, YES), (7, YES), (8, YES), (7, NO)):
        write(tmp_path, {"p.rego": text, **DATA}, revision, is_signed=False)
        found.append(wiring.policy_engine(policy(tmp_path)).policy_hash)
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("given", [b"", b"\x1f\x8b", b"x" * 40_000_000])
def test_a_file_that_is_no_bundle_is_malformed_by_name(tmp_path: Path, given: bytes) -> None:
    (tmp_path / "own.tar.gz").write_bytes(given)
    with pytest.raises(Malformed, match=r"own\.tar\.gz: "):
        open_bundle(tmp_path / "own.tar.gz")
    with pytest.raises(Malformed, match=r"nothing\.tar\.gz: No such file"):
        open_bundle(tmp_path / "nothing.tar.gz")


def test_a_key_file_that_holds_none_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"p.rego": YES})
    (tmp_path / "key.bin").write_bytes(b"\xff")
    for name in ("key.bin", "none.pem"):
        with pytest.raises(PortError, match=name.replace(".", r"\.")):
            open_bundle(tmp_path / "own.tar.gz", VerificationSettings(key_file=tmp_path / name, algorithm="RS256"))


# --- while the service runs ----------------------------------------------------------------------------------------


async def looked(service: Service) -> None:
    """Ask for a look; come back when something came of it."""
    before = (service.engines["own"].policy_hash, dict(service.policies.problems))
    service.reload_policies()
    for _ in range(500):
        if (service.engines["own"].policy_hash, service.policies.problems) != before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing came of it")


async def alice(service: Service) -> Decision:
    return await service.request_access.decide(request("alice"), CALLER)


def test_a_newer_bundle_is_taken_over_and_an_older_one_is_not(tmp_path: Path) -> None:
    write(tmp_path, {"p.rego": YES, **DATA}, 7)

    async def scenario() -> Sequence[object]:
        async with build(bundled(tmp_path)) as service:
            await first_read(service)
            found: list[object] = [await alice(service)]
            write(tmp_path, {"p.rego": NO, **DATA}, 9)
            await looked(service)
            found.append(await alice(service))
            for revision in (8, "v10"):
                write(tmp_path, {"p.rego": YES, **DATA}, revision)
                await looked(service)
                found.append(service.policies.problems["own"])
            found.append(await alice(service))
            return found

    first, second, *problems, last = asyncio.run(scenario())
    assert isinstance(first, Allow)
    assert [getattr(one, "reason", None) for one in (second, last)] == [Reason.POLICY_DENIED] * 2
    assert problems == [
        "it is its revision 8, older than the running revision 9",
        "it does not say its revision, and the running one is its revision 9",
    ]
    assert [getattr(one, "policy_revision", None) for one in (first, second, last)] == [1, 2, 2]


def test_an_older_bundle_does_not_start_either(tmp_path: Path) -> None:
    async def once() -> None:
        async with build(bundled(tmp_path)):
            pass

    # The same policy under a higher revision counts: who saw 9 does not go back to 8.
    for revision in (7, 9):
        write(tmp_path, {"p.rego": YES, **DATA}, revision)
        asyncio.run(once())
    for revision, why in ((8, "it is its revision 8, older than the running"), (None, "it does not say its revision")):
        write(tmp_path, {"p.rego": YES, **DATA}, revision)
        with pytest.raises(Refused, match=f"policy own: {why}"):
            build(bundled(tmp_path))
    write(tmp_path, {"p.rego": YES, **DATA}, 9)
    asyncio.run(once())


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_bundle_that_is_not_genuine_neither_starts_nor_replaces_one_that_is(
    tmp_path: Path, *, is_signed: bool
) -> None:
    write(tmp_path, {"p.rego": YES, **DATA}, 7)

    def forge() -> None:
        write(tmp_path, {"p.rego": NO, **DATA}, 8, is_signed=is_signed)
        if is_signed:
            (tmp_path / "key.txt").write_text(SECRET[::-1])

    async def scenario() -> tuple[str, Decision]:
        async with build(bundled(tmp_path)) as service:
            await first_read(service)
            forge()
            await looked(service)
            return service.policies.problems["own"], await alice(service)

    problem, decision = asyncio.run(scenario())
    assert ("not genuine" if is_signed else "is not signed") in problem
    assert isinstance(decision, Allow)
    assert any("policy.kept" in entry for entry in kinds(tmp_path / "watchkey.db"))
    with pytest.raises(Refused, match=r"signed|genuine"):
        build(bundled(tmp_path))


def test_how_errors_count_reaches_the_engine(tmp_path: Path) -> None:
    write(tmp_path, {"own.rego": YES}, is_signed=False)
    assert policy_config(policy(tmp_path)).strict_errors
    assert not policy_config(policy(tmp_path, is_strict=False)).strict_errors
