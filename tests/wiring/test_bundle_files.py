"""Bundles without a service: the number that was asked for, nothing recorded, nothing made by half."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.wiring.configured import configured
from tests.wiring.test_fleets import FLEET, SIGNED
from watchkey.model.errors import Refused, Unavailable
from watchkey.rules.bundle_signature import public_pem
from watchkey.settings.values import VerificationSettings
from watchkey.wiring import build_bundle, create_bundle_key, opa_configuration, open_bundle, open_desk
from watchkey.wiring.fleets import bundle_key


def test_a_bundle_has_the_number_that_was_asked_for_and_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = configured(tmp_path, more=FLEET)

    async def scenario() -> tuple[int, str]:
        made = await build_bundle(await open_desk(settings), settings.fleets["prod"], 41)
        return made.revision, made.manifest.revision

    assert asyncio.run(scenario()) == (41, "41")
    assert not (tmp_path / "watchkey.db").exists()


def test_what_is_written_here_is_read_here(tmp_path: Path) -> None:
    create_bundle_key(tmp_path / "bundle.key", "ES256")
    settings = configured(tmp_path, more=SIGNED)
    fleet = settings.fleets["prod"]
    key = bundle_key(fleet)
    assert key is not None
    (tmp_path / "public.pem").write_text(public_pem(key))

    async def scenario() -> bytes:
        return (await build_bundle(await open_desk(settings), fleet, 41)).snapshot

    (tmp_path / "b.tar.gz").write_bytes(asyncio.run(scenario()))
    public = VerificationSettings(key_file=tmp_path / "public.pem", algorithm="ES256", key_id="watchkey", scope="s")
    read = open_bundle(tmp_path / "b.tar.gz", public)
    assert (read.declared, read.is_signed) == (41, True)
    assert read.data["watchkey"]["resources"]["orders-db"]["needs"] == "on_call"
    other = replace(public, scope="another")
    with pytest.raises(Refused):
        open_bundle(tmp_path / "b.tar.gz", other)


def test_without_a_roster_there_is_none(tmp_path: Path) -> None:
    settings = configured(tmp_path, more=FLEET)
    (tmp_path / "roster.yaml").unlink()

    async def scenario() -> None:
        with pytest.raises(Unavailable, match="no complete roster yet of local"):
            await build_bundle(await open_desk(settings), settings.fleets["prod"], 1)

    asyncio.run(scenario())


def test_a_key_is_made_once(tmp_path: Path) -> None:
    create_bundle_key(tmp_path / "k", "EdDSA")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="there already"):
        create_bundle_key(tmp_path / "k", "EdDSA")
    with pytest.raises(Unavailable):
        create_bundle_key(tmp_path / "none" / "k", "EdDSA")


def test_an_opa_is_told_where_to_pull_and_to_report(tmp_path: Path) -> None:
    told = opa_configuration(configured(tmp_path, more=FLEET).fleets["prod"], "http://w")
    assert set(told) == {"services", "bundles", "decision_logs", "status"}
    assert told["bundles"]["prod"]["service"] == told["status"]["service"] == told["decision_logs"]["service"]
