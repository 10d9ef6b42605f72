"""What one section says about another: each rule has a text that breaks it and the place where that is said."""

from pathlib import Path

import pytest

from watchkey.settings import ConfigError, Surroundings, parse_settings

BASE = """\
sources: {pager: {kind: x}, other: {kind: x}}
resources:
  db:
    kind: postgres
    privileges: [read, write]
    opened_by: [{source: pager, service: P1}]
"""
HASH = "sha256:" + "ab" * 32


def problems(text: str) -> list[str]:
    try:
        parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=Path("/nowhere")))
    except ConfigError as error:
        return [str(one) for one in error.all]
    return []


def test_the_base_is_right() -> None:
    assert problems(BASE) == []


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (
            BASE.replace("source: pager", "source: pagr"),
            "6:26 resources.db.opened_by[0].source",
            "there is no source 'pagr'; expected one of other, pager; did you mean pager?",
        ),
        (
            BASE.replace("service: P1", "service: P1, schedule: S"),
            "6:17 resources.db.opened_by[0]",
            "it is not clear whose pager; expected exactly one of service, escalation_policy, schedule",
        ),
        (
            BASE.replace(", service: P1", ""),
            "6:17 resources.db.opened_by[0]",
            "it is not clear whose pager; expected exactly one of service, escalation_policy, schedule",
        ),
        (
            BASE.replace("[{source: pager, service: P1}]", "[]"),
            "4:5 resources.db",
            (
                "nobody's pager opens it; expected opened_by: [{source: …, service: …}], or `needs: nothing` "
                "when no pager is to be asked"
            ),
        ),
        (
            BASE.replace("[read, write]", "[]"),
            "5:17 resources.db.privileges",
            "there is nothing one may do; expected privileges: e.g. [read, write]",
        ),
        (
            BASE.replace("[read, write]", "[read, read]"),
            "5:17 resources.db.privileges",
            "a privilege is named twice",
        ),
        (
            BASE + "    unvetted: [raed]\n",
            "7:16 resources.db.unvetted[0]",
            "there is no privilege 'raed'; expected one of read, write; did you mean read?",
        ),
        (
            BASE + "    opens: {unknown: [wirte]}\n",
            "7:23 resources.db.opens.unknown[0]",
            "there is no privilege 'wirte'; expected one of read, write; did you mean write?",
        ),
        (
            BASE + "    policy: defualt\n",
            "7:13 resources.db.policy",
            "there is no policy 'defualt'; expected one of default; did you mean default?",
        ),
        (
            BASE + "    ttl_max: 25h\n",
            "7:14 resources.db.ttl_max",
            "25h is out of range; expected from 1s to 1d",
        ),
        (
            BASE + "    ttl_max: 0s\n",
            "7:14 resources.db.ttl_max",
            "0s is out of range; expected from 1s to 1d",
        ),
        (
            BASE + "    age_max: 20s\n",
            "7:14 resources.db.age_max",
            "20s is out of range; expected from 30s to 30d",
        ),
        (
            BASE + "    stale_mode: forecast\n    forecast_max: 4d\n",
            "8:19 resources.db.forecast_max",
            "4d is out of range; expected from 1s to 3d",
        ),
        (
            BASE + "    stale_mode: second_source\n",
            "7:17 resources.db.stale_mode",
            "there is no second source; expected `second_source` with pagers of another source",
        ),
        (
            BASE + "    needs: either\n    incident_roles: []\n",
            "8:21 resources.db.incident_roles",
            "nobody can be responding; expected e.g. [acknowledged, joined]",
        ),
        (
            BASE.replace("service: P1", "schedule: S") + "    level_follows_escalation: true\n",
            "7:31 resources.db.level_follows_escalation",
            (
                "a schedule has neither levels nor incidents; expected `opened_by` with services or escalation "
                "policies only"
            ),
        ),
        (
            BASE + "    needs: either\n    incident_grace: 31m\n",
            "8:21 resources.db.incident_grace",
            "31m is out of range; expected from 0s to 30m",
        ),
        (
            BASE + "    blast_radius: {opens: [read]}\n",
            "7:19 resources.db.blast_radius",
            "responders are not let in at all; expected needs: responding, or either",
        ),
        (
            BASE + "    needs: either\n    blast_radius: {opens: [reed]}\n",
            "8:28 resources.db.blast_radius.opens[0]",
            "there is no privilege 'reed'; expected one of read, write; did you mean read?",
        ),
        (
            BASE.replace("service: P1", "schedule: S") + "    needs: either\n    blast_radius: {opens: [read]}\n",
            "8:19 resources.db.blast_radius",
            "no service opens it, and only services depend on each other; expected `opened_by` with a service",
        ),
        (
            BASE + "dependencies: {pagr: {a: [b]}}\n",
            "7:22 dependencies.pagr",
            "there is no source 'pagr'; expected one of other, pager; did you mean pager?",
        ),
        (
            BASE + f"callers: {{gw: {{token_hashes: ['{HASH}'], resources: [dbb]}}}}\n",
            "7:119 callers.gw.resources[0]",
            "there is no resource 'dbb'; expected one of db; did you mean db?",
        ),
        (
            BASE + f"callers:\n  a: {{token_hashes: ['{HASH}']}}\n  b: {{token_hashes: ['{HASH}']}}\n",
            "9:22 callers.b.token_hashes[0]",
            "this is the token of 'a' already; expected a token of its own",
        ),
        (
            BASE + "links:\n  ann: {pagr: P1}\n",
            "8:15 links.ann.pagr",
            "there is no source 'pagr'; expected one of other, pager; did you mean pager?",
        ),
        (
            BASE + "links:\n  ann: {pager: P1}\n  bob: {pager: P1}\n",
            "9:16 links.bob.pager",
            "'P1' of 'pager' is 'ann' already; expected one subject for each person",
        ),
        (
            BASE + "links:\n  ann: {pager: P1}\n  Ann: {pager: P2}\n",
            "9:3 links.Ann",
            "'Ann' looks like 'ann' in this file; expected one spelling",
        ),
        (
            BASE + "listen: {http: {host: 0.0.0.0}}\n",
            "7:23 listen.http.host",
            (
                "tokens would cross the network in plain text; expected tls: {certificate: …, key: …}, a "
                "loopback address, or `insecure: true` behind a TLS proxy"
            ),
        ),
        (
            BASE + "sync: {poll: 100ms}\n",
            "7:14 sync.poll",
            "100ms is out of range; expected from 1s to 1h",
        ),
        (
            BASE + "sync: {window: 10m}\n",
            "7:16 sync.window",
            "10m is out of range; expected from 1h to 90d",
        ),
        (
            BASE + "storage: {checkpoint_interval: 1d}\n",
            "7:32 storage.checkpoint_interval",
            "1d is out of range; expected from 100ms to 1h",
        ),
        (
            BASE + "time_zone: Europe/Berln\n",
            "7:12 time_zone",
            (
                "there is no time zone 'Europe/Berln'; expected a name of the IANA list, e.g. Europe/Berlin; did"
                " you mean Europe/Berlin?"
            ),
        ),
        (
            BASE + f"callers: {{a: {{token_hashes: ['{HASH}']}}}}\nfleets: {{f: {{callers: [b]}}}}\n",
            "8:24 fleets.f.callers[0]",
            "there is no caller 'b'; expected one of a",
        ),
        (
            BASE
            + f"callers: {{a: {{token_hashes: ['{HASH}']}}}}\nfleets: {{f: {{callers: [a]}}, g: {{callers: [a]}}}}\n",
            "8:43 fleets.g.callers[0]",
            "'a' belongs to 'f' already; expected a caller of its own",
        ),
        (
            BASE + f"callers: {{a: {{token_hashes: ['{HASH}']}}}}\nfleets: {{f: {{callers: [a], renew: 6m}}}}\n",
            "8:35 fleets.f.renew",
            "6m is out of range; expected from 1s to 5m",
        ),
        (
            BASE + "sources2: {}\n",
            "7:1 sources2",
            (
                "unknown key; expected one of version, defaults, policies, callers, fleets, links, dependencies, "
                "groups, storage, listen, sync, confirmations, time_zone"
            ),
        ),
        (
            "sources: {a: 5}\n",
            "1:14 sources.a",
            "a source is a mapping; expected kind: …, and the keys of that kind",
        ),
    ],
)
def test_each_rule_says_where_and_what(text: str, place: str, message: str) -> None:
    at, path = place.split(" ")
    assert problems(text) == [f"w:{at}: {path}: {message}"]


