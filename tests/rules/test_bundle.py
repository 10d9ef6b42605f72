"""Bundles: the hash that OPA computes, signatures that cover every file, archives that tar can read."""

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.errors import Malformed, Refused
from watchkey.rules.bundle import (
    MANIFEST,
    SIGNATURES,
    BundleFile,
    Manifest,
    check_files,
    file_digest,
    is_structured,
    owns,
    pack,
    read_manifest,
    read_signatures,
    signature_claims,
    signatures_file,
    walked,
)

DATA = BundleFile(name="watchkey/data.json", body=b'{"b": [1, 2.50, 1e3], "a": "x"}')
POLICY = BundleFile(name="p.rego", body=b"package p\n")
FILES = (DATA, POLICY)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def swapped(file: BundleFile, body: bytes) -> BundleFile:
    return BundleFile(name=file.name, body=body)


# -- hashes


def test_a_data_file_is_hashed_by_its_meaning_with_numbers_as_written() -> None:
    spaced = b'{ "a":"x",\n"b" : [1,2.50,1e3] }'
    assert file_digest(DATA.name, DATA.body) == file_digest(DATA.name, spaced)
    assert file_digest(DATA.name, DATA.body) != file_digest(DATA.name, spaced.replace(b"2.50", b"2.5"))


def test_a_policy_is_hashed_by_its_bytes() -> None:
    assert file_digest("p.rego", b"a b") != file_digest("p.rego", b"a  b")


def test_the_text_that_is_hashed_is_that_of_go() -> None:
    value = json.loads(r'{"é": "<&> \u007f\u0001\b\f\"\\", "e": {}, "l": [[], null, true]}')
    assert walked(value).decode() == '{"e":{},"l":[[],null,true],"é":"<&> \x7f\\u0001\\b\\f\\"\\\\"}'


def test_line_separators_are_escaped_as_go_does() -> None:
    assert walked("a\u2028b\u2029") == b'"a\\u2028b\\u2029"'


def test_half_a_surrogate_becomes_the_replacement_character() -> None:
    assert walked(json.loads(r'"\ud800"')) == '"\ufffd"'.encode()


@given(json_values)
def test_the_walk_is_json_of_the_same_meaning(value: object) -> None:
    assert json.loads(walked(value)) == value


@pytest.mark.parametrize("name", ["data.json", "a/b/data.json", "x/data.yaml", ".manifest", "/.manifest"])
def test_which_files_have_meaning(name: str) -> None:
    assert is_structured(name)
    assert not is_structured(name + ".rego")


def test_yaml_is_hashed_by_its_meaning_where_the_name_says_yaml() -> None:
    assert file_digest("data.yaml", b"a: 1.50\nb: [x, ~]") == file_digest("data.json", b'{"a": 1.5, "b": ["x", null]}')
    assert file_digest("data.yml", b'{"a": 1.50}') == file_digest("data.json", b'{"a": 1.50}')
    with pytest.raises(Malformed, match="not JSON"):
        file_digest("data.json", b"a: 1")
    with pytest.raises(Malformed, match="OPA reads '0123' otherwise"):
        file_digest("data.yaml", b"a: 0123")


def test_unknown_hashes_are_not_taken() -> None:
    with pytest.raises(Malformed, match="not JSON"):
        file_digest("data.json", b"NaN")
    with pytest.raises(Refused, match="MD5"):
        file_digest("p.rego", b"", "MD5")


def test_a_data_file_of_a_million_brackets_is_an_error() -> None:
    with pytest.raises(Malformed):
        file_digest("data.json", b"[" * 1_000_000)
    with pytest.raises(Malformed, match="deeper"):
        file_digest("data.json", b"[" * 300 + b"]" * 300)


# -- signatures


def test_what_is_signed_passes() -> None:
    claims = signature_claims(FILES, scope="prod", issued_at=7)
    assert [one["name"] for one in claims["files"]] == ["p.rego", "watchkey/data.json"]
    check_files(claims, [*FILES, signatures_file("token")], scope="prod")


@pytest.mark.parametrize(
    "files",
    [
        (DATA,),
        (DATA, POLICY, BundleFile(name="more.rego", body=b"package more\n")),
        (DATA, swapped(POLICY, b"package q\n")),
        (swapped(DATA, b'{"a":"x"}'), POLICY),
        (DATA, POLICY, POLICY),
        (DATA, POLICY, swapped(POLICY, b"package q\n")),
    ],
    ids=["one too few", "one too many", "another policy", "other data", "one twice", "a second behind the first"],
)
def test_anything_else_is_refused(files: tuple[BundleFile, ...]) -> None:
    with pytest.raises(Refused):
        check_files(signature_claims(FILES), files)


