"""`watchkey source`: what it shows of a source, its exit codes, and the files it begins."""

import asyncio
import importlib.util
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.contracts.source_case import NOW, WINDOW, SourceCase
from tests.entrypoints.cli.test_confirm import serving
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import replying
from watchkey import sources
from watchkey.entrypoints.cli.init import write_example
from watchkey.entrypoints.cli.main import main, watchkey
from watchkey.entrypoints.cli.source import section, write_adapter
from watchkey.model.errors import Refused
from watchkey.model.ids import SourceName
from watchkey.rules.roster import index_roster
from watchkey.simulator import READ_TOKEN, Simulator, in_thread
from watchkey.simulator.sample import fill
from watchkey.sources import icalendar
from watchkey.wiring import source_configs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    assert CliRunner().invoke(watchkey, ["init", str(tmp_path)]).exit_code == 0
    return tmp_path


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(directory / "watchkey.yaml"), "source", *words])


def change(directory: Path, was: str, becomes: str) -> None:
    file = directory / "watchkey.yaml"
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, becomes))


def test_it_shows_people_with_their_links_and_who_is_on_call_now_and_next(directory: Path) -> None:
    result = run(directory, "test", "local")
    assert result.exit_code == 0, result.output
    assert "local: read completely, asked nobody" in result.output
    assert "escalation_policy" in result.output
    assert "level 1" in result.output
    assert "linked to" in result.output
    assert "nothing is missing" in result.output


def test_the_same_for_programs(directory: Path) -> None:
    result = run(directory, "test", "local", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.output)
    assert (answer["source"], answer["requests"], answer["missing"]) == ("local", None, [])
    assert {person["subject"] for person in answer["people"]} >= {"alice", "bob"}
    assert any(scope["now"] for scope in answer["on_call"])


def test_what_is_missing_is_named_and_is_a_finding(directory: Path) -> None:
    change(directory, "service: orders}", "service: ordrs}")
    change(directory, "bob: {local: bob}", "bob: {local: robert}")
    result = run(directory, "test", "local")
    assert result.exit_code == 1
    assert "opened by local/service/ordrs, which the source does not know" in result.output
    assert "bob is linked to robert, whom the source does not know" in result.output


def test_a_holder_who_is_linked_to_nobody_is_a_finding(directory: Path) -> None:
    file = directory / "watchkey.yaml"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "{local: " not in line) + "\n")
    change(directory, "\nlinks:", "\nlinks: {}\n#links:")
    result = run(directory, "test", "local")
    assert result.exit_code == 1
    assert "on call now and linked to nobody" in result.output


@pytest.mark.parametrize(("ahead", "is_too_far"), [(0, False), (30, False), (3600, True), (-3600, True)])
def test_a_clock_that_is_far_off_is_a_finding(ahead: int, directory: Path, *, is_too_far: bool) -> None:
    now = datetime.now(UTC)  # noqa: TID251 -- the command itself has the real time
    simulator = Simulator(start=now + timedelta(seconds=ahead))
    fill(simulator.world)
    with in_thread(simulator):
        section = f"    kind: pagerduty\n    token: {{file: token}}\n    base_url: {simulator.base_url}"
        change(directory, "    kind: roster_file\n    path: roster.yaml", section)
        (directory / "token").write_text(READ_TOKEN)
        (directory / "token").chmod(0o600)
        result = run(directory, "test", "local")
    assert result.exit_code == 1, "others are missing in any case"
    assert ("s from ours, at most 60 s are believed: no resource opens" in result.output) is is_too_far


def test_a_source_that_is_not_configured_is_a_misuse_that_names_the_others(directory: Path) -> None:
    result = run(directory, "test", "pager")
    assert result.exit_code == 2
    assert "there is local" in result.output


def test_a_source_that_cannot_be_read_cannot_be_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "roster.yaml").unlink()
    with pytest.raises(SystemExit) as left:
        main(["--config", str(directory / "watchkey.yaml"), "source", "test", "local"])
    assert left.value.code == 3
    assert "roster.yaml" in capsys.readouterr().err


def test_every_kind_is_listed_with_what_it_must_have(directory: Path) -> None:
    result = run(directory, "kinds", "--json")
    listed = json.loads(result.output)
    assert sorted(listed) == sorted(source_configs())
    assert listed["pagerduty"] == ["token"]
    assert "required keys" in run(directory, "kinds").output


@pytest.mark.parametrize("kind", sorted(source_configs()))
def test_a_section_is_yaml_with_everything_that_is_required(kind: str, directory: Path) -> None:
    result = run(directory, "add", kind, "my-one")
    assert result.exit_code == 0
    written = yaml.safe_load(result.output)["sources"]["my-one"]
    assert written.pop("kind") == kind
    required = set(json.loads(run(directory, "kinds", "--json").output)[kind])
    assert set(written) == required