def test_a_wrong_default_is_shown_where_it_stands() -> None:
    text = "defaults: {policy: mine}\n" + BASE
    assert problems(text) == ["w:1:20: defaults.policy: there is no policy 'mine'; expected one of default"]


def test_nothing_may_be_needed_when_that_is_said() -> None:
    assert problems(BASE.replace("    opened_by: [{source: pager, service: P1}]\n", "    needs: nothing\n")) == []


def test_a_second_source_is_another_source_not_another_pager_of_the_same() -> None:
    two = BASE + "    stale_mode: second_source\n    second_source: {pagers: [{source: %s, %s: P2}]}\n"
    assert "'pager' opens it already; expected another source" in problems(two % ("pager", "service"))[0]
    assert problems(two % ("other", "schedule")) == []
    assert "there is no source 'otter'" in problems(two % ("otter", "schedule"))[0]
    unclear = BASE + "    second_source: {pagers: [{source: other}]}\n"
    assert "it is not clear whose pager" in problems(unclear)[0]


def test_forecast_counts_only_where_it_is_chosen() -> None:
    assert problems(BASE + "    forecast_max: 4d\n") == []


REMOTE = "engine: opa, url: 'https://opa.example.com'"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{}", "there is no policy"),
        ("{engine: opa}", "it is not said where the OPA is"),
        ("{engine: opal, url: x}", "'opal' is not known; expected one of rego, opa; did you mean opa?"),
        (f"{{{REMOTE}, files: [p.rego]}}", "that OPA has the policy and all that belongs to it"),
        (f"{{{REMOTE}, parameters: {{}}}}", "that OPA has the policy and all that belongs to it"),
        (f"{{{REMOTE}, entrypoint: data.x}}", "that OPA has the policy and all that belongs to it"),
        ("{files: [p.rego], url: 'https://x'}", "this is about an OPA elsewhere; expected no url, or engine: opa"),
        (f"{{{REMOTE}, path: /v1/data/x}}", "this is no path below /v1/data/"),
        (f"{{{REMOTE}, path: x/../y}}", "this is no path below /v1/data/"),
        (f"{{{REMOTE}, path: 'x?a=b'}}", "this is no path below /v1/data/"),
        (f"{{{REMOTE}, bundle: p.rego}}", "that OPA has the policy and all that belongs to it"),
        ("{files: [p.rego], bundle: p.rego}", "there are two policies; expected files or bundle"),
        ("{bundle: none.tar.gz}", "there is no file 'none.tar.gz'"),
        ("{files: [p.rego], verification: {key_file: p.rego}}", "only a bundle is signed"),
        ("{bundle: p.rego, verification: {key_file: none.pem}}", "there is no file 'none.pem'"),
        ("{bundle: p.rego, verification: {}}", "key_file is missing"),
        ("{bundle: p.rego, verification: {key_file: p.rego, algorithm: none}}", "'none' is not known"),
        ("{bundle: p.rego, verification: {key_file: p.rego, exclude_files: ['[a]']}}", "this is no pattern here"),
        (f"{{{REMOTE}, key_file: p.rego}}", "a certificate and its key belong together"),
        (f"{{{REMOTE}, ca_file: p.pem}}", "there is no file 'p.pem'"),
        (f"{{{REMOTE}, timeout: 1ms}}", "1ms is out of range; expected from 10ms to 30s"),
        (f"{{{REMOTE}, timeout: 1m}}", "1m is out of range; expected from 10ms to 30s"),
        (f"{{{REMOTE}, token: canary-5}}", "a secret itself never stands in a file"),
    ],
)
def test_a_policy_is_here_or_elsewhere_and_not_both(policy: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.rego").touch()
    with pytest.raises(ConfigError) as caught:
        parse_settings(
            BASE + f"policies: {{p: {policy}}}\n", file=Path("w"), surroundings=Surroundings(directory=tmp_path)
        )
    (said,) = [str(one) for one in caught.value.all]
    assert said.startswith("w:7:")
    assert message in said
    assert "canary" not in said


@pytest.mark.parametrize("key", ["api_token", "password", "CLIENT_SECRET", "apikey"])
def test_a_secret_among_the_parameters_of_a_policy_is_refused_and_not_repeated(key: str, tmp_path: Path) -> None:
    (tmp_path / "p.rego").touch()
    text = BASE + f"policies: {{p: {{files: [p.rego], parameters: {{{key}: canary-5}}}}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=tmp_path))
    (said,) = [str(one) for one in caught.value.all]
    assert said.startswith("w:7:")
    assert "this looks like a secret" in said
    assert "canary" not in said


def test_an_entrypoint_is_a_path_into_data(tmp_path: Path) -> None:
    (tmp_path / "p.rego").touch()
    text = BASE + "policies: {p: {files: [p.rego], entrypoint: allow}}\n"
    with pytest.raises(ConfigError, match=r"this is no path into data; expected e\.g\. data\.watchkey\.decision"):
        parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=tmp_path))


