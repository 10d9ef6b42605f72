"""`watchkey link`: proposals, a confirmed link in the file, and the nightly check with its memory."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.wiring.configured import ROSTER, configured
from watchkey.entrypoints.cli.link import write_link
from watchkey.entrypoints.cli.main import watchkey
from watchkey.model.access import Link
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.settings import ConfigError, load_settings

PEOPLE = """\
people:
  alice: {name: Alice, emails: [alice@example.com]}
  bob: {name: Bob, emails: [bob@example.com]}
  carol: {name: Carol, emails: [carol@example.com], active: false}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    configured(tmp_path)
    people(tmp_path, PEOPLE)
    return tmp_path


def people(folder: Path, text: str) -> None:
    rest = ROSTER[ROSTER.index("schedules:") :]
    (folder / "roster.yaml").write_text(text + rest)


def links(folder: Path, text: str) -> None:
    config = folder / "watchkey.yaml"
    old = config.read_text()
    start, end = old.index("links:"), old.index("sync:")
    config.write_text(old[:start] + text + old[end:])


def run(folder: Path, *words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(
        watchkey, ["--config", str(folder / "watchkey.yaml"), "link", *words], input=given, catch_exceptions=False
    )


def test_list_shows_the_people_behind_the_links(folder: Path) -> None:
    told = run(folder, "list")
    assert told.exit_code == 0
    assert "alice@example.com" in told.stdout
    rows = json.loads(run(folder, "list", "--json").stdout)
    assert rows[0] == {
        "subject": "alice", "source": "local", "person": "alice", "name": "Alice",
        "emails": ["alice@example.com"], "active": True,
    }  # fmt: skip


def test_proposals_come_from_addresses_and_open_nothing(folder: Path) -> None:
    links(folder, "links:\n  bob: {local: bob}\n")
    before = (folder / "watchkey.yaml").read_bytes()
    told = run(folder, "propose", "--from", "-", given="alice@example.com\n\ncarol@example.com\n")
    assert "alice@example.com  local   alice   Alice" in told.stdout
    assert "carol is not known to be active" in told.stdout
    assert "watchkey link confirm" in told.stdout
    assert (folder / "watchkey.yaml").read_bytes() == before
    rows = json.loads(run(folder, "propose", "--everybody", "--json").stdout)
    assert rows == [{"subject": "alice@example.com", "source": "local", "person": "alice", "why_not": None}]


def test_somebody_who_is_linked_already_is_not_proposed_again(folder: Path) -> None:
    told = run(folder, "propose", "--subject", "alice@example.com")
    assert "alice is linked already, to alice" in told.stdout
    assert "nothing to propose" in run(folder, "propose").stdout


def test_confirm_prints_the_lines_and_leaves_the_file_alone(folder: Path) -> None:
    links(folder, "links: {}\n")
    before = (folder / "watchkey.yaml").read_bytes()
    told = run(folder, "confirm", "bob@example.com", "local", "bob")
    assert told.stdout.endswith("links:\n  bob@example.com: {local: bob}\n")
    assert (folder / "watchkey.yaml").read_bytes() == before


def test_confirm_writes_one_link_and_keeps_the_rest(folder: Path) -> None:
    config = folder / "watchkey.yaml"
    links(folder, "# who is who\nlinks:\n  alice: {local: alice} # on call\n")
    config.chmod(0o640)
    before = config.read_text()
    told = run(folder, "confirm", "bob@example.com", "local", "bob", "--write")
    assert told.exit_code == 0, told.output
    assert config.read_text() == before.replace("  alice:", "  bob@example.com: {local: bob}\n  alice:")
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert [one.name for one in folder.iterdir() if one.name.startswith(".")] == []
    assert load_settings(config, environ={}).links[0].person == "bob"
    assert "already" in run(folder, "confirm", "bob@example.com", "local", "bob", "--write").stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("x@example.com", "local", "alice"), "linked to several subjects"),
        (("alice", "local", "bob"), "linked to several people"),
        (("carol", "local", "carol"), "not known to be active"),
        (("dave", "local", "dave"), "no person with the id dave"),
        (("аlice", "local", "carol"), "look the same"),
        (("caroаl", "local", "carol"), "mixes scripts"),
        (("carol\u200b", "local", "carol"), "characters that nobody sees"),
    ],
)
def test_confirm_says_what_speaks_against_it_and_writes_nothing(
    folder: Path, words: tuple[str, str, str], why: str
) -> None:
    before = (folder / "watchkey.yaml").read_bytes()
    told = run(folder, "confirm", *words, "--write")
    assert told.exit_code == 1
    assert why in told.output
    assert (folder / "watchkey.yaml").read_bytes() == before


