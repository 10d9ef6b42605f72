"""The seams: every adapter and every fake has the shape of its port, as the type checker sees it."""

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from watchkey import ports
from watchkey.stores.memory import MemoryRosters
from watchkey.wiring import SystemClock


def test_fakes_and_adapters_have_the_shape_of_their_ports() -> None:
    """The assignments are the test: mypy checks this file, and a port that grows breaks it."""
    clocks: list[ports.Clock] = [DrivenClock(), SystemClock()]
    source: ports.Source = ScriptedSource()
    engine: ports.PolicyEngine = ScriptedEngine()
    audit: ports.AuditLog = MemoryAudit()
    memory: ports.Memory = DictMemory()
    rosters: ports.RosterStore = MemoryRosters()
    assert all(clock.now().tzinfo is not None for clock in clocks)
    assert (source.name, engine.policy_hash, rosters.held()) == ("pager", "hash", {})
    assert memory.recall("nothing") is None
    assert audit is not None


def test_ports_promise_errors_and_units_in_words() -> None:
    """Every method of every port says what it does; that page is the contract."""
    silent = [
        f"{name}.{attribute}"
        for name, port in vars(ports).items()
        if isinstance(port, type) and getattr(port, "_is_protocol", False)
        for attribute, member in vars(port).items()
        if not attribute.startswith("_") and callable(member) and not member.__doc__
    ]
    assert silent == []
