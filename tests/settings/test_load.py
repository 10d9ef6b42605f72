"""From text to settings: values, defaults, and what happens to texts that are wrong or hostile."""

import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.access import Caller, Link, Needs, Resource, StaleMode
from watchkey.model.ids import CallerId, PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Provenance, Scope, ScopeKind
from watchkey.model.secret import Secret
from watchkey.settings import (
    ConfigError,
    RemoteOpa,
    Settings,
    Surroundings,
    VerificationSettings,
    find,
    load_settings,
    parse_settings,
)

SMALL = """\
sources: {pd: {kind: roster_file, path: r.yaml}}
resources:
  orders-db:
    kind: postgres
    privileges: [read, write, admin]
    opened_by: [{source: pd, service: P1}]
"""
HASH = "sha256:" + "ab" * 32


def parse(text: str, **environ: str) -> Settings:
    return parse_settings(
        text, file=Path("watchkey.yaml"), surroundings=Surroundings(directory=Path("/etc/wk"), environ=environ)
    )


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(error) for error in caught.value.all]


def errors_of(text: str | bytes) -> tuple[ConfigError, ...]:
    """Everything that is wrong with a text; anything but `ConfigError` escapes and fails the test."""
    try:
        parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=Path("/nowhere")))
    except ConfigError as error:
        return error.all
    return ()


def test_the_least_that_works_and_what_it_means() -> None:
    settings = parse(SMALL)
    assert settings.resources == {
        "orders-db": Resource(
            id=ResourceId("orders-db"),
            kind="postgres",
            privileges=("read", "write", "admin"),
            scopes=(Scope(SourceName("pd"), ScopeKind.SERVICE, "P1"),),
            needs=Needs.ON_CALL,
            max_level=1,
            incident_roles=frozenset({"acknowledged", "joined"}),
            ttl_max=timedelta(hours=1),
            age_max=timedelta(minutes=10),
            stale_mode=StaleMode.INCUMBENT,
            forecast_max=timedelta(hours=24),
            opens={
                Provenance.ROTA: frozenset({"read", "write", "admin"}),
                Provenance.SWAP: frozenset({"read", "write", "admin"}),
                Provenance.OTHER_OVERRIDE: frozenset({"read", "write", "admin"}),
                Provenance.SELF_OVERRIDE: frozenset(),
                Provenance.UNKNOWN: frozenset(),
                Provenance.PERMANENT: frozenset(),
            },
        )
    }
    assert settings.sync.poll == timedelta(seconds=30)
    assert settings.sync.window == timedelta(hours=72)
    assert settings.storage.path == Path("/etc/wk/watchkey.db")
    assert settings.zone == ZoneInfo("UTC")
    assert settings.http.section.host == "127.0.0.1"


def test_who_puts_himself_on_call_gets_the_unvetted_privileges_only() -> None:
    opens = parse(SMALL + "    unvetted: [read]\n").resources[ResourceId("orders-db")].opens
    assert opens[Provenance.SELF_OVERRIDE] == opens[Provenance.UNKNOWN] == {"read"}
    assert opens[Provenance.PERMANENT] == frozenset()


def test_opens_changes_the_grades_that_it_names_and_no_other() -> None:
    text = (
        SMALL + "    unvetted: [read]\n    opens: {unknown: all, rota: [read, write], permanent: unvetted, swap: []}\n"
    )
    opens = parse(text).resources[ResourceId("orders-db")].opens
    assert opens == {
        Provenance.ROTA: {"read", "write"},
        Provenance.SWAP: frozenset(),
        Provenance.OTHER_OVERRIDE: {"read", "write", "admin"},
        Provenance.SELF_OVERRIDE: {"read"},
        Provenance.UNKNOWN: {"read", "write", "admin"},
        Provenance.PERMANENT: {"read"},
    }


def test_a_resources_own_line_wins_over_defaults_even_when_it_says_the_built_in_value() -> None:
    text = "defaults: {max_level: 3, ttl_max: 5m, needs: either}\n" + SMALL + "    max_level: 1\n"
    resource = parse(text).resources[ResourceId("orders-db")]
    assert (resource.max_level, resource.ttl_max, resource.needs) == (1, timedelta(minutes=5), Needs.EITHER)


