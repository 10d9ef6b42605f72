from datetime import UTC, datetime, timedelta

from watchkey.simulator import FlexibleSchedule, Rotation, World
from watchkey.simulator.rota import LayeredSchedule
from watchkey.simulator.sample import fill
from watchkey.simulator.views import Views, iso

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = (NOW + HOUR, NOW + 18 * HOUR)


def account() -> tuple[World, Views]:
    world = World(now=lambda: NOW)
    fill(world, turn=12 * HOUR)
    return world, Views(world, "http://pd")


def test_rendered_entries_are_cut_at_the_window_unless_they_may_overflow() -> None:
    world, views = account()
    primary = world.schedules["SPRIMARY"]
    assert isinstance(primary, LayeredSchedule)
    spans = {}
    for overflow in (False, True):
        shown = views.schedule(primary, WINDOW, overflow=overflow)["final_schedule"]
        spans[overflow] = [(entry["start"], entry["end"]) for entry in shown["rendered_schedule_entries"]]
        assert shown["rendered_coverage_percentage"] == 100.0
    assert spans[False] == [
        ("2026-07-01T13:00:00Z", "2026-07-02T00:00:00Z"),
        ("2026-07-02T00:00:00Z", "2026-07-02T06:00:00Z"),
    ]
    assert spans[True] == [
        ("2026-07-01T12:00:00Z", "2026-07-02T00:00:00Z"),
        ("2026-07-02T00:00:00Z", "2026-07-02T12:00:00Z"),
    ]


def test_an_empty_member_is_shown_and_covers_nothing() -> None:
    _, views = account()
    rotation = Rotation(id="R", members=["PALICE", None], start=NOW, length=HOUR * 12, every_days=1)
    shown = views.v3_schedule(
        FlexibleSchedule(id="S", name="S", rotations=[rotation]), (NOW, NOW + 48 * HOUR), overflow=False
    )
    final = shown["final_schedule"]
    assert [each["member"]["type"] for each in final["computed_shift_assignments"]] == ["user_member", "empty_member"]
    assert final["rendered_coverage_percentage"] == 25.0


def test_a_direct_target_has_neither_schedule_nor_times() -> None:
    _, views = account()
    [manager] = [row for row in views.on_calls(NOW, NOW) if row["user"]["id"] == "PMANAGER"]
    assert (manager["schedule"], manager["start"], manager["end"], manager["escalation_level"]) == (None, None, None, 3)


def test_who_was_deleted_is_still_referred_to_by_id() -> None:
    world, views = account()
    world.delete_user("PALICE")
    assert views.reference("user", "PALICE")["summary"] == "PALICE"


def test_secrets_of_subscriptions_are_not_shown() -> None:
    world, views = account()
    subscription = world.subscriptions[world.subscribe("http://127.0.0.1/hook", "canary-key")]
    subscription.disabled_until = NOW + HOUR
    assert "canary" not in str(views.subscription(subscription, NOW))
    assert views.subscription(subscription, NOW)["delivery_method"]["temporarily_disabled"] is True
    assert views.subscription(subscription, NOW + HOUR)["delivery_method"]["temporarily_disabled"] is False


def test_instants_are_written_in_utc() -> None:
    assert iso(datetime.fromisoformat("2026-07-01T14:00:00+02:00")) == "2026-07-01T12:00:00Z"
