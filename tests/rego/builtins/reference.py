"""Writes docs/reference/rego-builtins.md: each of OPA's built-ins, and whether the engine has it.

Usage: ``python -m tests.rego.builtins.reference`` writes the page; the test suite compares it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from watchkey.rego.builtins import Builtin, registered
from watchkey.rego.types import Function

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rego-builtins.md"

OPA_VERSION = "1.22.2"
"""The version whose `opa capabilities --current` the list below is."""

LANGUAGE = {
    "assign": "the operator `:=`",
    "internal.print": "what the compiler makes of `print`",
    "internal.template_string": 'what the compiler makes of `$"…"`',
    "internal.test_case": "what the compiler makes of test cases",
    "print": "a statement; its output is captured, never an error",
}
"""Part of the language: the compiler handles them, nobody calls them by name."""

REFUSED: dict[str, str] = {}
"""Not there; a policy that uses one does not compile."""

OPA_BUILTINS = [
    "abs",
    "all",
    "and",
    "any",
    "array.concat",
    "array.flatten",
    "array.reverse",
    "array.slice",
    "assign",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "cast_array",
    "cast_boolean",
    "cast_null",
    "cast_object",
    "cast_set",
    "cast_string",
    "ceil",
    "concat",
    "contains",
    "count",
    "crypto.hmac.equal",
    "crypto.hmac.md5",
    "crypto.hmac.sha1",
    "crypto.hmac.sha256",
    "crypto.hmac.sha512",
    "crypto.md5",
    "crypto.parse_private_keys",
    "crypto.sha1",
    "crypto.sha256",
    "crypto.x509.parse_and_verify_certificates",
    "crypto.x509.parse_and_verify_certificates_with_options",
    "crypto.x509.parse_certificate_request",
    "crypto.x509.parse_certificates",
    "crypto.x509.parse_keypair",
    "crypto.x509.parse_rsa_private_key",
    "div",
    "endswith",
    "eq",
    "equal",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "graph.reachable",
    "graph.reachable_paths",
    "graphql.is_valid",
    "graphql.parse",
    "graphql.parse_and_verify",
    "graphql.parse_query",
    "graphql.parse_schema",
    "graphql.schema_is_valid",
    "gt",
    "gte",
    "hex.decode",
    "hex.encode",
    "http.send",
    "indexof",
    "indexof_n",
    "internal.member_2",
    "internal.member_3",
    "internal.print",
    "internal.template_string",
    "internal.test_case",
    "intersection",
    "io.jwt.decode",
    "io.jwt.decode_verify",
    "io.jwt.encode_sign",
    "io.jwt.encode_sign_raw",
    "io.jwt.verify_eddsa",
    "io.jwt.verify_es256",
    "io.jwt.verify_es384",
    "io.jwt.verify_es512",
    "io.jwt.verify_hs256",
    "io.jwt.verify_hs384",
    "io.jwt.verify_hs512",
    "io.jwt.verify_ps256",
    "io.jwt.verify_ps384",
    "io.jwt.verify_ps512",
    "io.jwt.verify_rs256",
    "io.jwt.verify_rs384",
    "io.jwt.verify_rs512",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.match_schema",
    "json.patch",
    "json.remove",
    "json.unmarshal",
    "json.verify_schema",
    "lower",
    "lt",
    "lte",
    "max",
    "min",
    "minus",
    "mul",
    "neq",
    "net.cidr_contains",
    "net.cidr_contains_matches",
    "net.cidr_expand",
    "net.cidr_intersects",
    "net.cidr_is_valid",
    "net.cidr_merge",
    "net.cidr_overlap",
    "net.lookup_ip_addr",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "opa.runtime",
    "or",
    "plus",
    "print",
    "product",
    "providers.aws.sign_req",
    "rand.intn",
    "re_match",
    "regex.find_all_string_submatch_n",
    "regex.find_n",
    "regex.globs_match",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "rego.metadata.chain",
    "rego.metadata.rule",
    "rego.parse_module",
    "rem",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "set_diff",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.render_template",
    "strings.replace_n",
    "strings.reverse",
    "strings.split_n",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trace",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "uri.is_valid",
    "uri.parse",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "uuid.parse",
    "uuid.rfc4122",
    "walk",
    "yaml.is_valid",
    "yaml.marshal",
    "yaml.unmarshal",
]

_HEAD = f"""# Rego built-ins

<!-- Generated by `python -m tests.rego.builtins.reference`; do not edit. -->

Each built-in of OPA {OPA_VERSION}, and whether the embedded engine has it.

- **supported**: pure; the same arguments give the same answer.
- **supported, of the evaluation**: depends on the `now` that the evaluation is given, or is kept for its length.
- **supported, with a seed**: draws from the seed of the evaluation; without one it is a compile error.
- **host**: reaches outside, so it exists only where the host program supplies it; otherwise it is a compile error.
- **language**: part of the language; not called by name.
- **refused**: not there; a policy that uses it does not compile.

A built-in that fails ends the evaluation of a decision, which is a denial. Where a policy says `strict_errors: false`,
and in Rego tests, its expression is undefined instead, as with OPA, and `not` of it is true.
"""


def status(name: str, known: dict[str, Builtin]) -> str:
    """What the page says of a built-in; raises KeyError for one that nothing is known of."""
    found = known.get(name)
    if found is None:
        if name in LANGUAGE:
            return f"language: {LANGUAGE[name]}"
        return f"refused: {REFUSED[name]}"
    if found.function is None:
        return "host"
    if found.needs_seed:
        return "supported, with a seed"
    return "supported" if found.deterministic else "supported, of the evaluation"


def _signature(found: Builtin | None) -> str:
    return str(Function(found.args, found.result)).replace("|", "\\|") if found else ""


def _lines() -> Iterator[str]:
    known = registered()
    yield _HEAD
    yield "| Built-in | Signature | |"
    yield "|---|---|---|"
    for name in OPA_BUILTINS:
        signature = _signature(known.get(name))
        yield f"| `{name}` | {f'`{signature}`' if signature else ''} | {status(name, known)} |"
    counts = [status(name, known).partition(":")[0].partition(",")[0] for name in OPA_BUILTINS]
    totals = ", ".join(f"{counts.count(kind)} {kind}" for kind in ("supported", "host", "language", "refused"))
    yield ""
    yield f"{len(OPA_BUILTINS)} in all: {totals}."


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
