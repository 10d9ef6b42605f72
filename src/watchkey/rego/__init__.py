"""The Rego policy language: compile once, evaluate often.

    policy = compile_modules({"authz.rego": text})
    query = policy.query("data.authz.decision")
    data = freeze({"roster": ...})                      # made once, swapped without a rebuild
    result = query.evaluate({"subject": ...}, data, now_ns=now)
    result.defined, result.json()

A policy that cannot be used raises RegoErrors (every problem with file, line, column and a caret); an evaluation that
ends without an answer raises EvaluationError, of which LimitExceeded says that a bound was reached.
"""

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.compiler import HostFunction, compile_modules
from watchkey.rego.cursor import Dialect
from watchkey.rego.errors import EvaluationError, LimitExceeded, Location, MalformedValue, RegoError, RegoErrors
from watchkey.rego.evaluation import Data, Limits, Query, Result, freeze
from watchkey.rego.explain import Finding, Trace
from watchkey.rego.policy import Policy
from watchkey.rego.source import normalise_spaces
from watchkey.rego.values import UNDEFINED, from_json, to_json

__all__ = [
    "UNDEFINED",
    "BuiltinError",
    "Data",
    "Dialect",
    "EvaluationError",
    "Finding",
    "HostFunction",
    "LimitExceeded",
    "Limits",
    "Location",
    "MalformedValue",
    "Policy",
    "Query",
    "RegoError",
    "RegoErrors",
    "Result",
    "Trace",
    "compile_modules",
    "freeze",
    "from_json",
    "normalise_spaces",
    "to_json",
]
