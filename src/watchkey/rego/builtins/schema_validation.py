"""Checks a document against a compiled JSON Schema; what it finds has the types and texts of OPA's findings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final

from watchkey.rego.builtins import BuiltinError, CallContext
from watchkey.rego.builtins.go_json import go_json
from watchkey.rego.builtins.go_layouts import parse_time
from watchkey.rego.builtins.schema_documents import Schema, SchemaError, regular_expression
from watchkey.rego.builtins.uris import split_url
from watchkey.rego.values import Object, integer_of, type_name

_DEEPEST: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not match, and where."""

    place: str
    kind: str
    text: str

    def value(self) -> Object:
        """The finding as Rego sees it."""
        field = self.place.removeprefix("(Root).")
        return Object({"error": f"{field}: {self.text}", "type": self.kind, "field": field, "desc": self.text})


class Findings:
    """What was found, and a score that tells how nearly a document matched: the nearest alternative is explained."""

    __slots__ = ("_ctx", "_depth", "found", "score")

    def __init__(self, ctx: CallContext, depth: int = 0) -> None:
        self._ctx = ctx
        self._depth = depth
        self.found: list[Finding] = []
        self.score = 0

    def add(self, place: str, kind: str, text: str) -> None:
        """Note a finding."""
        self.found.append(Finding(place, kind, text))
        self.score -= 2

    def merge(self, other: Findings) -> None:
        """Take over what another check found."""
        self._ctx.spend(len(other.found))
        self.found += other.found
        self.score += other.score

    def of(self, schema: Schema, value: Any, place: str) -> Findings:
        """A check of its own."""
        inner = Findings(self._ctx, self._depth)
        validate(schema, value, place, inner)
        return inner

    def enter(self, work: int) -> None:
        """One level deeper."""
        self._ctx.spend(work)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BuiltinError("the schema refers to itself without end, or the document is too deep")

    def leave(self) -> None:
        """One level up."""
        self._depth -= 1