def test_each_kind_of_pager() -> None:
    text = SMALL.replace("{source: pd, service: P1}", "{source: pd, schedule: S}, {source: pd, escalation_policy: E}")
    assert parse(text).resources[ResourceId("orders-db")].scopes == (
        Scope(SourceName("pd"), ScopeKind.SCHEDULE, "S"),
        Scope(SourceName("pd"), ScopeKind.ESCALATION_POLICY, "E"),
    )


def test_callers_links_and_groups() -> None:
    settings = parse(
        SMALL
        + f"callers: {{gw: {{token_hashes: ['{HASH}'], resources: [orders-db]}}, "
        + f"all: {{token_hashes: ['{HASH.replace('ab', 'cd')}'], resources: all, trusted: true}}, "
        + f"none: {{token_hashes: ['{HASH.replace('ab', 'ef')}']}}}}\n"
        + "links: {ann@example.com: {pd: PANN}}\ngroups: {sre: [ann, bob], dba: [ann]}\n"
    )
    assert settings.callers[CallerId("gw")].caller == Caller(
        id=CallerId("gw"), resources=frozenset({ResourceId("orders-db")}), is_trusted=False
    )
    assert settings.callers[CallerId("all")].caller == Caller(id=CallerId("all"), resources=None, is_trusted=True)
    assert settings.callers[CallerId("none")].caller.resources == frozenset()
    assert settings.callers[CallerId("gw")].token_hashes == (HASH,)
    assert settings.links == (
        Link(subject=SubjectId("ann@example.com"), source=SourceName("pd"), person=PersonId("PANN")),
    )
    assert settings.groups_of(SubjectId("ann")) == {"sre", "dba"}
    assert settings.groups_of(SubjectId("eve")) == frozenset()


def test_policies_have_absolute_paths_and_the_entrypoint_of_their_dialect(tmp_path: Path) -> None:
    (tmp_path / "p.rego").touch()
    file = tmp_path / "watchkey.yaml"
    file.write_text(
        "policies:\n  mine: {files: [p.rego], dialect: cyral, parameters: {min_escalation_level: 2}}\n"
        "  other: {files: [p.rego]}\n  third: {files: [p.rego], entrypoint: data.x.y}\n" + SMALL + "    policy: mine\n"
    )
    settings = load_settings(file, environ={})
    mine = settings.policies["mine"]
    assert (mine.files, mine.dialect, mine.parameters) == ((tmp_path / "p.rego",), "cyral", {"min_escalation_level": 2})
    assert mine.entrypoint == "data.cyral.authz_policy.decision"
    assert settings.policies["other"].entrypoint == "data.watchkey.decision"
    assert settings.policies["third"].entrypoint == "data.x.y"
    assert settings.resources[ResourceId("orders-db")].policy == "mine"


def test_a_remote_policy_has_absolute_paths_and_its_secret(tmp_path: Path) -> None:
    for name in ("ca.pem", "own.pem", "own.key"):
        (tmp_path / name).touch()
    file = tmp_path / "watchkey.yaml"
    file.write_text(
        "policies:\n  fleet:\n    engine: opa\n    url: https://opa.example.com/base\n    path: a/b\n"
        "    timeout: 250ms\n    token: {env: OPA_TOKEN}\n    ca_file: ca.pem\n"
        "    certificate_file: own.pem\n    key_file: own.key\n"
        "    strict_errors: false\n  least: {engine: opa, url: 'http://127.0.0.1:8181'}\n"
        + SMALL
        + "    policy: fleet\n"
    )
    settings = load_settings(file, environ={"OPA_TOKEN": "canary-5\n"})
    policies = settings.policies
    assert policies["fleet"].remote == RemoteOpa(
        url="https://opa.example.com/base",
        path="a/b",
        ca_file=tmp_path / "ca.pem",
        certificate_file=tmp_path / "own.pem",
        key_file=tmp_path / "own.key",
        timeout=timedelta(milliseconds=250),
    )
    assert not policies["fleet"].is_strict
    assert settings.opa_token("fleet") == Secret("canary-5")
    assert settings.opa_token("least") is None
    assert "canary" not in repr(settings)
    least = policies["least"].remote
    assert least is not None
    assert (least.path, least.timeout) == ("watchkey/decision", timedelta(seconds=1))
    assert policies["least"].is_strict
    assert policies["least"].files == ()
    # Whoever asks nothing there needs no secret; whoever is about to does, and is told at once.
    missing = load_settings(file, environ={})
    with pytest.raises(ConfigError, match=r"policies\.fleet\.token: the environment variable OPA_TOKEN is not set"):
        missing.opa_token("fleet")
    with pytest.raises(ConfigError, match="OPA_TOKEN is not set"):
        load_settings(file, environ={}, source_configs={"roster_file": msgspec.Struct})


