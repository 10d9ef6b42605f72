"""A small account to try things on: three people, a primary and a secondary rota, two services."""

from datetime import datetime, timedelta

from watchkey.simulator.rota import Layer, LayeredSchedule
from watchkey.simulator.world import Rule, World


def fill(world: World, turn: timedelta = timedelta(days=7)) -> None:
    """Fill an empty account; the current turns began at the last midnight before now and last `turn`.

    Alice is primary and hands over to Bob, Bob is secondary and hands over to Alice, Carol is on call nowhere.
    """
    begin = world.now().replace(hour=0, minute=0, second=0, microsecond=0)
    people = (
        ("PALICE", "Alice Ahlgren"),
        ("PBOB", "Bob Bianchi"),
        ("PCAROL", "Carol Cho"),
        ("PMANAGER", "Mia Manager"),
    )
    for id_, name in people:
        role = "admin" if id_ == "PMANAGER" else "limited_user"
        world.add_user(id_, name, f"{name.split()[0].lower()}@example.com", role)
    world.add_schedule(_rota("SPRIMARY", "Primary", ["PALICE", "PBOB"], begin, turn))
    world.add_schedule(_rota("SSECOND", "Secondary", ["PBOB", "PALICE"], begin, turn))
    rules = [Rule(schedules=["SPRIMARY"]), Rule(schedules=["SSECOND"]), Rule(users=["PMANAGER"])]
    world.add_policy("EPAY", "Payments", rules)
    world.add_service("SVORDERS", "Orders", "EPAY")
    world.add_service("SVCHECKOUT", "Checkout", "EPAY")


def _rota(id_: str, name: str, users: list[str], begin: datetime, turn: timedelta) -> LayeredSchedule:
    return LayeredSchedule(id=id_, name=name, layers=[Layer(id=f"{id_}L1", users=users, start=begin, turn=turn)])