def validate(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    """Note in `findings` where the value at `place` does not match."""
    findings.enter(1 + (len(place) >> 6))
    _validate(schema, value, place, findings)
    findings.leave()


def _validate(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    if schema.passes is not None:
        if not schema.passes:
            findings.add(place, "false", "False always fails validation")
        return
    if schema.target is not None:
        validate(schema.target, value, place, findings)
        return
    kind = _type_of(value)
    allowed = schema.types
    if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        expected = allowed[0] if len(allowed) == 1 else "[" + ",".join(allowed) + "]"
        findings.add(place, "invalid_type", f"Invalid type. Expected: {expected}, given: {kind}")
        return
    _combinations(schema, value, place, findings)
    if kind in ("integer", "number"):
        _number(schema, value, place, findings)
    elif kind == "array":
        _array(schema, value, place, findings)
    elif kind == "object":
        _object(schema, value, place, findings)
    _common(schema, value, place, findings)
    if kind == "string":
        _text(schema, value, place, findings)
    if kind == "object":
        for name, child in schema.properties.items():
            if name in value:
                validate(child, value[name], f"{place}.{name}", findings)
    findings.score += 1


def _type_of(value: Any) -> str:
    kind = type_name(value)
    return "integer" if kind == "number" and integer_of(value) is not None else kind


# --- combinations ----------------------------------------------------------------------------------------------------


def _nearest(checks: list[Findings]) -> Findings:
    return max(checks, key=lambda check: check.score)


def _combinations(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    if schema.any_of:
        _any_of(schema, value, place, findings)
    if schema.one_of:
        checks = [findings.of(each, value, place) for each in schema.one_of]
        matching = sum(not check.found for check in checks)
        if matching != 1:
            findings.add(place, "number_one_of", "Must validate one and only one schema (oneOf)")
            if not matching:
                findings.merge(_nearest(checks))
    if schema.all_of:
        checks = [findings.of(each, value, place) for each in schema.all_of]
        for check in checks:
            findings.merge(check)
        if any(check.found for check in checks):
            findings.add(place, "number_all_of", "Must validate all the schemas (allOf)")
    if schema.negated is not None and not findings.of(schema.negated, value, place).found:
        findings.add(place, "number_not", "Must not validate the schema (not)")
    if schema.dependencies and type(value) is Object:
        _dependencies(schema, value, place, findings)
    if schema.condition is not None:
        _condition(schema, value, place, findings)
    findings.score += 1


def _any_of(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    checks = []
    for each in schema.any_of:
        check = findings.of(each, value, place)
        if not check.found:
            return
        checks.append(check)
    findings.add(place, "number_any_of", "Must validate at least one schema (anyOf)")
    findings.merge(_nearest(checks))


def _dependencies(schema: Schema, value: Object, place: str, findings: Findings) -> None:
    for name, dependency in schema.dependencies.items():
        if name not in value:
            continue
        if isinstance(dependency, Schema):
            validate(dependency, value, place, findings)
            continue
        for other in dependency:
            if other not in value:
                findings.add(place, "missing_dependency", f"Has a dependency on {other}")


def _condition(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    holds = schema.condition is not None and not findings.of(schema.condition, value, place).found
    branch = schema.then if holds else schema.otherwise
    if branch is None:
        return
    check = findings.of(branch, value, place)
    if check.found:
        kind, was = ("then", "valid") if holds else ("else", "not valid")
        findings.add(place, f"condition_{kind}", f'Must validate "{kind}" as "if" was {was}')
        findings.merge(check)


# --- kinds of values -------------------------------------------------------------------------------------------------


def _allowed(value: Any) -> str:
    """A value of ``const`` or ``enum`` as findings show it: JSON, numbers in their shortest form."""
    if type(value) is Decimal:
        whole = integer_of(value)
        return go_json(value.normalize() if whole is None else whole)
    if type(value) is tuple:
        return "[" + ",".join([_allowed(each) for each in value]) + "]"
    if type(value) is Object:
        return "{" + ",".join([f"{go_json(key)}:{_allowed(item)}" for key, item in value.pairs()]) + "}"
    return go_json(value)


def _common(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    field = place.removeprefix("(Root).")
    if schema.constant is not None and value != schema.constant[0]:
        findings.add(place, "const", f"{field} does not match: {_allowed(schema.constant[0])}")
    if schema.options is not None and value not in schema.options:
        allowed = ", ".join([_allowed(each) for each in schema.options])
        findings.add(place, "enum", f"{field} must be one of the following: {allowed}")
    check = _FORMATS.get(schema.format)
    if check is not None and type(value) is str and not check(value):
        findings.add(place, "format", f"Does not match format '{schema.format}'")
    findings.score += 1


def _array(schema: Schema, value: tuple[Any, ...], place: str, findings: Findings) -> None:
    if schema.one_for_all:
        for index, element in enumerate(value):
            findings.merge(findings.of(schema.items[0], element, f"{place}.{index}"))
    elif schema.items:
        for index, (item, element) in enumerate(zip(schema.items, value, strict=False)):
            findings.merge(findings.of(item, element, f"{place}.{index}"))
        _additional_items(schema, value, place, findings)
    if len(value) < schema.sizes.get("minItems", 0):
        findings.add(place, "array_min_items", f"Array must have at least {schema.sizes['minItems']} items")
    if len(value) > schema.sizes.get("maxItems", len(value)):
        findings.add(place, "array_max_items", f"Array must have at most {schema.sizes['maxItems']} items")
    if schema.unique:
        seen: dict[Any, int] = {}
        for index, element in enumerate(value):
            if element in seen:
                findings.add(place, "unique", f"array items[{seen[element]},{index}] must be unique")
            seen[element] = index
    if schema.contains is not None:
        _contains(schema.contains, value, place, findings)
    findings.score += 1


def _additional_items(schema: Schema, value: tuple[Any, ...], place: str, findings: Findings) -> None:
    known = len(schema.items)
    if known >= len(value):
        return
    if schema.additional_items is False:
        findings.add(place, "array_no_additional_items", "No additional items allowed on array")
    elif isinstance(schema.additional_items, Schema):
        for index in range(known, len(value)):
            findings.merge(findings.of(schema.additional_items, value[index], f"{place}.{index}"))


def _contains(wanted: Schema, value: tuple[Any, ...], place: str, findings: Findings) -> None:
    checks = []
    for index, element in enumerate(value):
        check = findings.of(wanted, element, f"{place}.{index}")
        if not check.found:
            return
        checks.append(check)
    findings.add(place, "contains", "At least one of the items must match")
    if checks:
        findings.merge(_nearest(checks))


def _object(schema: Schema, value: Object, place: str, findings: Findings) -> None:
    if len(value) < schema.sizes.get("minProperties", 0):
        findings.add(place, "array_min_properties", f"Must have at least {schema.sizes['minProperties']} properties")
    if len(value) > schema.sizes.get("maxProperties", len(value)):
        findings.add(place, "array_max_properties", f"Must have at most {schema.sizes['maxProperties']} properties")
    for name in schema.required:
        if name in value:
            findings.score += 1
        else:
            findings.add(place, "required", f"{name} is required")
    for name, item in value.pairs():
        described = name in schema.properties
        described |= _pattern_properties(schema, name, item, place, findings)
        if described:
            continue
        if schema.additional is False:
            text = f"Additional property {name} is not allowed"
            findings.add(place, "additional_property_not_allowed", text)
        elif isinstance(schema.additional, Schema):
            findings.merge(findings.of(schema.additional, item, f"{place}.{name}"))
    if schema.property_names is not None:
        for name, _ in value.pairs():
            check = findings.of(schema.property_names, name, place)
            if check.found:
                findings.add(place, "invalid_property_name", f'Property name of "{name}" does not match')
                findings.merge(check)
    findings.score += 1


def _pattern_properties(schema: Schema, name: str, item: Any, place: str, findings: Findings) -> bool:
    matched = False
    for pattern, child in schema.patterns:
        if pattern.search(name):
            matched = True
            findings.merge(findings.of(child, item, f"{place}.{name}"))
    findings.score += matched
    return matched


def _text(schema: Schema, value: str, place: str, findings: Findings) -> None:
    if len(value) < schema.sizes.get("minLength", 0):
        least = schema.sizes["minLength"]
        findings.add(place, "string_gte", f"String length must be greater than or equal to {least}")
    if len(value) > schema.sizes.get("maxLength", len(value)):
        most = schema.sizes["maxLength"]
        findings.add(place, "string_lte", f"String length must be less than or equal to {most}")
    if schema.pattern is not None and not schema.pattern[1].search(value):
        findings.add(place, "pattern", f"Does not match pattern '{schema.pattern[0]}'")
    findings.score += 1


_LIMITS: Final[tuple[tuple[str, str, str, Callable[[Any, Any], bool]], ...]] = (
    ("maximum", "number_lte", "Must be less than or equal to ", lambda number, limit: number > limit),
    ("exclusiveMaximum", "number_lt", "Must be less than ", lambda number, limit: number >= limit),
    ("minimum", "number_gte", "Must be greater than or equal to ", lambda number, limit: number < limit),
    ("exclusiveMinimum", "number_gt", "Must be greater than ", lambda number, limit: number <= limit),
)


def _number(schema: Schema, value: Any, place: str, findings: Findings) -> None:
    divisor = schema.numbers.get("multipleOf")
    if divisor is not None and (Fraction(value) / Fraction(divisor)).denominator != 1:
        findings.add(place, "multiple_of", f"Must be a multiple of {_shown(divisor)}")
    for keyword, kind, text, beyond in _LIMITS:
        limit = schema.numbers.get(keyword)
        if limit is not None and beyond(value, limit):
            findings.add(place, kind, text + _shown(limit))
    findings.score += 1


def _shown(number: Any) -> str:
    """A limit as Go shows a big float: an exponent below 1e-4 and from 1e6 on."""
    decimal = Decimal(number).normalize()
    if not decimal or -5 < decimal.adjusted() < 6:
        return format(decimal, "f")
    digits, _, exponent = f"{decimal:e}".partition("e")
    return f"{digits}e{exponent[0]}{exponent[1:].zfill(2)}"


# --- formats ---------------------------------------------------------------------------------------------------------

_HOSTNAME: Final = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_UUID: Final = re.compile(r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}")
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
_RELATIVE_POINTER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)", re.DOTALL)
_TEMPLATE: Final = re.compile(r"[^{]*(?:\{[^}]*\}[^{]*)*", re.DOTALL)
_ATOM: Final = r"[\w!#$%&'*+/=?^`{|}~.-]+"
_EMAIL: Final = re.compile(rf'(?:{_ATOM}|"[^"\\]*")@(?!.*\.\.)(?!\.)(?:{_ATOM}|\[[0-9.]+\])(?<!\.)')
_LONGEST_CHECKED: Final = 4096

_DATE: Final = ("2006-01-02",)
_TIME: Final = ("15:04:05Z07:00", "15:04:05")


def _is_time(*layouts: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        for layout in layouts:
            try:
                parse_time(layout, text)
            except BuiltinError:
                continue
            return True
        return False

    return check


def _is_address(mark: str) -> Callable[[str], bool]:
    """IPv4 and IPv6 are told apart by the mark only, so ``::ffff:1.2.3.4`` is both."""

    def check(text: str) -> bool:
        try:
            (IPv6Address if ":" in text else IPv4Address)(text)
        except AddressValueError:
            return False
        return mark in text and "%" not in text

    return check


def _is_uri(text: str, *, absolute: bool = True) -> bool:
    try:
        url = split_url(text)
    except BuiltinError:
        return False
    return (bool(url.scheme) or not absolute) and "\\" not in text


def _is_reference(text: str) -> bool:
    return _is_uri(text, absolute=False)


def _is_uri_template(text: str) -> bool:
    return _is_reference(text) and _TEMPLATE.fullmatch(split_url(text).path) is not None


def _is_email(text: str) -> bool:
    address = text.strip()
    if address.endswith(">") and "<" in address:
        address = address[address.rindex("<") + 1 : -1]
    local = address.rpartition("@")[0]
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    return _EMAIL.fullmatch(address) is not None and (local[:1] == '"' or not dots)


def _is_regex(text: str) -> bool:
    try:
        regular_expression(text)
    except SchemaError:
        return False
    return True


def _matches(pattern: re.Pattern[str], longest: int = _LONGEST_CHECKED) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        return len(text) <= longest and pattern.fullmatch(text) is not None

    return check


_FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date": _is_time(*_DATE),
    "time": _is_time(*_TIME),
    "date-time": _is_time(*_TIME, *_DATE, "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.999999999Z07:00"),
    "hostname": _matches(_HOSTNAME, 255),
    "email": _is_email,
    "idn-email": _is_email,
    "ipv4": _is_address("."),
    "ipv6": _is_address(":"),
    "uri": _is_uri,
    "iri": _is_uri,
    "uri-reference": _is_reference,
    "iri-reference": _is_reference,
    "uri-template": _is_uri_template,
    "uuid": _matches(_UUID),
    "regex": _is_regex,
    "json-pointer": _matches(_POINTER, 1 << 20),
    "relative-json-pointer": _matches(_RELATIVE_POINTER, 1 << 20),
}
