from datetime import UTC, datetime, timedelta

from watchkey.simulator import World
from watchkey.simulator.sample import fill

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def test_the_primary_and_the_secondary_change_places_and_carol_is_never_on_call() -> None:
    now = NOON
    world = World(now=lambda: now)
    fill(world, turn=timedelta(hours=12))
    policy = world.policies["EPAY"]

    def levels(at: datetime) -> dict[str, int]:
        return {user: level for level, _, _, user in world.on_call(policy, at, at)}

    assert levels(NOON - timedelta(seconds=1)) == {"PALICE": 1, "PBOB": 2, "PMANAGER": 3}
    assert levels(NOON) == {"PBOB": 1, "PALICE": 2, "PMANAGER": 3}
    assert world.users.keys() - levels(NOON).keys() == {"PCAROL"}