def test_sections_of_adapters_stay_where_they_are_with_their_places() -> None:
    settings = parse(
        SMALL
        + "    target: {host: db, password: 5}\n"
        + "listen: {gateways: [{port: 1}], http: {limits: {body_bytes: 7, depth: 5}}}\n"
    )

    class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        path: Path

    class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        body_byte: int = 9
        depth: int = 4

    source = settings.sources[SourceName("pd")]
    assert source.kind == "roster_file"
    assert settings.convert(source.section, Config).path == Path("/etc/wk/r.yaml")
    target = settings.target(ResourceId("orders-db"))
    assert target is not None
    assert target.data == {"host": "db", "password": 5}
    assert settings.gateways[0].data == {"port": 1}
    assert settings.http.limits is not None
    with pytest.raises(ConfigError, match=r"watchkey\.yaml:8:\d+: listen\.http\.limits\.body_bytes: unknown key"):
        settings.convert(settings.http.limits, Limits)


def test_several_errors_come_at_once_in_the_order_of_the_file() -> None:
    errors = wrong("resources:\n  db:\n    kind: pg\n    max_levl: 2\n    ttl_max: 5\n    needs: oncall\nsoruces: {}\n")
    assert [re.sub("expected one of [a-z_, ]+", "expected …", error) for error in errors] == [
        "watchkey.yaml:4:5: resources.db.max_levl: unknown key; expected …; did you mean max_level?",
        "watchkey.yaml:5:14: resources.db.ttl_max: this is 5; expected a duration such as 90s, 15m, 12h or 3d",
        "watchkey.yaml:6:12: resources.db.needs: 'oncall' is not known; expected …; did you mean on_call?",
        "watchkey.yaml:7:1: soruces: unknown key; expected …; did you mean sources?",
    ]


def test_a_token_in_place_of_its_hash_is_refused_and_not_repeated() -> None:
    errors = wrong(SMALL + "callers: {gw: {token_hashes: [wk_canary-canary-canary]}}\n")
    assert len(errors) == 1
    assert "canary" not in errors[0]
    assert "a token itself never stands in this file" in errors[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "null\n"])
def test_an_empty_file_says_how_to_get_a_full_one(text: str) -> None:
    assert "watchkey init" in wrong(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "5",
        "a: &x [*x]",
        "a: !!python/object/apply:os.system [x]",
        "a: 1\na: 2",
        "{" * 100,
        "\t",
        "a: \x00",
        "? [a]\n: b",
    ],
)
def test_hostile_texts_get_an_error_with_a_place(text: str) -> None:
    errors = wrong(text)
    assert errors[0].startswith("watchkey.yaml:")


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_gets_anything_but_settings_or_an_error_with_a_place(text: str | bytes) -> None:
    assert all(str(error).startswith("w:") for error in errors_of(text))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["all", "orders-db", "pd", "5m", "read", "", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "sources",
                    "resources",
                    "kind",
                    "opened_by",
                    "defaults",
                    "opens",
                    "rota",
                    "callers",
                    "links",
                    "listen",
                    "http",
                    "sync",
                    "poll",
                    "policies",
                    "files",
                    "parameters",
                    "token",
                    "privileges",
                    "unvetted",
                    "groups",
                    "storage",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(_json)
def test_no_document_of_our_own_words_escapes_either(document: object) -> None:
    """JSON is YAML, so a generated document is a file; errors are the only way out besides settings."""
    assert all(error.line >= 1 and error.column >= 1 for error in errors_of(msgspec.json.encode(document)))


def test_which_file_it_is() -> None:
    assert find(None, {}) == Path("watchkey.yaml")
    assert find(None, {"WATCHKEY_CONFIG": "/etc/w.yaml"}) == Path("/etc/w.yaml")
    assert find(Path("x.yaml"), {"WATCHKEY_CONFIG": "/etc/w.yaml"}) == Path("x.yaml")


def test_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml:1:1: cannot be read: No such file.*watchkey init"):
        load_settings(tmp_path / "none.yaml", environ={})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, environ={})


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        load_settings(Path("/dev/zero"), environ={})


