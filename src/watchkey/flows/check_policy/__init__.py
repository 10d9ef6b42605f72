"""The check of a policy: `check` is the use case, `sight` how the traps see a policy, `traps_*` what they look for."""

from watchkey.flows.check_policy.check import (
    DIALECTS,
    RULES,
    Report,
    check_policy,
    host_functions,
    rego_dialect,
    rego_dialects,
)
from watchkey.flows.check_policy.findings import Finding, Severity
from watchkey.flows.check_policy.spaces import normalised, space_findings

__all__ = [
    "DIALECTS",
    "RULES",
    "Finding",
    "Report",
    "Severity",
    "check_policy",
    "host_functions",
    "normalised",
    "rego_dialect",
    "rego_dialects",
    "space_findings",
]