def test_a_file_that_is_not_there_names_the_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "hours.rego").touch()
    text = BASE + "policies: {p: {files: [policies/hour.rego]}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=tmp_path))
    assert str(caught.value) == (
        f"w:7:24: policies.p.files[0]: there is no file 'policies/hour.rego'; expected a file, looked for as "
        f"{tmp_path}/policies/hour.rego; did you mean policies/hours.rego?"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert problems(BASE + f"listen: {{http: {{host: '{host}'}}}}\n") == []


def test_plain_http_elsewhere_is_a_word_of_its_own() -> None:
    assert problems(BASE + "listen: {http: {host: 10.0.0.1, insecure: true}}\n") == []
    assert problems(BASE + "listen: {http: {host: 10.0.0.1, unix_socket: wk.sock}}\n") == []


def test_all_rules_speak_at_once() -> None:
    text = BASE.replace("source: pager", "source: pagr") + "    policy: x\n    unvetted: [y]\nlinks: {a: {z: q}}\n"
    assert len(problems(text)) == 4


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (
            (
                "    policy: own\n  other: {kind: x, privileges: [read], opened_by: [{source: pager, service: P1}]}\n"
                "policies: {own: {files: [own.rego]}}\n"
            ),
            (
                "w:11:13: fleets.f: its resources have the policies default, own; expected resources with one policy "
                "in common; a fleet for each policy"
            ),
        ),
        (
            "    policy: own\npolicies: {own: {files: [own.rego], dialect: cyral}}\n",
            (
                "w:10:13: fleets.f: 'own' makes requests that only Watchkey itself answers; expected a policy in "
                "dialect v1 or v0"
            ),
        ),
        (
            "    policy: own\npolicies: {own: {url: 'http://127.0.0.1:8181', path: a/b}}\n",
            (
                "w:10:13: fleets.f: 'own' is in an OPA elsewhere, and a bundle is made of files; expected a policy "
                "with `files`"
            ),
        ),
    ],
)
def test_a_fleet_has_one_policy_that_an_opa_can_ask(policies: str, message: str) -> None:
    text = f"{BASE}{policies}callers: {{a: {{token_hashes: ['{HASH}']}}}}\nfleets: {{f: {{callers: [a]}}}}\n"
    assert message in problems(text)


def test_a_fleet_needs_its_key_and_something_to_decide_about() -> None:
    callers = f"callers: {{a: {{token_hashes: ['{HASH}']}}}}\n"
    fleet = "fleets: {f: {callers: [a], resources: [], signing: {key_file: none.key}}}\n"
    assert problems(BASE + callers + fleet) == [
        "w:8:13: fleets.f: there is nothing it could decide about; expected at least one resource",
        (
            "w:8:63: fleets.f.signing.key_file: there is no file 'none.key'; expected a file, looked for as "
            "/nowhere/none.key"
        ),
    ]
