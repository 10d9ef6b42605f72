"""A lease stands on its decisions and on nothing else, and its states lead one way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from watchkey.model.access import AccessRequest, Allow, Reason, Subject
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import LEASE_MOVES, Lease, LeaseId, LeaseState

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALICE = SubjectId("alice@example.com")
READ, WRITE = PrivilegeName("read"), PrivilegeName("write")


def allow(
    privilege: PrivilegeName = READ, now: datetime = NOW, length: timedelta = HOUR, subject: str = ALICE
) -> Allow:
    request = AccessRequest(
        subject=Subject(id=SubjectId(subject)),
        privilege=privilege,
        resource=ResourceId("orders-db"),
        caller=CallerId("gw"),
    )
    return Allow(
        request=request, decided_at=now, until=now + length, reason=Reason.ON_CALL, sentence="on call", evidence=()
    )


def lease(now: datetime = NOW, *, length: timedelta = HOUR, **changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "id": LeaseId("0123456789abcdef"),
        "subject": ALICE,
        "resource": ResourceId("orders-db"),
        "privileges": (READ,),
        "starts_at": now,
        "ends_at": now + length,
        "grounds": (allow(now=now, length=length),),
    }
    return Lease(**(fields | changes))


@pytest.mark.parametrize(
    ("after", "holds"),
    [(timedelta(seconds=-1), False), (timedelta(0), True), (HOUR - timedelta.resolution, True), (HOUR, False)],
)
def test_a_lease_is_half_open(after: timedelta, holds: bool) -> None:  # noqa: FBT001  a wanted value
    assert lease().holds_at(NOW + after) is holds


@pytest.mark.parametrize(
    "changes",
    [
        {"grounds": ()},
        {"privileges": ()},
        {"privileges": (READ, WRITE)},
        {"privileges": (WRITE,)},
        {"grounds": (allow(READ), allow(WRITE))},
        {"subject": SubjectId("bob@example.com")},
        {"resource": ResourceId("billing-db")},
        {"ends_at": NOW + HOUR + timedelta.resolution},
        {"privileges": (READ, WRITE), "grounds": (allow(READ), allow(WRITE, length=HOUR / 2))},
    ],
    ids=[
        "no decision", "no privilege", "more than was allowed", "something else", "less than it stands on",
        "another subject", "another resource", "longer", "longer than its shortest decision",
    ],
)  # fmt: skip
def test_a_lease_that_reaches_beyond_its_decisions_is_no_lease(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lease"):
        lease(**changes)


def test_nothing_leads_back_to_life_and_nothing_gives_up() -> None:
    assert set(LEASE_MOVES) == set(LeaseState)
    for state in (LeaseState.ENDING, LeaseState.STUCK, LeaseState.ENDED):
        reachable, frontier = {state}, {state}
        while frontier:
            frontier = {after for before in frontier for after in LEASE_MOVES[before]} - reachable
            reachable |= frontier
        assert not reachable & {LeaseState.PENDING, LeaseState.ACTIVE}
    assert [state for state, moves in LEASE_MOVES.items() if not moves] == [LeaseState.ENDED]