def test_another_scope_is_refused() -> None:
    with pytest.raises(Refused, match="scope"):
        check_files(signature_claims(FILES, scope="test"), FILES, scope="prod")
    with pytest.raises(Refused, match="scope"):
        check_files(signature_claims(FILES), FILES, scope="prod")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"files": {}},
        {"files": ["p.rego"]},
        {"files": [{"name": "p.rego", "algorithm": "SHA-256"}]},
        {"files": [{"name": "p.rego", "hash": "xyz", "algorithm": "SHA-256"}]},
        {"files": [{"name": "p.rego", "hash": "", "algorithm": "SHA-256"}]},
        {"files": [{"name": "p.rego", "hash": "00", "algorithm": 5}]},
        {"files": [{"name": "p.rego", "hash": "00", "algorithm": "SHA-256"}] * 2},
    ],
)
def test_claims_of_another_form_are_malformed(claims: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        check_files(claims, [POLICY])


def test_known_digests_are_taken_over() -> None:
    claims = signature_claims([POLICY], digests={"p.rego": "00"})
    assert claims == {"files": [{"name": "p.rego", "hash": "00", "algorithm": "SHA-256"}]}


def test_the_signature_file_holds_exactly_one() -> None:
    file = signatures_file("a.b.c")
    assert file.name == SIGNATURES
    assert read_signatures(file.body) == "a.b.c"
    for body in (b"{}", b'{"signatures": []}', b'{"signatures": ["a", "b"]}', b'{"signatures": [1]}', b"[]", b"x"):
        with pytest.raises(Malformed):
            read_signatures(body)


# -- the manifest


def test_a_manifest_comes_back_as_it_was() -> None:
    manifest = Manifest(
        revision="7", roots=("watchkey", "policyparams"), rego_version=1, file_rego_versions={"/old.rego": 0},
        metadata={"source": "x", "n": 3},
    )  # fmt: skip
    assert read_manifest(manifest.to_json()) == manifest


def test_a_manifest_without_roots_owns_everything() -> None:
    assert read_manifest(b'{"revision": null, "unknown": 1}') == Manifest()
    assert owns("", "any/thing")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"revision": 3}',
        b'{"roots": "x"}',
        b'{"roots": [1]}',
        b'{"rego_version": 2}',
        b'{"rego_version": true}',
        b'{"metadata": []}',
        b'{"file_rego_versions": {"a": "1"}}',
        b'{"roots": ["a", "/a/b"]}',
        b'{"roots": ["", "a"]}',
    ],
)
def test_what_is_no_manifest_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_manifest(body)


def test_a_root_owns_what_is_below_it_and_not_its_namesake() -> None:
    assert owns("a/b", "/a/b/c")
    assert owns("a", "a")
    assert not owns("a", "ab")
    assert not owns("a/b", "a")


# -- the archive


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files only


def test_tar_reads_what_is_packed() -> None:
    files = [*FILES, BundleFile(name=MANIFEST, body=Manifest().to_json()), BundleFile(name="e.rego", body=b"")]
    assert members(pack(files)) == {file.name: file.body for file in files}


def test_the_same_files_give_the_same_bytes_in_any_order() -> None:
    assert pack([DATA, POLICY]) == pack([POLICY, DATA])
    assert gzip.decompress(pack(FILES))[:6] == b"p.rego"


@given(st.dictionaries(st.from_regex(r"[a-zé]{1,90}(/[a-z]{1,60}){0,2}", fullmatch=True), st.binary(max_size=2000)))
def test_any_files_survive_the_archive(files: dict[str, bytes]) -> None:
    names = set(files)
    inside = [name for name in files if not any(other.startswith(name + "/") for other in names)]
    packed = [BundleFile(name=name, body=files[name]) for name in inside if len(name.encode()) < 150]
    assert members(pack(packed)) == {file.name: file.body for file in packed}


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/./b", "a/", "x" * 101, "d/" * 130 + "f"])
def test_a_name_that_leads_astray_or_does_not_fit_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        pack([BundleFile(name=name, body=b"")])


def test_a_file_that_stands_twice_is_malformed() -> None:
    with pytest.raises(Malformed, match="twice"):
        pack([POLICY, POLICY])