def test_confirm_for_programs(folder: Path) -> None:
    told = run(folder, "confirm", "x@example.com", "local", "alice", "--json")
    assert (told.exit_code, len(json.loads(told.stdout)["objections"])) == (1, 1)
    links(folder, "links:\n  alice: {local: alice}\n")
    asked = ("confirm", "bob@example.com", "local", "bob", "--json")
    for more, is_written in (((), False), (("--write",), True)):
        told = run(folder, *asked, *more)
        assert json.loads(told.stdout) == {
            "subject": "bob@example.com",
            "source": "local",
            "person": "bob",
            "objections": [],
            "written": is_written,
        }


def test_confirm_needs_a_source_that_exists_and_answers(folder: Path) -> None:
    assert run(folder, "confirm", "x", "pager", "bob").exit_code == 2
    (folder / "roster.yaml").write_text("nonsense")
    with pytest.raises(Exception, match="could not be read"):
        run(folder, "confirm", "x", "local", "bob")


def test_the_check_remembers_and_tells_of_changed_addresses_until_accepted(folder: Path) -> None:
    assert run(folder, "check").exit_code == 0
    people(folder, PEOPLE.replace("bob@example.com", "bob@elsewhere.example"))
    for _ in range(2):
        told = run(folder, "check")
        assert told.exit_code == 1
        assert "email_changed" in told.stdout
        assert "bob@elsewhere.example" in told.stdout
    assert run(folder, "check", "--accept").exit_code == 0
    assert run(folder, "check").exit_code == 0


def test_leavers_and_their_names_are_found(folder: Path) -> None:
    run(folder, "check")
    people(folder, PEOPLE.replace("  bob: {name: Bob, emails: [bob@example.com]}\n", ""))
    gone = json.loads(run(folder, "check", "--json").stdout)
    assert [(one["trouble"], one["person"]) for one in gone] == [("gone", "bob")]
    links(folder, "links:\n  alice: {local: alice}\n")
    assert run(folder, "check").exit_code == 0
    people(folder, PEOPLE + "  bob2: {name: Bob, emails: [bob2@example.com]}\n")
    links(folder, "links:\n  alice: {local: alice}\n  bob: {local: bob2}\n")
    again = run(folder, "check")
    assert again.exit_code == 1
    assert "bob was bob of local before, and is bob2 now" in again.stdout
    links(folder, "links:\n  alice: {local: alice}\n")
    refused = run(folder, "confirm", "bob", "local", "bob2")
    assert refused.exit_code == 1
    assert "link check --accept" in refused.output


def test_links_that_contradict_each_other_are_findings_and_other_errors_are_not(folder: Path) -> None:
    links(folder, "links:\n  alice: {local: alice}\n  bob: {local: alice}\n")
    told = run(folder, "check")
    assert told.exit_code == 1
    assert "ambiguous" in told.stdout
    (folder / "watchkey.yaml").write_text("nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        run(folder, "check")


def test_a_source_that_does_not_answer_is_not_all_well(folder: Path) -> None:
    (folder / "roster.yaml").write_text("nonsense")
    assert run(folder, "check").exit_code == 3
    assert run(folder, "list").exit_code == 3


def test_a_memory_that_is_something_else_is_not_overwritten(folder: Path) -> None:
    (folder / "links-seen.json").write_text("my notes")
    with pytest.raises(Malformed, match="move it away"):
        run(folder, "check")
    assert (folder / "links-seen.json").read_text() == "my notes"


def test_a_text_that_would_be_no_configuration_is_not_written(folder: Path) -> None:
    config = folder / "watchkey.yaml"
    before = config.read_bytes()
    wanted = Link(subject=SubjectId("x"), source=SourceName("nowhere"), person=PersonId("P1"))
    with pytest.raises(ConfigError, match="nowhere"):
        write_link(config, wanted)
    assert config.read_bytes() == before
    config.write_text("{links: 1}")
    with pytest.raises(Refused):
        write_link(config, wanted)
