"""What the engine is given for a policy of the configuration."""

from pathlib import Path

import pytest

from tests.wiring.configured import configured
from watchkey import wiring
from watchkey.model.errors import Malformed, Refused
from watchkey.wiring.policies import content_hash, engines_of


def test_data_files_reach_the_policy(tmp_path: Path) -> None:
    (tmp_path / "freeze.json").write_text('{"frozen": true}')
    (tmp_path / "own.rego").write_text('package watchkey\ndecision := {"allow": data.frozen}')
    settings = configured(tmp_path, "policy: own", "\npolicies:\n  own: {files: [own.rego, freeze.json]}\n")
    config = wiring.policy_config(settings.policies["own"])
    assert config.data == {"frozen": True}
    for wrong in ("[1]", "{", '{"a":' * 100_000 + "1" + "}" * 100_000):
        (tmp_path / "freeze.json").write_text(wrong)
        with pytest.raises(Malformed, match=r"freeze\.json"):
            wiring.policy_config(settings.policies["own"])


def test_a_policy_that_is_elsewhere_has_no_files_here_and_is_known_by_where_it_is(tmp_path: Path) -> None:
    more = "\npolicies:\n  fleet: {engine: opa, url: 'http://127.0.0.1:1', path: a/b}\n"
    settings = configured(tmp_path, "policy: fleet", more)
    with pytest.raises(Refused, match=r"policy fleet is in the OPA at http://127\.0\.0\.1:1"):
        wiring.policy_config(settings.policies["fleet"])
    (engine,) = engines_of(settings).values()
    assert content_hash(engine) != engine.policy_hash
    (same,) = engines_of(settings).values()
    assert content_hash(engine) == content_hash(same)


def test_an_opa_in_the_open_stops_the_start(tmp_path: Path) -> None:
    more = "\npolicies:\n  fleet: {engine: opa, url: 'http://opa.example.com'}\n"
    with pytest.raises(Refused, match="not encrypted"):
        wiring.build(configured(tmp_path, "policy: fleet", more))


@pytest.mark.parametrize(("said", "is_strict"), [("", True), (", strict_errors: false", False)])
def test_how_errors_count_reaches_the_engine(tmp_path: Path, said: str, *, is_strict: bool) -> None:
    (tmp_path / "own.rego").write_text("package watchkey")
    settings = configured(tmp_path, "policy: own", f"\npolicies:\n  own: {{files: [own.rego]{said}}}\n")
    assert wiring.policy_config(settings.policies["own"]).strict_errors is is_strict
