"""What the engine is given for a policy of the configuration."""

from pathlib import Path

import pytest

from tests.wiring.configured import configured
from watchkey import wiring
from watchkey.model.errors import Malformed


def test_data_files_reach_the_policy(tmp_path: Path) -> None:
    (tmp_path / "freeze.json").write_text('{"frozen": true}')
    (tmp_path / "own.rego").write_text('package watchkey\ndecision := {"allow": data.frozen}')
    settings = configured(tmp_path, "policy: own", "\npolicies:\n  own: {files: [own.rego, freeze.json]}\n")
    config = wiring.policy_config(settings.policies["own"])
    assert config.data == {"frozen": True}
    (tmp_path / "freeze.json").write_text("[1]")
    with pytest.raises(Malformed, match=r"freeze\.json"):
        wiring.policy_config(settings.policies["own"])
