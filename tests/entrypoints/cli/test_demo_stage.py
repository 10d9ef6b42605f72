"""The demo's stage: its configuration is one that the service accepts, with and without a PostgreSQL."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import NOW
from watchkey.entrypoints.cli.demo_stage import HANDOFF_AFTER, PEOPLE, _configure, fill_account
from watchkey.settings import load_settings
from watchkey.simulator import Simulator
from watchkey.wiring import make_caller_token, source_configs


def test_the_configuration_of_the_demo_is_a_good_one(tmp_path: Path) -> None:
    _, token_hash = make_caller_token()
    path = _configure(tmp_path, "http://127.0.0.1:1", 8181, token_hash, None, 6432)
    settings = load_settings(path, environ={}, source_configs=source_configs())
    assert set(settings.resources) == {"orders-db", "checkout-db", "ledger-db"}
    assert settings.gateways == ()
    assert len(settings.links) == len(PEOPLE)
    for secret in ("pagerduty.token", "webhook.key", "audit.key"):
        assert (tmp_path / secret).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("after", "primary"), [(-timedelta(microseconds=1), "PALICE"), (timedelta(0), "PBOB")])
def test_the_rotas_hand_over_at_their_instants(after: timedelta, primary: str) -> None:
    simulator = Simulator(start=NOW)
    fill_account(simulator.world, NOW)
    at = NOW + HANDOFF_AFTER + after
    policy = simulator.world.policies["EORDERS"]
    assert [user for level, _, _, user in simulator.world.on_call(policy, at, at) if level == 1] == [primary]
