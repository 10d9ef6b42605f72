"""The decision: each outcome, each border, and agreement with an oracle that shares no code with it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import ALL_GRADES, HOUR, NOW, POLICY, SCHEDULE, links, question, request, resource, shift
from watchkey.model.access import Allow, Decision, Deny, Needs, Outcome, Reason, StaleMode, Verdict
from watchkey.model.ids import PrivilegeName
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.rules.decide import NEAREST_FIRST, decide
from watchkey.rules.evidence import Question, find_evidence

YES = Verdict(outcome=Outcome.YES, policy_hash="p")
TICK = timedelta(microseconds=1)


def decided(asked: Question, verdict: Verdict = YES) -> Decision:
    return decide(asked, find_evidence(asked), verdict, zone=UTC)


def reason(asked: Question, verdict: Verdict = YES) -> Reason:
    return decided(asked, verdict).reason


def allowed_until(asked: Question, verdict: Verdict = YES) -> datetime:
    decision = decided(asked, verdict)
    assert isinstance(decision, Allow), decision.sentence
    return decision.until


def test_whoever_is_on_call_is_let_in_until_the_end_of_the_shift() -> None:
    assert allowed_until(question(shift())) == NOW + HOUR / 2


def test_the_cap_of_the_resource_ends_it_earlier() -> None:
    assert allowed_until(question(shift(ends_at=NOW + 9 * HOUR))) == NOW + HOUR


def test_the_ttl_of_the_policy_ends_it_earlier_still_but_never_later() -> None:
    asked = question(shift(ends_at=NOW + 9 * HOUR))
    assert allowed_until(asked, Verdict(outcome=Outcome.YES, ttl=timedelta(seconds=60))) == NOW + timedelta(seconds=60)
    assert allowed_until(asked, Verdict(outcome=Outcome.YES, ttl=9 * HOUR)) == NOW + HOUR


def test_a_ttl_of_nothing_or_less_leaves_no_time() -> None:
    for ttl in (timedelta(0), timedelta(seconds=-1)):
        assert reason(question(shift()), Verdict(outcome=Outcome.YES, ttl=ttl)) is Reason.NO_TIME_LEFT


def test_the_first_instant_counts_and_the_last_does_not() -> None:
    turn = shift(starts_at=NOW, ends_at=NOW + HOUR)
    assert reason(question(turn, now=NOW - TICK)) is Reason.NOT_ON_CALL
    assert reason(question(turn, now=NOW)) is Reason.ON_CALL
    assert reason(question(turn, now=NOW + HOUR - TICK)) is Reason.ON_CALL
    assert reason(question(turn, now=NOW + HOUR)) is Reason.NOT_ON_CALL


def test_back_to_back_shifts_are_one_turn() -> None:
    asked = question(shift(), shift(starts_at=NOW + HOUR / 2, ends_at=NOW + 2 * HOUR))
    assert allowed_until(asked) == NOW + HOUR


def test_a_following_shift_that_does_not_count_does_not_extend() -> None:
    asked = question(shift(), shift(starts_at=NOW + HOUR / 2, ends_at=NOW + 2 * HOUR, level=2))
    assert allowed_until(asked) == NOW + HOUR / 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"level": 2}, Reason.LEVEL_TOO_HIGH),
        ({"level": None}, Reason.LEVEL_UNKNOWN),
        ({"end_kind": EndKind.PERMANENT, "starts_at": None, "ends_at": None}, Reason.ONLY_PERMANENT),
        ({"provenance": Provenance.SELF_OVERRIDE}, Reason.PROVENANCE_TOO_WEAK),
        ({"provenance": Provenance.UNKNOWN}, Reason.PROVENANCE_TOO_WEAK),
        ({"policy": "another-policy"}, Reason.NOT_ON_CALL),
        ({"person": "PBOB"}, Reason.NOT_ON_CALL),
    ],
)
def test_a_shift_that_falls_short_says_why(change: dict[str, object], expected: Reason) -> None:
    assert reason(question(shift(**change))) is expected


def test_a_self_made_override_opens_what_its_grade_opens() -> None:
    turn = shift(provenance=Provenance.SELF_OVERRIDE)
    assert reason(question(turn, asks=request(privilege="read"))) is Reason.ON_CALL


def test_a_grade_that_the_resource_does_not_name_opens_nothing() -> None:
    assert reason(question(shift(), about=resource(opens={}))) is Reason.PROVENANCE_TOO_WEAK


def test_a_permanent_target_counts_only_where_the_resource_names_it() -> None:
    turn = shift(end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None)
    open_to_it = resource(opens=ALL_GRADES | {Provenance.PERMANENT: frozenset({PrivilegeName("write")})})
    assert allowed_until(question(turn, about=open_to_it)) == NOW + HOUR


def test_a_schedule_has_no_levels() -> None:
    asked = question(shift(level=None, policy=None), about=resource(scopes=(SCHEDULE,)))
    assert reason(asked) is Reason.ON_CALL


def test_an_end_that_nobody_knows_counts_for_minutes() -> None:
    asked = question(shift(end_kind=EndKind.UNKNOWN, ends_at=None))
    assert allowed_until(asked) == NOW + timedelta(minutes=5)


def test_a_shift_cut_off_by_the_window_is_bounded_by_it() -> None:
    asked = question(
        shift(ends_at=NOW + HOUR / 4, end_kind=EndKind.TRUNCATED), facts={"window_ends_at": NOW + HOUR / 4}
    )
    assert allowed_until(asked) == NOW + HOUR / 4


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.NO, Reason.POLICY_DENIED),
        (Outcome.UNDEFINED, Reason.POLICY_UNDEFINED),
        (Outcome.MALFORMED, Reason.POLICY_MALFORMED),
        (Outcome.FAILED, Reason.POLICY_FAILED),
        (Outcome.OVER_BUDGET, Reason.POLICY_OVER_BUDGET),
        (Outcome.UNREACHABLE, Reason.POLICY_UNREACHABLE),
    ],
)
def test_anything_but_a_yes_of_the_policy_is_no(outcome: Outcome, expected: Reason) -> None:
    assert reason(question(shift()), Verdict(outcome=outcome)) is expected


def test_the_policy_cannot_widen() -> None:
    assert reason(question()) is Reason.NOT_ON_CALL


def test_unknown_privilege_and_missing_group() -> None:
    assert reason(question(shift(), asks=request(privilege="own"))) is Reason.UNKNOWN_PRIVILEGE
    assert reason(question(shift(), about=resource(eligible_groups=frozenset({"dba"})))) is Reason.NOT_ELIGIBLE


def test_who_is_asking_must_be_one_active_known_person() -> None:
    assert reason(question(shift(), linked=links(("bob", "PBOB")))) is Reason.NOT_LINKED
    assert reason(question(shift(), linked=links(("alice", "PALICE"), ("bob", "PALICE")))) is Reason.IDENTITY_AMBIGUOUS
    assert reason(question(shift(), linked=links(("alice", "PALICE"), ("alice", "PBOB")))) is Reason.IDENTITY_AMBIGUOUS
    assert reason(question(shift(), linked=links(("alice", "PGONE")))) is Reason.PERSON_UNKNOWN


def test_what_cannot_be_told_is_not_called_not_on_call() -> None:
    asked = question(about=resource(scopes=(POLICY,)), facts={"policies": ()})
    assert reason(asked) is Reason.SCOPE_UNKNOWN
    assert reason(question(age=11 * HOUR)) is Reason.ROSTER_STALE
    empty = question(shift())
    unread = Question(request=empty.request, resource=empty.resource, now=NOW, views={}, links=empty.links)
    assert reason(unread) is Reason.NO_ROSTER


@pytest.mark.parametrize("skew", [timedelta(seconds=61), timedelta(seconds=-61)])
def test_a_clock_in_doubt_gives_nothing(skew: timedelta) -> None:
    assert reason(question(shift(), facts={"clock_skew": skew})) is Reason.CLOCK_DOUBTFUL


def test_a_roster_from_the_future_and_a_clock_set_back_give_nothing() -> None:
    assert reason(question(shift(), facts={"taken_at": NOW + 2 * HOUR})) is Reason.CLOCK_DOUBTFUL
    assert reason(question(shift(), time_floor=NOW + HOUR)) is Reason.CLOCK_DOUBTFUL


@pytest.mark.parametrize(
    ("mode", "held_then", "published", "expected"),
    [
        (StaleMode.STRICT, True, True, Reason.ROSTER_STALE),
        (StaleMode.SECOND_SOURCE, True, True, Reason.ROSTER_STALE),
        (StaleMode.INCUMBENT, True, True, Reason.ON_CALL),
        (StaleMode.INCUMBENT, False, True, Reason.ROSTER_STALE),
        (StaleMode.FORECAST, False, True, Reason.ON_CALL),
        (StaleMode.FORECAST, False, False, Reason.ROSTER_STALE),
    ],
)
def test_stale_modes(mode: StaleMode, held_then: bool, published: bool, expected: Reason) -> None:  # noqa: FBT001  # a table
    age = 2 * HOUR if published else 25 * HOUR
    start = NOW - age - HOUR if held_then else NOW - HOUR
    asked = question(shift(starts_at=start), about=resource(stale_mode=mode), age=age)
    assert reason(asked) is expected


def test_exactly_the_bound_is_still_fresh() -> None:
    asked = question(shift(), about=resource(stale_mode=StaleMode.STRICT), age=timedelta(minutes=10))
    assert reason(asked) is Reason.ON_CALL


def test_a_resource_may_need_nothing() -> None:
    asked = question(about=resource(needs=Needs.NOTHING))
    assert reason(asked) is Reason.NO_FACT_NEEDED
    assert allowed_until(asked) == NOW + HOUR


def test_every_denial_of_facts_has_its_rank() -> None:
    ranked = set(NEAREST_FIRST)
    assert len(ranked) == len(NEAREST_FIRST)
    assert {Reason.NOT_ON_CALL, Reason.NOT_RESPONDING, Reason.ROSTER_STALE, Reason.NOT_LINKED} <= ranked


# --- agreement with an oracle ------------------------------------------------------------------------------------

borders = st.sampled_from([-2 * HOUR, -HOUR, -TICK, timedelta(0), TICK, HOUR / 2, HOUR, 2 * HOUR])
turns = st.builds(
    shift,
    person=st.sampled_from(["PALICE", "PALICE", "PALICE", "PBOB"]),
    level=st.sampled_from([1, 1, 1, 2, 3, None]),
    policy=st.sampled_from(["orders-policy", "orders-policy", "orders-policy", "other"]),
    starts_at=borders.map(lambda span: NOW + span),
    ends_at=borders.map(lambda span: NOW + span),
    provenance=st.sampled_from([Provenance.ROTA, Provenance.ROTA, Provenance.SWAP, Provenance.SELF_OVERRIDE]),
)
verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from([Outcome.YES, Outcome.YES, Outcome.YES, Outcome.NO, Outcome.UNDEFINED]),
    ttl=st.sampled_from([None, timedelta(seconds=30), HOUR / 2, 3 * HOUR]),
)
ages = st.sampled_from([timedelta(0), timedelta(minutes=10), timedelta(minutes=10) + TICK, 3 * HOUR])


def oracle(
    turns_given: list[Shift], verdict: Verdict, age: timedelta, mode: StaleMode, max_level: int
) -> datetime | None:
    """Until when alice may write, by looking at every border instant from now on; None when she may not at all."""

    def counts(turn: Shift, at: datetime) -> bool:
        if turn.starts_at is None or turn.ends_at is None or not turn.starts_at <= at < turn.ends_at:
            return False
        if turn.person != "PALICE" or turn.policy != "orders-policy" or turn.level not in range(1, max_level + 1):
            return False
        if turn.provenance not in (Provenance.ROTA, Provenance.SWAP):
            return False
        is_fresh = age <= timedelta(minutes=10)
        held_then = turn.starts_at <= NOW - age < turn.ends_at
        return (
            is_fresh
            or (mode is StaleMode.INCUMBENT and held_then)
            or (mode is StaleMode.FORECAST and (held_then or age <= timedelta(hours=24)))
        )

    if verdict.outcome is not Outcome.YES or not any(counts(turn, NOW) for turn in turns_given):
        return None
    instants = sorted({turn.ends_at for turn in turns_given if turn.ends_at is not None and turn.ends_at > NOW})
    end = next(at for at in instants if not any(counts(turn, at) for turn in turns_given))
    return min(end, NOW + min(verdict.ttl or HOUR, HOUR))


def test_agrees_with_the_oracle_and_reaches_each_outcome() -> None:
    reached: Counter[str] = Counter()

    @settings(max_examples=1500, deadline=None)
    @given(
        st.lists(turns.filter(lambda turn: turn.starts_at < turn.ends_at), max_size=4),  # type: ignore[operator]  # set
        verdicts,
        ages,
        st.sampled_from(list(StaleMode)),
        st.sampled_from([1, 2]),
    )
    def agrees(drawn: list[Shift], verdict: Verdict, age: timedelta, mode: StaleMode, max_level: int) -> None:
        # Each turn on a schedule of its own: what overlaps on one schedule is one turn, by tests/rules/test_roster.py.
        drawn = [replace(turn, schedule=f"schedule-{i}") for i, turn in enumerate(drawn)]
        decision = decided(question(*drawn, about=resource(stale_mode=mode, max_level=max_level), age=age), verdict)
        expected = oracle(drawn, verdict, age, mode, max_level)
        reached[str(decision.reason)] += 1
        if expected is None:
            assert isinstance(decision, Deny)
        else:
            assert isinstance(decision, Allow)
            assert decision.until == expected
            assert decision.until > decision.decided_at

    agrees()
    assert set(reached) >= {
        "on_call", "not_on_call", "level_too_high", "level_unknown", "provenance_too_weak", "roster_stale",
        "policy_denied", "policy_undefined",
    }  # fmt: skip
