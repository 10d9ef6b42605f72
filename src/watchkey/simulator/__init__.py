"""A stateful PagerDuty double over HTTP, for the demo and the tests; it knows nothing of the service that reads it."""

from watchkey.simulator.clock import SimulatorClock
from watchkey.simulator.faults import Body, Faults
from watchkey.simulator.rota import (
    CustomShift,
    FlexibleSchedule,
    Layer,
    LayeredSchedule,
    Override,
    Restriction,
    Rotation,
)
from watchkey.simulator.server import READ_TOKEN, WRITE_TOKEN, Simulator, in_thread
from watchkey.simulator.world import Policy, Rule, Service, UnknownThing, User, World

__all__ = [
    "READ_TOKEN",
    "WRITE_TOKEN",
    "Body",
    "CustomShift",
    "Faults",
    "FlexibleSchedule",
    "Layer",
    "LayeredSchedule",
    "Override",
    "Policy",
    "Restriction",
    "Rotation",
    "Rule",
    "Service",
    "Simulator",
    "SimulatorClock",
    "UnknownThing",
    "User",
    "World",
    "in_thread",
]