@pytest.mark.parametrize("name", ["a b", "x: {", "", "-x", "x\n", "ä", "x" * 65])
def test_a_name_that_the_configuration_would_refuse_is_refused_here(name: str, directory: Path) -> None:
    result = run(directory, "add", "pagerduty", "--", name)
    assert result.exit_code == 2
    assert "is no name for a source" in result.output


def test_a_secret_is_asked_for_from_the_environment() -> None:
    text = section("icalendar", "main-feed", icalendar.Config)
    assert "url: {env: MAIN_FEED_URL}" in text
    assert "    # schedule:" in text


def test_an_unknown_kind_names_the_known_ones(directory: Path) -> None:
    result = run(directory, "add", "acme", "main")
    assert result.exit_code == 2
    assert "pagerduty" in result.output
    assert "--adapter" in result.output


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("src/watchkey/sources", "tests/contracts/vendors", "tests/sources"):
        (tmp_path / "checkout" / folder).mkdir(parents=True)
    return tmp_path / "checkout"


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the structs of the adapter look their module up
    spec.loader.exec_module(module)
    return module


def test_the_adapter_that_is_begun_works(checkout: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(directory, "add", "acme", "main", "--adapter", str(checkout))
    assert result.exit_code == 0, result.output
    adapter, case_file, test_file = (Path(line) for line in result.output.splitlines())
    monkeypatch.setitem(sys.modules, "watchkey.sources.acme", ModuleType("acme"))
    monkeypatch.setattr(sources, "acme", load("watchkey.sources.acme", adapter), raising=False)
    monkeypatch.setitem(sys.modules, "tests.contracts.vendors.acme", ModuleType("acme"))
    case: SourceCase = load("tests.contracts.vendors.acme", case_file).CASE

    async def go() -> set[tuple[str, int | None]]:
        async with replying(case.reply) as server:
            source = case.build(server.url, HastyClock(NOW), SourceName("s"))
            roster = await source.fetch(now=NOW, window=WINDOW)
            await source.close()
            index_roster(roster)
            return {(shift.person, shift.level) for shift in roster.shifts if shift.covers(NOW)}

    assert asyncio.run(go()) == case.holders
    load("test_acme", test_file).test_who_has_left_is_inactive()
    del sys.modules["test_acme"]


def test_nothing_is_overwritten_and_nothing_written_elsewhere(checkout: Path, tmp_path: Path) -> None:
    write_adapter(checkout, "acme")
    with pytest.raises(Refused, match="is there already"):
        write_adapter(checkout, "acme")
    with pytest.raises(Refused, match="no checkout"):
        write_adapter(tmp_path, "other")
    for bad in ("Acme", "a-b", "../x", "é"):
        with pytest.raises(Refused, match="is none"):
            write_adapter(checkout, bad)


def test_an_operator_looks_at_a_held_read_and_lets_in_exactly_that_one(tmp_path: Path) -> None:
    token = write_example(tmp_path, is_forced=False).token.reveal()
    change(tmp_path, "    trusted: true", "    admin: true\n    trusted: true")
    change(tmp_path, "poll: 30s", "poll: 1s")
    roster = tmp_path / "roster.yaml"
    with serving(tmp_path) as url:
        given = {"WATCHKEY_SERVER": url, "WATCHKEY_TOKEN": token}

        def ask(*words: str) -> Result:
            config = str(tmp_path / "watchkey.yaml")
            return CliRunner().invoke(watchkey, ["--config", config, "source", "accept", "local", *words], env=given)

        nothing = ask()
        assert (nothing.exit_code, "no read of that source is held back" in nothing.output) == (1, True)
        roster.write_text(yaml.safe_dump({"people": yaml.safe_load(roster.read_text())["people"]}))
        held = ask("--json")
        for _ in range(100):
            if held.stdout.startswith("{"):
                break
            time.sleep(0.2)
            held = ask("--json")
        digest = json.loads(held.stdout)["digest"]
        shown = ask()
        assert (shown.exit_code, "LOSES IT" in shown.output, digest in shown.output) == (1, True, True)
        assert "empty is taken for a fault" in shown.output
        wrong = ask("--digest", "0" * 64)
        assert (wrong.exit_code, "another one by now" in wrong.output) == (1, True)
        done = ask("--digest", digest)
        assert (done.exit_code, "the read counts" in done.output) == (0, True)
        assert ask().exit_code == 1
