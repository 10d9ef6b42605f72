"""Who may vouch for whose shift, what it opens and for how long, and that nothing counts unrecorded."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import HOUR, NOW, SOURCE, links, resource, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from watchkey.flows.confirm_shift import ConfirmationRules, ConfirmShift, DoubtfulShift, Voucher
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.sync_roster import SyncRoster
from watchkey.model.access import Caller, Resource, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId, PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Person, Provenance, Scope, ScopeKind, Shift
from watchkey.rules.confirmation import Confirmation
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.rules.roster import GuardLimits
from watchkey.stores.memory import MemoryRosters

WEAK = shift(provenance=Provenance.SELF_OVERRIDE, created_by=PersonId("PALICE"))


class Desk:
    """The use case on real reading and keeping."""

    def __init__(
        self,
        *shifts: Shift,
        resources: tuple[Resource, ...] = (resource(),),
        linked: Links | None = None,
        rules: ConfirmationRules | None = None,
        memory: DictMemory | None = None,
        rosters: MemoryRosters | None = None,
        **changes: Any,
    ) -> None:
        self.clock, self.audit, self.memory = DrivenClock(NOW), MemoryAudit(), memory or DictMemory()
        self.source = ScriptedSource(roster(*(shifts or (WEAK,)), **changes))
        self.rosters = rosters or MemoryRosters()
        self.directory = Directory(resources={one.id: one for one in resources}, links=linked or links())
        self.words = KeepConfirmations(memory=self.memory, audit=self.audit, clock=self.clock).recall()
        self.sync = SyncRoster(
            clock=self.clock,
            sources=[self.source],
            rosters=self.rosters,
            audit=self.audit,
            memory=KeepRoster(memory=self.memory, clock=self.clock),
            sightings={},
            limits=GuardLimits(),
            window=timedelta(hours=72),
            poll_every=timedelta(seconds=30),
            words=self.words,
        )
        self.flow = ConfirmShift(
            clock=self.clock,
            reads=self.sync,
            known=lambda: self.directory,
            audit=self.audit,
            words=self.words,
            sources=[SOURCE, SourceName("elsewhere")],
            rules=rules or ConfirmationRules(),
        )

    def read(self) -> "Desk":
        asyncio.run(self.sync.sync(SOURCE))
        return self

    def listed(self, who: str = "bob") -> tuple[DoubtfulShift, ...]:
        return self.flow.doubtful(person(who))

    def confirm(self, who: str = "bob", *, groups: tuple[str, ...] = (), shift_id: str | None = None) -> Confirmation:
        shift_id = shift_id or self.listed("carol")[0].id
        return asyncio.run(self.flow.confirm(shift_id, person(who, *groups)))

    def withdraw(self, who: str = "bob") -> None:
        asyncio.run(self.flow.withdraw(self.listed("carol")[0].id, person(who)))

    def grades(self) -> list[Provenance]:
        return [one.provenance for one in self.rosters.held()[SOURCE].index.roster.shifts]

    def noted(self) -> list[str]:
        return [event.what for event in self.audit.events if isinstance(event, Noted)]


def person(name: str, *groups: str) -> Voucher:
    return Voucher(
        subject=Subject(id=SubjectId(name), groups=frozenset(groups)), issuer=Caller(id=CallerId("sso"), resources=None)
    )


def test_a_second_person_raises_the_shift_at_once_and_it_is_recorded_first() -> None:
    desk = Desk().read()
    (listed,) = desk.listed()
    assert (listed.name, listed.subject, listed.resources) == ("alice", "alice", ("orders-db",))
    assert (listed.confirmed, listed.why_not) == (None, "")
    word = desk.confirm()
    assert (word.by, word.until) == ("bob", WEAK.ends_at)
    assert desk.grades() == [Provenance.OTHER_OVERRIDE]
    assert desk.listed()[0].confirmed == word
    noted = next(event for event in desk.audit.events if isinstance(event, Noted))
    assert (noted.what, noted.caller) == ("shift.confirmed", "sso")
    assert noted.fields == {
        "by": "bob",
        "source": SOURCE,
        "shift": listed.id,
        "person": "PALICE",
        "subject": "alice",
        "schedule": "orders-primary",
        "policy": "orders-policy",
        "level": 1,
        "starts_at": "2026-07-01T11:00:00+00:00",
        "ends_at": "2026-07-01T12:30:00+00:00",
        "grade": "self_override",
        "resources": ["orders-db"],
        "until": "2026-07-01T12:30:00+00:00",
    }
    assert desk.confirm("carol") == word
    assert desk.noted() == ["shift.confirmed"]


def test_nobody_vouches_for_himself() -> None:
    desk = Desk().read()
    with pytest.raises(Refused, match="second person"):
        desk.confirm("alice")
    assert "second person" in desk.listed("alice")[0].why_not
    assert (desk.grades(), desk.noted()) == ([Provenance.SELF_OVERRIDE], [])


@pytest.mark.parametrize(
    ("who", "linked", "changes", "words"),
    [
        ("dave", None, {}, "not linked"),
        ("bob", links(("alice", "PALICE"), ("carol", "PCAROL"), ("bob", "PNOBODY")), {}, "not known to be active"),
        ("bob", links(("alice", "PALICE"), ("carol", "PCAROL"), ("bob", "PBOB"), ("bob2", "PBOB")), {}, "several"),
        ("B\u043eb", links(("alice", "PALICE"), ("carol", "PCAROL"), ("Bob", "PBOB"), ("B\u043eb", "P2")), {}, "same"),
    ],
)
def test_who_is_not_one_active_person_of_the_source_vouches_for_nothing(
    who: str, linked: Links | None, changes: dict[str, Any], words: str
) -> None:
    desk = Desk(linked=linked, **changes).read()
    with pytest.raises(Refused):
        desk.confirm(who)
    assert desk.listed(who) == ()
    assert words in str(desk.flow._house_of(SubjectId(who), SOURCE))
    assert (desk.grades(), desk.noted()) == ([Provenance.SELF_OVERRIDE], [])


@pytest.mark.parametrize("active", [False, None])
def test_a_leaver_vouches_for_nothing(*, active: bool | None) -> None:
    people = tuple(replace(one, active=active) if one.id == "PBOB" else one for one in roster().people)
    desk = Desk(people=people).read()
    with pytest.raises(Refused):
        desk.confirm("bob")
    assert desk.grades() == [Provenance.SELF_OVERRIDE]


def test_who_vouches_is_eligible_for_everything_that_the_shift_opens() -> None:
    strict = resource(id=ResourceId("billing-db"), eligible_groups=frozenset({"dba"}))
    desk = Desk(resources=(resource(), strict)).read()
    with pytest.raises(Refused, match="billing-db, for which bob is not eligible"):
        desk.confirm("bob", groups=("staff",))
    assert desk.grades() == [Provenance.SELF_OVERRIDE]
    desk.directory = replace(desk.directory, groups={SubjectId("bob"): frozenset({"dba"})})
    desk.confirm("bob")
    assert desk.grades() == [Provenance.OTHER_OVERRIDE]


def test_a_caller_answers_for_people_on_its_own_resources_only() -> None:
    desk = Desk(resources=(resource(), resource(id=ResourceId("billing-db")))).read()
    narrow = Caller(id=CallerId("narrow"), resources=frozenset({ResourceId("orders-db")}), is_trusted=True)
    shift_id = desk.listed()[0].id
    with pytest.raises(Refused, match="billing-db, for which narrow may not say"):
        asyncio.run(desk.flow.confirm(shift_id, replace(person("bob"), issuer=narrow)))
    assert desk.grades() == [Provenance.SELF_OVERRIDE]


def test_a_configured_group_may_vouch_and_nobody_else() -> None:
    desk = Desk(rules=ConfirmationRules(groups=frozenset({"leads"}))).read()
    with pytest.raises(Refused, match="leads"):
        desk.confirm("bob")
    desk.confirm("bob", groups=("leads",))
    assert desk.grades() == [Provenance.OTHER_OVERRIDE]


def test_the_word_is_for_the_shift_that_was_looked_at() -> None:
    desk = Desk().read()
    seen = desk.listed()[0].id
    desk.source.answers.append(roster(replace(WEAK, ends_at=NOW + HOUR)))
    desk.source.answers.popleft()
    desk.read()
    with pytest.raises(Refused, match="if it changed"):
        desk.confirm(shift_id=seen)
    assert desk.grades() == [Provenance.SELF_OVERRIDE]


def test_a_long_shift_is_vouched_for_again_before_the_word_ends() -> None:
    long = replace(WEAK, ends_at=NOW + timedelta(days=3))
    desk = Desk(long, rules=ConfirmationRules(lasts_max=HOUR)).read()
    first = desk.confirm()
    assert first.until == NOW + HOUR
    assert desk.grades() == [Provenance.OTHER_OVERRIDE, Provenance.SELF_OVERRIDE]
    desk.clock.advance(HOUR / 2)
    second = desk.confirm("carol")
    assert (second.until, desk.listed()[0].confirmed) == (NOW + 1.5 * HOUR, second)
    desk.withdraw()
    assert (desk.grades(), desk.words.standing(SOURCE)) == ([Provenance.SELF_OVERRIDE], [])


@pytest.mark.parametrize("where", ["audit", "memory"])
def test_a_word_that_cannot_be_recorded_or_kept_does_not_count(where: str) -> None:
    desk = Desk().read()
    getattr(desk, where).fails = True
    with pytest.raises(Unavailable):
        desk.confirm()
    assert (desk.grades(), desk.words.standing(SOURCE)) == ([Provenance.SELF_OVERRIDE], [])


def test_anybody_of_the_source_takes_a_word_back_whatever_the_log_says() -> None:
    desk = Desk().read()
    with pytest.raises(Refused, match="nobody has vouched"):
        desk.withdraw()
    desk.confirm()
    desk.withdraw("alice")
    assert (desk.grades(), desk.noted()) == (
        [Provenance.SELF_OVERRIDE],
        ["shift.confirmed", "shift.confirmation_withdrawn"],
    )
    desk.confirm()
    desk.audit.fails = desk.memory.fails = True
    with pytest.raises(Unavailable):
        desk.withdraw()
    assert desk.grades() == [Provenance.SELF_OVERRIDE]
    with pytest.raises(Refused):
        desk.withdraw("dave")


def test_it_counts_after_a_restart_while_the_source_is_down_and_ends_there_too() -> None:
    desk = Desk().read()
    desk.confirm()
    restored = KeepRoster(memory=desk.memory, clock=desk.clock).restore(SOURCE)
    assert restored is not None
    again = Desk(memory=desk.memory, rosters=MemoryRosters({SOURCE: desk.rosters.held()[SOURCE]}))
    assert [one.provenance for one in restored.index.roster.shifts] == again.grades() == [Provenance.OTHER_OVERRIDE]
    again.read()
    assert again.grades() == [Provenance.OTHER_OVERRIDE]
    again.withdraw()
    assert again.grades() == [Provenance.SELF_OVERRIDE]


def test_only_what_would_open_something_needs_a_word() -> None:
    over = replace(WEAK, starts_at=NOW - 3 * HOUR, ends_at=NOW - HOUR)
    other_pager = replace(WEAK, policy="other", schedule="other")
    too_high = replace(WEAK, level=2)
    fine = shift("PBOB")
    permanent = replace(WEAK, end_kind=EndKind.PERMANENT, ends_at=None, provenance=Provenance.UNKNOWN)
    desk = Desk(over, other_pager, too_high, fine, permanent).read()
    assert desk.listed("carol") == ()
    by_schedule = resource(scopes=(Scope(SOURCE, ScopeKind.SCHEDULE, "orders-primary"),))
    assert len(Desk(replace(WEAK, level=None), resources=(by_schedule,)).read().listed("carol")) == 1


def test_without_a_roster_there_is_nothing_to_vouch_for() -> None:
    desk = Desk()
    assert desk.listed() == ()
    with pytest.raises(Refused, match="no roster of pager"):
        desk.confirm(shift_id="x")


def test_a_holder_whom_nobody_knows_is_named_by_id() -> None:
    ghost = shift("PGHOST", provenance=Provenance.SELF_OVERRIDE)
    desk = Desk(ghost, people=(Person(id=PersonId("PBOB"), name="bob"),)).read()
    (listed,) = desk.listed()
    assert (listed.name, listed.subject, listed.why_not) == ("PGHOST", None, "")
