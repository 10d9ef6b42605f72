"""The simulation with fires in it: incidents, escalations, overrides, grades, two sources, and the shipped policy.

The machine of `test_simulation` goes on as it is; this one adds what happens at incidents, a second provider that comes
and goes by itself, and resources for each kind of fact. Its oracle, again, shares no code with the product.
"""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.builders import HOUR, NOW, SERVICE, SOURCE, incident, resource, responder, roster, shift
from tests.fakes.engine import ScriptedEngine
from tests.fakes.source import ScriptedSource
from tests.properties.planting import Mutant
from tests.properties.test_simulation import AGE_MAX, STEP, TURNS, Nights, explore
from watchkey.model.access import Allow, Decision, Link, Needs, Reason, Resource, StaleMode
from watchkey.model.errors import Unavailable
from watchkey.model.ids import IncidentId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import (
    EscalationPolicy,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Roster,
    Scope,
    ScopeKind,
    Service,
    Shift,
)
from watchkey.ports import PolicyEngine
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.wiring import policy_engine

OTHER = SourceName("other")
ELSEWHERE = Scope(OTHER, ScopeKind.SERVICE, "orders")
STOCK = Scope(SOURCE, ScopeKind.SERVICE, "stock")
GRACE = 2 * STEP
READ = frozenset({PrivilegeName("read")})
OPENS_ALL = {Provenance.ROTA, Provenance.SWAP, Provenance.OTHER_OVERRIDE}
AT_IT = {Involvement.ACKNOWLEDGED, Involvement.JOINED}
DECLARED = {"orders": ("web",)}
"""The configuration says that web depends on orders; the source itself, that orders depends on stock."""


def guarded(name: str, **changes: object) -> Resource:
    fields: dict[str, object] = {"id": ResourceId(name), "age_max": AGE_MAX, "stale_mode": StaleMode.INCUMBENT}
    return resource(**(fields | changes))


RESOURCES = (
    guarded("fire-db", needs=Needs.RESPONDING, incident_grace=GRACE),
    guarded("stock-db", needs=Needs.RESPONDING, scopes=(STOCK,), blast_opens=READ, blast_depth=1, incident_grace=GRACE),
    guarded("second-db", needs=Needs.ON_CALL, max_level=2, level_follows_escalation=True),
    guarded("two-db", needs=Needs.ON_CALL, scopes=(SERVICE, ELSEWHERE), stale_mode=StaleMode.STRICT),
)
WHERE = sorted(one.id for one in RESOURCES)
LINKS = Links(
    [
        Link(subject=SubjectId(name), source=source, person=PersonId(f"P{name.upper()}"))
        for name in ("alice", "bob")
        for source in (SOURCE, OTHER)
    ]
)
STANDING = shift("PCAROL", level=3, schedule="standing", starts_at=NOW - HOUR, ends_at=NOW + 5000 * HOUR)
"""Keeps the other provider from ever being empty."""
ENGINE = policy_engine(None)

PEOPLE = st.sampled_from(["PALICE", "PBOB"])
PARTS = st.sampled_from([*Involvement, Involvement.ACKNOWLEDGED, Involvement.JOINED])


@dataclass(frozen=True)
class Seen:
    """What the oracle knows of a read that was taken over."""

    shifts: tuple[Shift, ...]
    at: datetime
    fires: tuple[Incident, ...] = ()


@dataclass(frozen=True)
class Part:
    """Somebody's part in an incident, as an allow rests on it."""

    fire: IncidentId
    how: Involvement
    is_vetted: bool


@dataclass(frozen=True)
class Held:
    """What an allow rested on, and how long it was good for."""

    parts: frozenset[Part]
    until: datetime


