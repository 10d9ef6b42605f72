"""The composition root: the only package that knows adapters by name."""

from watchkey.wiring.adapters import (
    audit_store,
    bare_postgres_target,
    build_source,
    build_targets,
    create_audit_key,
    make_caller_token,
    open_audit_reader,
    source_configs,
    source_kinds,
    target_kinds,
    target_problems,
)
from watchkey.wiring.bundle_files import build_bundle, create_bundle_key, opa_configuration
from watchkey.wiring.bundles import open_bundle, versions_of
from watchkey.wiring.cases import CaseBench
from watchkey.wiring.clocks import StoppedClock, SystemClock, VirtualClock
from watchkey.wiring.desk import Desk, open_desk
from watchkey.wiring.dry import dry_access
from watchkey.wiring.policies import elsewhere, policy_config, policy_engine, shipped_policy
from watchkey.wiring.replay import ReplayBench
from watchkey.wiring.service import Service, build
from watchkey.wiring.stage import Stage, open_stage

__all__ = [
    "CaseBench",
    "Desk",
    "ReplayBench",
    "Service",
    "Stage",
    "StoppedClock",
    "SystemClock",
    "VirtualClock",
    "audit_store",
    "bare_postgres_target",
    "build",
    "build_bundle",
    "build_source",
    "build_targets",
    "create_audit_key",
    "create_bundle_key",
    "dry_access",
    "elsewhere",
    "make_caller_token",
    "opa_configuration",
    "open_audit_reader",
    "open_bundle",
    "open_desk",
    "open_stage",
    "policy_config",
    "policy_engine",
    "shipped_policy",
    "source_configs",
    "source_kinds",
    "target_kinds",
    "target_problems",
    "versions_of",
]
