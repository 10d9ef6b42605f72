"""Fleets of OPAs: from their sections to the use cases that make bundles and take reports."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from watchkey.engines import rego
from watchkey.flows.publish_bundle import Fleet, PublishBundle
from watchkey.flows.receive_opa_reports import REMEMBERED_MAX, Key, ReceiveDecisions, ReceiveStatus
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import CallerId
from watchkey.ports import AuditLog, Clock, Memory, PolicyEngine, RosterStore
from watchkey.rego import Dialect, RegoErrors, compile_modules
from watchkey.rego.ast import Module
from watchkey.rules.bundle_signature import BundleKey, sign_claims
from watchkey.rules.directory import Directory
from watchkey.rules.fleet_bundle import ROOT, FleetPolicy, Sign, roots_of
from watchkey.settings import FleetSettings, Settings
from watchkey.stores.sqlite import AuditReader
from watchkey.wiring.policies import shipped_policy

_SHIPPED_ENTRYPOINT: Final = "data.watchkey.decision"
_TAKEN: Final = frozenset({"access", "bundle", "freshness", "groups", "links", "resources", "roster"})
"""What stands below ROOT already: the library and its data. A policy with rules there could widen what it says."""
_KIND: Final = b'"kind":"opa_decision"'


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetParts:
    """The use cases of all fleets, by name."""

    publishers: Mapping[str, PublishBundle]
    statuses: Mapping[str, ReceiveStatus]
    decisions: ReceiveDecisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all fleets share."""

    clock: Clock
    rosters: RosterStore
    audit: AuditLog
    memory: Memory
    engines: Mapping[str, PolicyEngine]
    directory: Callable[[], Directory]


def fleet_parts(settings: Settings, around: Surroundings) -> FleetParts:
    """The use cases. Raises `Refused` for a key or a policy that no bundle can be made with, and port errors."""
    publishers = {name: publisher_of(fleet, around) for name, fleet in settings.fleets.items()}
    seen = reported_decisions(settings.storage.path) if publishers else ()
    return FleetParts(
        publishers=publishers,
        statuses={
            name: ReceiveStatus(fleet=name, clock=around.clock, audit=around.audit, content_of=publisher.content_of)
            for name, publisher in publishers.items()
        },
        decisions=ReceiveDecisions(clock=around.clock, audit=around.audit, seen=seen),
    )


def publisher_of(fleet: FleetSettings, around: Surroundings) -> PublishBundle:
    """What makes one fleet's bundles. Raises as `fleet_parts`."""
    policy = _PolicyNow(partial(around.engines.__getitem__, fleet.policy))
    policy()  # what cannot be in a bundle shows at the start
    section = fleet.section
    return PublishBundle(
        fleet=Fleet(
            name=fleet.name,
            callers=frozenset(CallerId(one) for one in section.callers),
            resources=fleet.resources,
            deltas=section.signing is None if section.deltas is None else section.deltas,
            renew_every=section.renew,
            trusts_groups=section.trust_groups,
            waiting_max=section.waiting_max,
            scope=section.signing.scope if section.signing else "",
            key_id=section.signing.key_id if section.signing else "",
        ),
        clock=around.clock,
        rosters=around.rosters,
        directory=around.directory,
        policy=policy,
        sign=signer_of(fleet),
        memory=around.memory,
        audit=around.audit,
    )


def bundle_key(fleet: FleetSettings) -> BundleKey | None:
    """The key that signs a fleet's bundles; None when they are not signed. Raises `Refused`, `Unavailable`."""
    signing = fleet.section.signing
    if signing is None or fleet.key_file is None:
        return None
    try:
        material = fleet.key_file.read_text("utf-8")
    except OSError as error:
        raise Unavailable(f"{fleet.key_file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{fleet.key_file}: not text") from error
    if signing.algorithm.startswith("HS"):
        material = material.rstrip("\r\n")
    return BundleKey(id=signing.key_id, algorithm=signing.algorithm, material=material)


def signer_of(fleet: FleetSettings) -> Sign | None:
    """What signs. Raises as `bundle_key`, also for a key that does not fit."""
    key = bundle_key(fleet)
    if key is None:
        return None
    sign_claims({}, key)  # a key that does not fit shows at the start
    return partial(sign_claims, key=key)


class _PolicyNow:
    """The policy that decides now, in the form of a bundle; made anew when it was swapped."""

    def __init__(self, engine: Callable[[], PolicyEngine]) -> None:
        self._engine = engine
        self._made: FleetPolicy | None = None

    def __call__(self) -> FleetPolicy:
        engine = self._engine()
        if self._made is None or self._made.hash != engine.policy_hash:
            config = getattr(engine, "config", None)
            if not isinstance(config, rego.Config):
                raise Refused("a fleet's policy is made of Rego files; this one is asked elsewhere")
            self._made = fleet_policy(config, engine.policy_hash)
        return self._made


def fleet_policy(config: rego.Config, policy_hash: str) -> FleetPolicy:
    """A policy with the library that asks it. Raises `Malformed` when they do not compile together."""
    modules = {
        f"{ROOT}/access.rego": shipped_policy("fleet/access.rego"),
        f"{ROOT}/verdict.rego": shipped_policy("fleet/verdict.rego").replace(_SHIPPED_ENTRYPOINT, config.entrypoint),
    }
    own: dict[str, str] = {}
    old: dict[str, Dialect] = {}
    for i, (name, text) in enumerate(sorted(config.modules.items())):
        place = f"policy/{i}-{Path(name).name}"
        own[place] = text
        if config.versions.get(name, config.dialect) != "v1":
            old[place] = Dialect.V0
    try:
        compiled = compile_modules(modules | own, dialect=old)
    except RegoErrors as error:
        raise Malformed(f"the policy does not fit into a bundle: {error}") from error
    data = {**config.data, **({"policyparams": dict(config.parameters)} if config.parameters else {})}
    if ROOT in data:
        raise Malformed(f"the policy's own data has {ROOT!r}, which is where the roster stands in a bundle")
    for name in own:
        _refuse_intruder(compiled.modules[name])
    packages = {"/".join(module.package[1:]) for module in compiled.modules.values()}
    return FleetPolicy(
        hash=policy_hash,
        modules=modules | own,
        roots=roots_of([*packages, *data]),
        rego_versions=dict.fromkeys(old, 0),
        data=data,
    )


def _refuse_intruder(module: Module) -> None:
    for rule in module.rules:
        place = [*module.package[1:], rule.name]
        if place[0] == ROOT and place[1] in _TAKEN:
            where = ".".join(["data", *place[:2]])
            raise Malformed(f"{module.source.file}: {where} belongs to the bundle; no policy has rules there")


def reported_decisions(database: Path) -> Iterator[Key]:
    """The decisions of fleets that stand among the last entries of the log, oldest first. Raises port errors."""
    with AuditReader(database) as reader:
        for entry in reader.entries(max(0, reader.size() - REMEMBERED_MAX)):
            if _KIND in entry.body:
                match json.loads(entry.body):
                    case {"kind": "opa_decision", "fleet": str(fleet), "decision_id": str(decision_id)}:
                        yield fleet, decision_id
                    case _:
                        continue