class Fires(Nights):
    """The machine."""

    reached: ClassVar[Counter[str]] = Counter()
    directory: ClassVar[Directory] = Directory(
        resources={one.id: one for one in RESOURCES}, links=LINKS, dependents={SOURCE: DECLARED}
    )
    asks = tuple((one.id, privilege) for one in RESOURCES for privilege in ("read", "write"))

    def __init__(self) -> None:
        self.fires: list[Incident] = []
        self.other_rota: list[Shift] = []
        self.is_other_up = True
        self.other_last: Seen | None = None
        self.other_kept: Seen | None = None
        self.held: dict[tuple[str, str, str], Held] = {}
        self.partings: dict[tuple[str, str, str], dict[tuple[str, str], tuple[Part, datetime]]] = {}
        super().__init__()

    def make_engine(self) -> PolicyEngine:
        return ENGINE

    def start(self) -> None:
        self.sources.setdefault(OTHER, ScriptedSource(roster(), name=OTHER))
        self.held, self.partings = {}, {}
        self.other_last = self.other_kept
        super().start()

    # --- what happens

    @initialize(target=None)
    def second_read(self) -> None:
        self.fires = [
            incident(id=IncidentId(f"Q{opener}"), status=IncidentStatus.TRIGGERED, escalation_level=1, opened_by=opener)
            for opener in (None, "PALICE")
        ]
        self.rota.append(shift("PBOB", level=2, starts_at=NOW - STEP, ends_at=NOW + 6 * STEP))
        self.read()
        self.read_other()

    @rule(opener=st.sampled_from(["machine", "nobody knows", "PALICE", "PBOB", "PCAROL"]),
          where=st.sampled_from(["orders", "orders", "web"]), known=st.booleans())  # fmt: skip
    def breaks(self, opener: str, where: str, *, known: bool) -> None:
        fire = incident(
            id=IncidentId(f"Q{next(self.names)}"),
            service=where,
            status=IncidentStatus.TRIGGERED,
            opened_by=opener if opener.startswith("P") else None,
            is_opened_by_machine=opener == "machine",
            escalation_level=1 if known else None,
        )
        self.fires = [*self.fires[-2:], fire]
        self.hint()

    def hint(self) -> None:
        """A webhook, when the provider is up: what happens at a fire is read at once."""
        if self.is_up:
            self.read()

    @precondition(lambda self: self.fires)
    @rule(
        which=st.integers(0, 2),
        who=PEOPLE,
        how=st.sampled_from([*Involvement, Involvement.ACKNOWLEDGED, Involvement.JOINED]),
    )
    def takes_part(self, which: int, who: str, how: Involvement) -> None:
        """Acknowledges, joins, is assigned, asked, declines; of one person the last word counts."""
        role = "scribe" if how is Involvement.ROLE else None
        self.change(which, lambda fire: (*_without(fire, who), responder(who, how, role=role)))

    @precondition(lambda self: self.fires)
    @rule(which=st.integers(0, 2), who=PEOPLE)
    def leaves(self, which: int, who: str) -> None:
        self.change(which, lambda fire: _without(fire, who))

    @precondition(lambda self: self.fires)
    @rule(which=st.integers(0, 2), level=st.sampled_from([2, 2, 3, None]))
    def escalates(self, which: int, level: int | None) -> None:
        """To a level, or to one that the provider does not tell."""
        i = which % len(self.fires)
        self.fires[i] = replace(self.fires[i], escalation_level=level)
        self.hint()

    @precondition(lambda self: self.fires)
    @rule(which=st.integers(0, 2))
    def resolves(self, which: int) -> None:
        del self.fires[which % len(self.fires)]
        self.hint()

    def change(self, which: int, to: object) -> None:
        i = which % len(self.fires)
        self.fires[i] = replace(self.fires[i], responders=to(self.fires[i]))  # type: ignore[operator]  # of one fire
        self.hint()

    @precondition(lambda self: self.rota)
    @rule(which=st.integers(0, 8), who=PEOPLE, grade=st.sampled_from(list(Provenance)))
    def override(self, which: int, who: str, grade: Provenance) -> None:
        """The rest of a turn goes to somebody, by a hand of that grade."""
        i = which % len(self.rota)
        turn, now = self.rota[i], self.clock.now()
        if grade is Provenance.PERMANENT or not turn.covers(now) or turn.starts_at == now:
            return
        name = f"s{next(self.names)}"
        rest = replace(turn, person=PersonId(who), starts_at=now, provenance=grade, created_by=PersonId("PX"),
                       schedule=name)  # fmt: skip
        self.rota[i : i + 1] = [replace(turn, ends_at=now), rest]

    @rule(turns=st.lists(TURNS, min_size=1, max_size=2))
    def plans_elsewhere(self, turns: list[tuple[str, int, int, int, Provenance]]) -> None:
        base = NOW + STEP * ((self.clock.now() - NOW) // STEP)
        for who, start, length, level, grade in turns:
            begin, end, name = base + STEP * start, base + STEP * (start + length), f"s{next(self.names)}"
            turn = shift(who, starts_at=begin, ends_at=end, level=level, provenance=grade, schedule=name)
            self.other_rota = [*self.other_rota[-4:], turn]

    @rule(fails=st.sampled_from([False, False, False, True]))
    def the_disk_changes_its_mind(self, *, fails: bool) -> None:  # type: ignore[override]  # mostly it works
        self.audit.fails = fails

    @rule(is_up=st.sampled_from([True, True, True, False]))
    def provider_changes_its_mind(self, *, is_up: bool) -> None:  # type: ignore[override]  # mostly it answers
        self.is_up = is_up

    @rule(is_up=st.booleans())
    def read_other(self, *, is_up: bool = True) -> None:
        self.is_other_up = is_up
        now = self.clock.now()
        rota = (*self.other_rota, STANDING)
        told = roster(*rota, source=OTHER, taken_at=now, window_ends_at=now + timedelta(hours=72))
        self.sources[OTHER].answers[0] = told if self.is_other_up else Unavailable("down")
        self.loop.run_until_complete(self.sync.sync(OTHER))
        if self.is_other_up:
            self.other_last = self.other_kept = Seen(rota, now)
        self.reached["other read" if self.is_other_up else "other not read"] += 1

    @rule(who=st.sampled_from(["alice", "bob"]), where=st.sampled_from(WHERE), after=st.booleans())
    def dies_answering(self, who: str, where: str, after: bool) -> None:  # noqa: FBT001  # as in the machine below
        super().dies_answering(who, where, after)

    def told(self, now: datetime) -> Roster:
        return roster(
            *self.rota,
            taken_at=now,
            window_ends_at=now + timedelta(hours=72),
            people=tuple(Person(id=PersonId(f"P{name}"), name=name) for name in ("ALICE", "BOB", "CAROL")),
            policies=(EscalationPolicy(id="orders-policy", name="Orders"),),
            services=(
                Service(id="orders", name="Orders", policy="orders-policy", depends_on=("stock",)),
                Service(id="stock", name="Stock", policy=None),
            ),
            incidents=tuple(self.fires),
        )

    def seen(self, now: datetime) -> Seen:  # type: ignore[override]  # the same and more
        return Seen(tuple(self.rota), now, tuple(self.fires))

    # --- the oracle

    def taken_over(self) -> None:
        """Parts that are gone leave a time of grace, if they were held at this very instant."""
        now = self.clock.now()
        assert isinstance(self.last, Seen)
        for key, held in list(self.held.items()):
            person = f"P{key[0].upper()}"
            gone = {part for part in held.parts if not _is_at(self.last, part, person)}
            if now < held.until:
                mine = self.partings.setdefault(key, {})
                for part in gone:
                    if not _has_declined(self.last, part.fire, person):
                        mine[part.fire, part.how] = (part, now)
            left = held.parts - gone
            self.held[key] = replace(held, parts=left)

    def basis(self) -> object:
        pager = self.last
        assert pager is None or isinstance(pager, Seen)
        other = self.other_last
        return (
            None if pager is None else (frozenset(pager.shifts), frozenset(pager.fires)),
            None if other is None else frozenset(other.shifts),
        )

    def judge(self, decision: Decision, who: str, where: str, privilege: str = "write") -> None:
        given = self.given.get((who, where, privilege))
        if given is not None and given[0] is decision and where != "two-db" and isinstance(given[1], tuple):
            # What the other provider says is nothing to these resources.
            self.given[who, where, privilege] = (given[0], (given[1][0], self.basis()[1]))  # type: ignore[index]
        super().judge(decision, who, where, privilege)
        if given is None or given[0] is not decision:
            key = (who, where, privilege)
            parts = frozenset(self.parts(who, where, privilege)) if isinstance(decision, Allow) else frozenset()
            until = decision.until if isinstance(decision, Allow) else self.clock.now()
            self.held[key] = Held(parts, until)

    def foreseen(self, who: str, where: str, privilege: str) -> datetime | None:
        now, person = self.clock.now(), f"P{who.upper()}"
        if where == "two-db":
            ends = [
                self.chain(seen, person, privilege, follows=False)
                for seen in (self.last, self.other_last)
                if isinstance(seen, Seen) and now - seen.at <= AGE_MAX
            ]
            return max((end for end in ends if end is not None), default=None)
        if not isinstance(self.last, Seen):
            return None
        if where == "second-db":
            return self.chain(self.last, person, privilege, follows=True)
        ends = [
            self.last.at + HOUR if now - self.last.at > AGE_MAX else now + HOUR
            for _ in self.parts(who, where, privilege)
        ]
        for part, ended_at in self.partings.get((who, where, privilege), {}).values():
            declined = _has_declined(self.last, part.fire, person)
            if not declined and now < ended_at + GRACE and (part.is_vetted or privilege == "read"):
                ends.append(ended_at + GRACE)
        return max((end for end in ends if end > now), default=None)

    def parts(self, who: str, where: str, privilege: str) -> list[Part]:
        """By which parts in which incidents somebody may do it now."""
        if not isinstance(self.last, Seen) or where not in {"fire-db", "stock-db"}:
            return []
        person, now = f"P{who.upper()}", self.clock.now()
        # Stock is what orders depend on; what burns further away is out of its radius.
        if where == "stock-db" and privilege == "write":
            return []
        if now - self.last.at > AGE_MAX and now >= self.last.at + HOUR:
            return []
        return [
            Part(fire.id, each.involvement, _vetted(fire, person))
            for fire in self.last.fires
            if fire.service == "orders"
            for each in fire.responders
            if each.person == person and each.involvement in AT_IT and (_vetted(fire, person) or privilege == "read")
        ]

    def chain(self, seen: Seen, person: str, privilege: str, *, follows: bool) -> datetime | None:
        """Walk from border to border over everything that counts; None when nothing does now."""
        now = self.clock.now()
        is_fresh = now - seen.at <= AGE_MAX
        bound = None if is_fresh else seen.at + HOUR

        def counts(turn: Shift, at: datetime) -> bool:
            assert turn.starts_at is not None
            assert turn.ends_at is not None
            if turn.person != person or not turn.starts_at <= at < turn.ends_at:
                return False
            if privilege != "read" and turn.provenance not in OPENS_ALL:
                return False
            if not is_fresh and not turn.starts_at <= seen.at < turn.ends_at:
                return False
            if turn.level == 1:
                return True
            return (
                follows
                and turn.level == 2
                and self.has_escalated(seen, person, privilege)
                and (bound is None or now < bound)
            )

        at, moved = now, True
        while moved:
            moved = False
            for turn in seen.shifts:
                if counts(turn, at) and turn.ends_at is not None:
                    end = turn.ends_at if turn.level == 1 or bound is None else min(turn.ends_at, bound)
                    if end > at:
                        at, moved = end, True
        return at if at > now else None

    def has_escalated(self, seen: Seen, person: str, privilege: str) -> bool:
        return any(
            fire.service == "orders"
            and fire.escalation_level is not None
            and fire.escalation_level >= 2
            and (privilege == "read" or _vetted(fire, person))
            for fire in seen.fires
        )


class Lenient(Fires):
    """The same with a policy that says yes to everything, so that a bug in the facts has no second line behind it."""

    def make_engine(self) -> PolicyEngine:
        return ScriptedEngine()


def _without(fire: Incident, who: str) -> tuple[object, ...]:
    return tuple(each for each in fire.responders if each.person != who)


def _vetted(fire: Incident, person: str) -> bool:
    if fire.is_opened_by_machine or fire.opened_by not in (None, person):
        return True
    return bool({each.person for each in fire.responders if each.involvement in AT_IT} - {person})


def _is_at(seen: Seen, part: Part, person: str) -> bool:
    return any(
        fire.id == part.fire and each.person == person and each.involvement is part.how
        for fire in seen.fires
        for each in fire.responders
    )


def _has_declined(seen: Seen, fire: str, person: str) -> bool:
    return any(
        one.id == fire and each.person == person and each.involvement is Involvement.DECLINED
        for one in seen.fires
        for each in one.responders
    )


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Faults are the point here."""
    caplog.set_level(logging.CRITICAL, "watchkey")


def test_fires_let_in_whom_they_should_and_nobody_else() -> None:
    Fires.reached.clear()
    explore(examples=150, machine=Fires)
    for reason in (Reason.ON_CALL, Reason.RESPONDING, Reason.GRACE, Reason.NOT_RESPONDING, Reason.NOT_ESCALATED,
                   Reason.ESCALATION_UNKNOWN, Reason.INCIDENT_UNVETTED, Reason.OUTSIDE_BLAST_RADIUS,
                   Reason.PROVENANCE_TOO_WEAK, Reason.ROSTER_STALE, Reason.AUDIT_UNAVAILABLE):  # fmt: skip
        assert Fires.reached[reason] > 0, f"never reached: {reason} ({dict(Fires.reached)})"
    for what in ("other read", "other not read", "crash", "responding again", "grace again"):
        assert Fires.reached[what] > 0, f"never reached: {what} ({dict(Fires.reached)})"


EVIDENCE = "watchkey.rules.evidence"
ACCESS = "watchkey.flows.request_access:RequestAccess"
MUTANTS = (
    Mutant("a resolved incident goes on", "watchkey.rules.grace:is_at_it", "return any(", "return True or any("),
    Mutant("an unknown opener is somebody else", "watchkey.rules.incidents:is_vetted",
           "incident.opened_by is not None and ", ""),
    Mutant("one's own acknowledgement vets", "watchkey.rules.incidents:is_vetted", "other.person != person and ", ""),
    Mutant("asked is responding", f"{EVIDENCE}:_incident_objection",
           "evidence.involvement not in resource.incident_roles", "False"),
    Mutant("any incident opens level 2", "watchkey.rules.incidents:escalation",
           "incident.escalation_level >= level", "True"),
    Mutant("dependents may do everything", f"{EVIDENCE}:_incident_objection",
           "question.request.privilege not in resource.blast_opens", "False"),
    Mutant("farther than the depth", "watchkey.rules.dependencies:paths_to", "min(depth, DEPTH_MAX)", "DEPTH_MAX"),
    Mutant("grace for who declined", "watchkey.rules.grace:has_declined",
           "responder.involvement is Involvement.DECLINED", "False"),
    Mutant("any grade opens everything", f"{EVIDENCE}:_shift_objection",
           "question.request.privilege not in resource.opens.get(grade, frozenset())", "False"),
    Mutant("a stale second source counts", f"{EVIDENCE}:_stale_shift_counts",
           "case StaleMode.STRICT:\n            return False", "case StaleMode.STRICT:\n            return True"),
)  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_fires_show_it(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with pytest.raises(AssertionError):
        explore(examples=150, machine=Lenient)
