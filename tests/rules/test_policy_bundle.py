"""A policy out of a bundle: all of it signed or nothing, data where OPA puts it, nothing that only OPA could run."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.rules.test_fleet_bundle import made as fleet_bundle
from watchkey.model.errors import Malformed, PortError, Refused
from watchkey.rules.bundle import BundleFile, pack, signature_claims, signatures_file
from watchkey.rules.bundle_signature import BundleKey, sign_claims
from watchkey.rules.policy_bundle import PolicyBundle, Verification, owned, prefix_of, read_policy_bundle

SECRET = "a shared secret of more than 32 bytes, as text"
KEY = BundleKey(id="release", algorithm="HS256", material=SECRET)
VERIFIED = Verification(algorithm="HS256", key=SECRET)
MANIFEST = {"revision": "7", "roots": ["watchkey", "orders"]}
FILES: Mapping[str, bytes] = {
    ".manifest": json.dumps(MANIFEST).encode(),
    "p.rego": b"package watchkey\n",
    "orders/data.json": b'{"level": 2}',
    "orders/teams/data.yaml": b"red: [ann]\n",
    "README.md": b"for people",
}


def archive(files: Mapping[str, bytes] = FILES, **more: bytes) -> bytes:
    return pack([BundleFile(name=name, body=body) for name, body in {**files, **more}.items()])


def signed(
    files: Mapping[str, bytes] = FILES,
    *,
    but: tuple[str, ...] = (),
    key: BundleKey = KEY,
    scope: str = "",
    **more: bytes,
) -> bytes:
    """The files with a signature over all of them `but` some; `more` are added afterwards."""
    listed = [BundleFile(name=name, body=body) for name, body in files.items() if name not in but]
    signature = signatures_file(sign_claims(signature_claims(listed, scope=scope), key))
    return archive({**files, signature.name: signature.body, **more})


def read(given: bytes, verification: Verification | None = None) -> PolicyBundle:
    return read_policy_bundle(given, verification)


def refusal(given: bytes, verification: Verification | None = None) -> str:
    with pytest.raises(PortError) as caught:
        read(given, verification)
    return f"{type(caught.value).__name__}: {caught.value}"


# --- what is in it -------------------------------------------------------------------------------------------------


def test_modules_data_and_manifest_are_where_opa_has_them() -> None:
    bundle = read(archive())
    assert bundle.modules == {"p.rego": "package watchkey\n"}
    assert bundle.data == {"orders": {"level": 2, "teams": {"red": ["ann"]}}}
    assert list(bundle.data_texts) == ["orders/data.json", "orders/teams/data.yaml"]
    assert (bundle.manifest.revision, bundle.declared, bundle.is_signed) == ("7", 7, False)


def test_without_a_manifest_it_owns_everything_and_says_no_revision() -> None:
    bundle = read(archive({"data.json": b'{"a": 1}', "a.rego": b"package x"}))
    assert (bundle.manifest.roots, bundle.declared, bundle.data) == (("",), None, {"a": 1})


@pytest.mark.parametrize(
    ("revision", "declared"),
    [
        ("7", 7),
        ("007", 7),
        ("", None),
        ("v7", None),
        ("7.0", None),
        ("-7", None),
        ("٧", None),
        ("9" * 19, None),
        ("7 ", None),
    ],
)
def test_a_revision_counts_when_it_is_a_whole_number(revision: str, declared: int | None) -> None:
    manifest = json.dumps({"revision": revision}).encode()
    assert read(archive({".manifest": manifest})).declared == declared


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("data.json", ()),
        ("a/data.json", ("a",)),
        ("a/b/data.yml", ("a", "b")),
        (".a/data.json", ("a",)),
        ("a.b/data.json", ("a.b",)),
    ],
)
def test_where_a_data_file_stands(name: str, prefix: tuple[str, ...]) -> None:
    assert prefix_of(name) == prefix


def test_data_of_several_files_is_joined_and_must_not_clash() -> None:
    assert read(archive({"data.json": b'{"a": {"x": 1}}', "a/data.json": b'{"y": 2}'})).data == {"a": {"x": 1, "y": 2}}
    assert "'x' stands in another" in refusal(archive({"data.json": b'{"a": {"x": 1}}', "a/data.json": b'{"x": 1}'}))
    assert "'a' stands in another" in refusal(archive({"data.json": b'{"a": 1}', "a/data.json": b'{"x": 1}'}))


def test_numbers_of_any_length_are_kept() -> None:
    assert read(archive({"data.json": b'{"a": %d}' % 10**40})).data == {"a": 10**40}
    assert read(archive({"a/data.json": b"[1]"})).data == {"a": [1]}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"data.json": b"[1]"}, "at the top stands an object"),
        ({"data.json": b"{"}, "data.json: not JSON"),
        ({"data.json": b"a: 1"}, "data.json: not JSON"),
        ({"data.json": b'{"a": NaN}'}, "not JSON"),
        ({"data.json": b'{"a": 1, "a": 2}'}, "a name stands twice"),
        ({"data.json": b"\xff"}, "not UTF-8"),
        ({"data.yaml": b"a: 0123"}, "OPA reads"),
        ({"data.yaml": b""}, "at the top stands an object"),
        ({"data.json": b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}"}, "nested deeper"),
        ({"data.json": b'{"a": ' + b"[" * 200_000}, "not JSON"),
        ({"p.rego": b"package x\n# \xff"}, "p.rego: not UTF-8 at byte 12"),
        # outside its roots
        ({".manifest": b'{"roots": ["a"]}', "data.json": b'{"b": 1}'}, "data/b is outside the roots"),
        ({".manifest": b'{"roots": ["a/b"]}', "data.json": b'{"a": {"c": 1}}'}, "data/a/c is outside the roots"),
        ({".manifest": b'{"roots": ["a/b"]}', "data.json": b'{"a": 1}'}, "data/a is outside the roots"),
        ({".manifest": b'{"roots": []}', "data.json": b'{"a": 1}'}, "data/a is outside the roots"),
        ({".manifest": b'{"roots": ["a", "a/b"]}'}, "overlap"),
        # what only OPA could carry out
        ({"patch.json": b'{"data": []}'}, "delta bundle"),
        ({"a/patch.json": b"{}"}, "delta bundle"),
        ({"policy.wasm": b"x"}, "compiled policies"),
        ({"a/other.wasm": b"x"}, "compiled policies"),
        ({"plan.json": b"{}"}, "compiled policies"),
        ({".manifest": b'{"wasm": [{"entrypoint": "a"}]}'}, "compiled policies"),
        # in another place than where it is looked for
        ({"a/.manifest": b"{}"}, "at the top"),
        ({"x.manifest": b"{}"}, "at the top"),
        ({".manifest.pb": b"{}"}, "at the top"),
        ({"a/.signatures.json": b"{}"}, "at the top"),
    ],
)
def test_what_is_refused(files: Mapping[str, bytes], words: str) -> None:
    said = refusal(archive(files))
    assert said.startswith("Malformed: ")
    assert words in said


def test_data_above_a_root_is_only_the_way_there() -> None:
    files = {".manifest": b'{"roots": ["a/b", "c"]}', "data.json": b'{"a": {"b": {"x": 1}}, "c": 5}'}
    assert read(archive(files)).data == {"a": {"b": {"x": 1}}, "c": 5}
    assert owned(("a/b",), ["a", "b", "c"])
    assert not owned(("a/b",), ["a", "bc"])


# --- the signature -------------------------------------------------------------------------------------------------


def test_a_signed_bundle_is_read_and_known_as_signed() -> None:
    bundle = read(signed(), VERIFIED)
    assert (bundle.is_signed, bundle.modules) == (True, {"p.rego": "package watchkey\n"})


def test_where_a_signature_is_demanded_there_is_no_bundle_without() -> None:
    assert refusal(archive(), VERIFIED) == "Refused: the bundle is not signed, and `verification` demands a signature"


def test_a_signature_that_nobody_can_verify_is_no_bundle_either() -> None:
    assert refusal(signed()).startswith("Refused: the bundle is signed, and there is no key")
    assert read_policy_bundle(signed(), None, is_verified=False).is_signed


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_must_be_what_was_signed(name: str) -> None:
    changed = {**FILES, name: FILES[name].replace(b"e", b"f", 1)}
    assert changed[name] != FILES[name]
    signature = signatures_file(
        sign_claims(signature_claims([BundleFile(name=n, body=b) for n, b in FILES.items()]), KEY)
    )
    assert refusal(archive({**changed, signature.name: signature.body}), VERIFIED).startswith("Refused: ")


def test_no_file_may_be_added_or_taken_away() -> None:
    for name in FILES:
        assert f"{name}: not in the signature" in refusal(signed(but=(name,)), VERIFIED)
        fewer = {one: body for one, body in FILES.items() if one != name}
        everything = signatures_file(
            sign_claims(signature_claims([BundleFile(name=n, body=b) for n, b in FILES.items()]), KEY)
        )
        assert f"not in the bundle: {name}" in refusal(archive({**fewer, everything.name: everything.body}), VERIFIED)
    assert "q.rego: not in the signature" in refusal(signed(**{"q.rego": b"package q"}), VERIFIED)


def test_white_space_in_data_is_no_change_and_in_a_policy_it_is_one() -> None:
    signature = signatures_file(
        sign_claims(signature_claims([BundleFile(name=n, body=b) for n, b in FILES.items()]), KEY)
    )
    spaced = {**FILES, signature.name: signature.body, "orders/data.json": b'{ "level":\n2 }'}
    assert read(archive(spaced), VERIFIED).data["orders"]["level"] == 2
    assert "p.rego: not what was signed" in refusal(archive({**spaced, "p.rego": b"package  watchkey\n"}), VERIFIED)


@pytest.mark.parametrize(
    ("verification", "words"),
    [
        (Verification(algorithm="HS256", key=SECRET + "!"), "not genuine"),
        (Verification(algorithm="HS512", key=SECRET), "another algorithm"),
        (Verification(algorithm="HS256", key=SECRET, scope="write"), "another scope"),
        (Verification(algorithm="HS256", key="short"), "shorter than"),
        (Verification(algorithm="RS256", key="no pem"), "another algorithm"),
    ],
)
def test_another_key_algorithm_or_scope_is_refused(verification: Verification, words: str) -> None:
    said = refusal(signed(), verification)
    assert said.startswith("Refused: ")
    assert words in said
    assert SECRET not in said


def test_the_scope_and_the_keys_name_are_held_against_the_configuration() -> None:
    assert read(signed(scope="write"), Verification(algorithm="HS256", key=SECRET, scope="write")).is_signed
    assert "another scope" in refusal(signed(scope="write"), VERIFIED)
    # One key is configured, so it is the one, whatever the token calls it.
    assert read(signed(), Verification(algorithm="HS256", key=SECRET, key_id="other")).is_signed


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"signatures": []}', b'{"signatures": ["a.b.c", "a.b.c"]}', b"x"])
def test_a_signature_file_that_holds_none_is_refused(body: bytes) -> None:
    with pytest.raises(PortError):
        read(archive({**FILES, ".signatures.json": body}), VERIFIED)


def test_a_file_that_nobody_reads_may_be_left_out_of_the_signature() -> None:
    excluding = Verification(algorithm="HS256", key=SECRET, exclude=("*.md", "docs/*"))
    assert read(signed(but=("README.md",)), excluding).is_signed
    assert read(signed(), excluding).is_signed
    assert read(signed(**{"docs/a.txt": b"x"}), excluding).is_signed
    assert "docs/b/a.txt: not in the signature" in refusal(signed(**{"docs/b/a.txt": b"x"}), excluding)
    # It is only about files that are there: what was signed and is missing is missing.
    without = {name: body for name, body in FILES.items() if name != "README.md"}
    whole = signatures_file(sign_claims(signature_claims([BundleFile(name=n, body=b) for n, b in FILES.items()]), KEY))
    assert "not in the bundle: README.md" in refusal(archive({**without, whole.name: whole.body}), excluding)


@pytest.mark.parametrize("name", [".manifest", "p.rego", "orders/data.json", "orders/teams/data.yaml"])
def test_a_file_that_is_read_is_never_left_out(name: str) -> None:
    excluding = Verification(algorithm="HS256", key=SECRET, exclude=(name,))
    assert "is excluded from the signature, and it is read" in refusal(signed(but=(name,)), excluding)


def test_the_claims_are_read_strictly() -> None:
    def claiming(claims: Mapping[str, Any]) -> bytes:
        token = signatures_file(sign_claims(claims, KEY))
        return archive({"p.rego": b"package p", token.name: token.body})

    good = signature_claims([BundleFile(name="p.rego", body=b"package p")])
    assert read(claiming(good), VERIFIED).is_signed
    for files in (None, {}, [], [*good["files"], *good["files"]], [{**good["files"][0], "algorithm": "MD5"}], [5]):
        with pytest.raises(PortError):
            read(claiming({**good, "files": files}), VERIFIED)


def test_an_error_is_of_the_archive_when_it_is_none() -> None:
    with pytest.raises(Malformed, match="no gzipped tar"):
        read(b"x" * 100)
    with pytest.raises(Refused):
        read(archive({}), VERIFIED)


def test_a_bundle_that_watchkey_made_for_a_fleet_is_read_back() -> None:
    made = fleet_bundle(
        {"shifts": {"P1": [{"starts_ns": 1}]}}, revision=12, sign=lambda claims: sign_claims(claims, KEY)
    )
    bundle = read(made.snapshot, VERIFIED)
    assert (bundle.data, bundle.declared, bundle.is_signed) == (made.document, 12, True)
    assert bundle.modules["policy/0-own.rego"] == "package own\n"
