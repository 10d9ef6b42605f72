"""The configuration against rosters: unknown pagers and people, with the id that was probably meant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import EscalationPolicy, Person, Roster, Schedule, Service
from watchkey.rules.roster import RosterIndex, index_roster
from watchkey.settings import Settings, Surroundings, check_against, parse_settings
from watchkey.settings.against import check_files

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PD = SourceName("pd")


@pytest.fixture
def roster() -> RosterIndex:
    return index_roster(
        Roster(
            source=PD,
            taken_at=NOW,
            window_ends_at=NOW + timedelta(days=3),
            people=(Person(id=PersonId("PANN"), name="Ann Adams", emails=("ann@example.com",)),),
            schedules=(Schedule(id="PSCHED1", name="Orders primary"),),
            policies=(EscalationPolicy(id="PPOL1", name="Orders"),),
            services=(Service(id="PSVC1", name="Orders API", policy="PPOL1"),),
        )
    )


def settings(pager: str, person: str = "PANN", directory: Path = Path("/nowhere")) -> Settings:
    text = (
        "sources: {pd: {kind: x}, other: {kind: x}}\nresources:\n  db:\n    kind: pg\n    privileges: [read]\n"
        f"    opened_by:\n      - {{source: pd, {pager}}}\nlinks:\n  ann: {{pd: {person}, other: whoever}}\n"
    )
    return parse_settings(text, file=Path("w"), surroundings=Surroundings(directory=directory))


@pytest.mark.parametrize("pager", ["service: PSVC1", "escalation_policy: PPOL1", "schedule: PSCHED1"])
def test_what_exists_is_right(pager: str, roster: RosterIndex) -> None:
    assert check_against(settings(pager), {PD: roster}) == ()


@pytest.mark.parametrize(
    ("pager", "said"),
    [
        ("service: PSVC2", "'pd' has no service 'PSVC2'; did you mean PSVC1?"),
        ("service: orders api", "'pd' has no service 'orders api'; did you mean PSVC1 (the id of 'Orders API')?"),
        (
            "schedule: Orders primry",
            "'pd' has no schedule 'Orders primry'; did you mean PSCHED1 (the id of 'Orders primary')?",
        ),
        ("service: PPOL1", "'pd' has no service 'PPOL1'; that is an escalation policy"),
        ("escalation_policy: zzzz", "'pd' has no escalation policy 'zzzz'"),
    ],
)
def test_an_unknown_pager_names_the_nearest(pager: str, said: str, roster: RosterIndex) -> None:
    (error,) = check_against(settings(pager), {PD: roster})
    kind = pager.partition(":")[0]
    column = len("      - {source: pd, ") + len(kind) + 3
    assert str(error) == f"w:7:{column}: resources.db.opened_by[0].{kind}: {said}"


@pytest.mark.parametrize("person", ["PANM", "ann@example.com", "Ann Adams"])
def test_an_unknown_person_names_the_id(person: str, roster: RosterIndex) -> None:
    (error,) = check_against(settings("service: PSVC1", person), {PD: roster})
    assert str(error) == f"w:9:13: links.ann.pd: 'pd' has no person {person!r}; did you mean PANN?"


def test_a_source_that_was_not_read_is_passed_over() -> None:
    assert check_against(settings("service: PSVC9", "PX"), {}) == ()


def test_several_come_in_the_order_of_the_file(roster: RosterIndex) -> None:
    errors = check_against(settings("service: zz", "yy"), {PD: roster})
    assert [error.line for error in errors] == [7, 9]


def test_the_key_must_be_there_and_its_owners_alone(tmp_path: Path) -> None:
    here = settings("service: PSVC1", directory=tmp_path)
    (missing,) = check_files(here)
    assert "watchkey init" in str(missing)
    key = tmp_path / "audit.key"
    key.touch(0o600)
    assert check_files(here) == ()
    key.chmod(0o640)
    (open_to_others,) = check_files(here)
    assert "has mode 0640, so others can sign; expected chmod 600" in str(open_to_others)
