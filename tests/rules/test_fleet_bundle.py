"""A fleet's bundle: the same bytes for the same content, every file signed, deltas only where they are sound."""

import io
import json
import tarfile
from typing import Any

from watchkey.rules.bundle import MANIFEST, PATCH, SIGNATURES, BundleFile, check_files, read_manifest
from watchkey.rules.fleet_bundle import FleetBundle, FleetPolicy, data_part, delta_between, put_together, roots_of

POLICY = FleetPolicy(
    hash="p1",
    modules={"watchkey/access.rego": "package watchkey.access\n", "policy/0-own.rego": "package own\n"},
    roots=("limits", "note", "own", "watchkey"),
    rego_versions={"policy/0-own.rego": 0},
    data={"limits": {"a": 1}, "note": "x"},
)
SIGNED: list[dict[str, Any]] = []


def sign(claims: Any) -> str:
    SIGNED.append(dict(claims))
    return "a.b.c"


def made(value: dict[str, Any], revision: int = 1, policy: FleetPolicy = POLICY, **changes: Any) -> FleetBundle:
    fields: dict[str, Any] = {"issued_at": 5, "scope": "", "sign": None} | changes
    parts = [data_part(["watchkey", "roster", "pd"], value), data_part(["watchkey"], {"links": {}, "n": revision})]
    return put_together(policy, parts, revision=revision, **fields)


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files only


BIG = {"shifts": {f"P{i}": [{"starts_ns": i * 7919, "ends_ns": i * 104729}] for i in range(200)}}


def test_everything_has_its_place() -> None:
    bundle = made({"shifts": {}})
    files = files_of(bundle.snapshot)
    assert sorted(files) == [
        MANIFEST, "data.json", "limits/data.json", "policy/0-own.rego", "watchkey/access.rego", "watchkey/data.json",
        "watchkey/roster/pd/data.json",
    ]  # fmt: skip
    assert json.loads(files["data.json"]) == {"note": "x"}
    assert bundle.document == {
        "limits": {"a": 1}, "note": "x", "watchkey": {"roster": {"pd": {"shifts": {}}}, "links": {}, "n": 1},
    }  # fmt: skip
    manifest = read_manifest(files[MANIFEST])
    assert (manifest.revision, manifest.roots, manifest.rego_version) == ("1", POLICY.roots, 1)
    assert manifest.file_rego_versions == {"/policy/0-own.rego": 0}


def test_the_same_content_has_the_same_bytes_and_any_other_another_tag() -> None:
    assert made(BIG) == made(BIG)
    tags = {made(BIG).etag, made(BIG, 2).etag, made({}).etag, made(BIG, sign=sign).etag}
    assert len(tags) == 4
    assert made(BIG).etag.startswith('"1-')


def test_the_signature_covers_every_file() -> None:
    files = files_of(made(BIG, sign=sign, scope="prod").snapshot)
    assert json.loads(files.pop(SIGNATURES)) == {"signatures": ["a.b.c"]}
    check_files(SIGNED[-1], [BundleFile(name=name, body=body) for name, body in files.items()], scope="prod")
    assert SIGNED[-1]["iat"] == 5


def changed() -> dict[str, Any]:
    return {"shifts": BIG["shifts"] | {"P7": []}}


def test_a_delta_says_what_changed_and_keeps_the_roots() -> None:
    before, after = made(BIG), made(changed(), 2)
    delta = delta_between(before, after)
    assert delta is not None
    files = files_of(delta)
    assert sorted(files) == [MANIFEST, PATCH]
    assert json.loads(files[PATCH]) == {
        "data": [
            {"op": "upsert", "path": "/watchkey/n", "value": 2},
            {"op": "upsert", "path": "/watchkey/roster/pd/shifts/P7", "value": []},
        ]
    }
    manifest = read_manifest(files[MANIFEST])
    assert (manifest.revision, manifest.roots) == ("2", POLICY.roots)


def test_there_is_no_delta_where_only_a_snapshot_will_do() -> None:
    other = FleetPolicy(hash="p2", modules=POLICY.modules, roots=POLICY.roots)
    wider = FleetPolicy(hash="p1", modules=POLICY.modules, roots=("",))
    assert delta_between(made(BIG), made(changed(), 2, other)) is None
    assert delta_between(made(BIG), made(changed(), 2, wider)) is None
    assert delta_between(made(BIG), made(BIG)) is None, "an empty delta erases everything"
    assert delta_between(made({}), made(BIG, 2)) is None, "it would be as large"


def test_the_fewest_roots_that_own_everything() -> None:
    assert roots_of(["watchkey", "watchkey/access", "own/a", "own", "policyparams"]) == (
        "own",
        "policyparams",
        "watchkey",
    )
    assert roots_of([]) == ("watchkey",)