def test_the_environment_changes_nothing_but_secrets() -> None:
    assert parse(SMALL, WATCHKEY_MAX_LEVEL="9", max_level="9").resources == parse(SMALL).resources


def test_sources_are_checked_with_the_adapters_own_keys(tmp_path: Path) -> None:
    class Pager(msgspec.Struct, frozen=True):
        token: Secret
        region: str = "us"

    file = tmp_path / "watchkey.yaml"
    file.write_text(
        "sources:\n  a: {kind: pager, token: canary-literal}\n  b: {kind: pagr}\n"
        "  c: {kind: pager, token: {env: T}, regon: eu}\n"
        "  d: {kind: pager, token: {env: NOT_SET}}\n  e: {region: us}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ={"T": "canary-1"}, source_configs={"pager": Pager})
    errors = [str(error).removeprefix(f"{file}:") for error in caught.value.all]
    assert [error.partition(": ")[2] for error in errors] == [
        "sources.a.token: this is text; expected {env: NAME} or {file: PATH}; a secret itself never stands in a file",
        "sources.b.kind: 'pagr' is not known; expected one of pager; did you mean pager?",
        "sources.c.regon: unknown key; expected one of region; did you mean region?",
        "sources.d.token: the environment variable NOT_SET is not set",
        "sources.e: kind is missing; expected kind: the name of an adapter, e.g. roster_file",
    ]
    assert "canary" not in "".join(errors)


def test_without_secrets_only_their_form_is_checked(tmp_path: Path) -> None:
    class Pager(msgspec.Struct, frozen=True):
        token: Secret

    file = tmp_path / "watchkey.yaml"
    file.write_text("sources: {a: {kind: pager, token: {env: NOT_SET}}}\n")
    settings = load_settings(file, environ={}, source_configs={"pager": Pager}, are_secrets_read=False)
    assert settings.sources[SourceName("a")].kind == "pager"


def test_settings_do_not_show_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "watchkey.yaml"
    file.write_text(SMALL)
    assert "canary-env" not in repr(load_settings(file, environ={"T": "canary-env"}))


def test_a_bundle_has_absolute_paths_and_what_verifies_it(tmp_path: Path) -> None:
    for name in ("b.tar.gz", "pub.pem"):
        (tmp_path / name).touch()
    file = tmp_path / "watchkey.yaml"
    file.write_text(
        "policies:\n  own:\n    bundle: b.tar.gz\n    verification: {key_file: pub.pem, algorithm: ES256, keyid: k, "
        "scope: write, exclude_files: ['*.md']}\n  least: {bundle: b.tar.gz}\n" + SMALL + "    policy: own\n"
    )
    policies = load_settings(file, environ={}).policies
    assert (policies["own"].bundle, policies["own"].files) == (tmp_path / "b.tar.gz", ())
    assert policies["own"].verification == VerificationSettings(
        key_file=tmp_path / "pub.pem", algorithm="ES256", key_id="k", scope="write", exclude=("*.md",)
    )
    assert policies["least"].verification is None
    assert policies["least"].entrypoint == "data.watchkey.decision"
