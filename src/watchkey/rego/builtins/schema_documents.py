"""Reads a JSON Schema (drafts 4, 6, 7) into a tree that can be checked against; says in OPA's words why it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

import re2

from watchkey.rego.builtins import CallContext
from watchkey.rego.values import NUMBER_TYPES, TRUE, Boolean, Object

_TYPES: Final = ("array", "boolean", "integer", "number", "null", "object", "string")
_DRAFTS: Final = {f"http://json-schema.org/draft-0{number}/schema": number for number in (4, 6, 7)}
_HYBRID: Final = 99
"""Where the schema does not name its draft, everything of all drafts holds."""

_DEEPEST: Final = 200
_LONGEST_PATTERN: Final = 10_000
_SCHEMA_OR_ARRAY: Final = "Valid Schema/Array Of Schemas"


class SchemaError(Exception):
    """The document is not a JSON Schema that can be used."""


@dataclass(slots=True)
class Schema:
    """One (sub)schema. A missing keyword is None or empty; ``passes`` is the answer of a schema that is a boolean."""

    passes: bool | None = None
    target: Schema | None = None
    types: list[str] = field(default_factory=list)
    properties: dict[str, Schema] = field(default_factory=dict)
    patterns: list[tuple[Any, Schema]] = field(default_factory=list)
    additional: Schema | bool | None = None
    property_names: Schema | None = None
    dependencies: dict[str, Schema | list[str]] = field(default_factory=dict)
    items: list[Schema] = field(default_factory=list)
    one_for_all: bool = False
    additional_items: Schema | bool | None = None
    contains: Schema | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    """multipleOf, minimum, maximum, exclusiveMinimum, exclusiveMaximum."""
    sizes: dict[str, int] = field(default_factory=dict)
    """minLength, maxLength, minItems, maxItems, minProperties, maxProperties."""
    pattern: tuple[str, Any] | None = None
    format: str = ""
    required: list[str] = field(default_factory=list)
    unique: bool = False
    constant: tuple[Any] | None = None
    options: tuple[Any, ...] | None = None
    one_of: list[Schema] = field(default_factory=list)
    any_of: list[Schema] = field(default_factory=list)
    all_of: list[Schema] = field(default_factory=list)
    negated: Schema | None = None
    condition: Schema | None = None
    then: Schema | None = None
    otherwise: Schema | None = None


def regular_expression(pattern: str) -> Any:
    """The compiled pattern; raises SchemaError where RE2 does not take it."""
    if len(pattern) > _LONGEST_PATTERN:
        raise SchemaError("a pattern is too long")
    try:
        return _compiled(pattern)
    except re2.error:
        raise SchemaError(f"Invalid regex pattern '{pattern}'") from None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _invalid_type(expected: str, given: str) -> SchemaError:
    return SchemaError(f"Invalid type. Expected: {expected}, given: {given}")


def compile_schema(ctx: CallContext, document: Any) -> Schema:
    """The schema of a document; raises SchemaError. References lead nowhere but into the document itself."""
    draft = _draft_of(document)
    return _Compiler(ctx, document, draft).root()


def _draft_of(document: Any) -> int:
    if type(document) is Boolean:
        return _HYBRID
    if type(document) is not Object:
        raise SchemaError("schema is invalid")
    named = document.get("$schema", "")
    if type(named) is not str:
        raise SchemaError("$schema must be of type string")
    return _DRAFTS.get(urldefrag(named)[0], _HYBRID)


class _Compiler:
    """Reads a document once; a place that is referred to is read once too."""

    def __init__(self, ctx: CallContext, document: Any, draft: int) -> None:
        self._ctx = ctx
        self._document = document
        self._draft = draft
        self._named: dict[str, Any] = {"": document}
        self._read: dict[str, Schema] = {}
        self._depth = 0
        self._collect(document, "", 0)

    def root(self) -> Schema:
        """The schema of the whole document."""
        schema = Schema()
        self._read["#"] = schema
        self._fill(schema, self._document, "")
        return schema

    def _collect(self, node: Any, base: str, depth: int) -> None:
        """Note every subschema that has an ``$id``."""
        self._ctx.spend(1)
        if depth > _DEEPEST:
            raise SchemaError("the schema is nested too deeply")
        if type(node) is tuple:
            for each in node:
                self._collect(each, base, depth + 1)
        if type(node) is not Object:
            return
        name = node.get("$id", node.get("id"))
        if type(name) is str:
            base = urljoin(base, name)
            if base in self._named and depth:
                raise SchemaError(f'Reference already exists: "{base}"')
            self._named[base.removesuffix("#")] = node
        for key, child in node.pairs():
            if key not in ("const", "enum"):
                self._collect(child, base, depth + 1)

    # --- one schema

    def _new(self, node: Any, base: str) -> Schema:
        schema = Schema()
        self._fill(schema, node, base)
        return schema

    def _fill(self, schema: Schema, node: Any, base: str) -> None:
        self._ctx.spend(1)
        if type(node) is Boolean and self._draft >= 6:
            schema.passes = node is TRUE
            return
        if type(node) is not Object:
            raise SchemaError("Expected: Valid Schema, given: Invalid JSON")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise SchemaError("the schema is nested too deeply")
        name = self._text(node, "$id" if "id" not in node or self._draft in (6, 7) else "id")
        base = urljoin(base, name) if name else base
        self._definitions(node, base)
        for key in ("title", "description"):
            self._text(node, key)
        reference = self._text(node, "$ref")
        if reference is not None:
            schema.target = self._resolve(urljoin(base, reference) if base else reference)
        else:
            for read in (_types, _objects, _arrays, _numbers, _texts, _sizes_of_objects, _sizes_of_arrays, _choices):
                read(self, schema, node, base)
        self._depth -= 1

    @staticmethod
    def _text(node: Object, key: str) -> str | None:
        value = node.get(key)
        if value is None and key not in node:
            return None
        if type(value) is not str:
            raise _invalid_type("string", key)
        return value

    def _definitions(self, node: Object, base: str) -> None:
        if "definitions" not in node:
            return
        definitions = node["definitions"]
        if type(definitions) is not Object or any(type(each) not in (Boolean, Object) for each in definitions.values()):
            raise _invalid_type("Array Of Schemas", "definitions")
        for _, each in definitions.pairs():
            self._new(each, base)

    def _resolve(self, reference: str) -> Schema:
        place, _, pointer = reference.partition("#")
        known = f"{place}#{pointer}"
        if known in self._read:
            return self._read[known]
        if reference in self._named:
            node, base = self._named[reference], reference
        elif place in self._named:
            node, base = _pointed(self._named[place], pointer), place
        else:
            raise SchemaError(f"remote reference loading disabled: {reference}")
        if type(node) not in (Boolean, Object):
            raise SchemaError("Valid Schema must be of type object")
        schema = self._read[known] = Schema()
        self._fill(schema, node, base)
        return schema

    def schemas(self, node: Object, key: str, base: str) -> list[Schema]:
        """The schemas of a keyword that has an array of them."""
        return [self._new(each, base) for each in _array(node, key) or ()]

    def one(self, node: Object, key: str, base: str, wrong: str) -> Schema | None:
        """The schema of a keyword that has one."""
        if key not in node:
            return None
        if type(node[key]) not in (Boolean, Object):
            raise SchemaError(wrong)
        return self._new(node[key], base)

    def schema_or_flag(self, node: Object, key: str, base: str) -> Schema | bool | None:
        """The value of a keyword that has a boolean or a schema."""
        if key not in node:
            return None
        if type(node[key]) is Boolean:
            return node[key] is TRUE
        if type(node[key]) is not Object:
            raise _invalid_type("boolean/Valid Schema", key)
        return self._new(node[key], base)

    @property
    def draft(self) -> int:
        """Number of the draft."""
        return self._draft

    def new(self, node: Any, base: str) -> Schema:
        """A subschema."""
        return self._new(node, base)


def _pointed(node: Any, pointer: str) -> Any:
    for step in unquote(pointer).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if type(node) is Object and key in node:
            node = node[key]
        elif type(node) is tuple and key.isascii() and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            raise SchemaError(f"Object has no key '{key}'")
    return node


def _array(node: Object, key: str) -> tuple[Any, ...] | None:
    if key not in node:
        return None
    value = node[key]
    if type(value) is not tuple:
        raise SchemaError(f"{key} must be of an array")
    return value


def _object(node: Object, key: str, wrong: str) -> Object:
    value = node.get(key, Object())
    if type(value) is not Object:
        raise SchemaError(wrong)
    return value


# --- keywords --------------------------------------------------------------------------------------------------------


def _types(_compiler: _Compiler, schema: Schema, node: Object, _base: str) -> None:
    if "type" not in node:
        return
    named = node["type"] if type(node["type"]) is tuple else (node["type"],)
    for each in named:
        if type(each) is not str:
            raise _invalid_type("type", "string/Array Of Strings")
        if each not in _TYPES:
            valid = "[" + " ".join(_TYPES) + "]"
            raise SchemaError(
                f"has a primitive type that is NOT VALID -- given: /{each}/ Expected valid values are:{valid}"
            )
        if each in schema.types:
            raise SchemaError(f"{each} type is duplicated")
        schema.types.append(each)


def _objects(compiler: _Compiler, schema: Schema, node: Object, base: str) -> None:
    properties = _object(node, "properties", "Properties must be of type object")
    schema.properties = {name: compiler.new(each, base) for name, each in properties.pairs()}
    schema.additional = compiler.schema_or_flag(node, "additionalProperties", base)
    patterns = _object(node, "patternProperties", str(_invalid_type("Valid Schema", "patternProperties")))
    for pattern, each in patterns.pairs():
        schema.patterns.append((regular_expression(pattern), compiler.new(each, base)))
    if compiler.draft >= 6:
        wrong = str(_invalid_type("Valid Schema", "patternProperties"))
        schema.property_names = compiler.one(node, "propertyNames", base, wrong)
    dependencies = _object(node, "dependencies", "dependencies must be of type object")
    for name, each in dependencies.pairs():
        schema.dependencies[name] = _dependency(compiler, each, base)


def _dependency(compiler: _Compiler, each: Any, base: str) -> Schema | list[str]:
    if type(each) in (Boolean, Object):
        return compiler.new(each, base)
    if type(each) is tuple and all(type(name) is str for name in each):
        return list(each)
    raise SchemaError("Dependency must be of type Schema Or Array Of Strings")


def _arrays(compiler: _Compiler, schema: Schema, node: Object, base: str) -> None:
    if "items" in node:
        items = node["items"]
        schema.one_for_all = type(items) is not tuple
        for each in (items,) if schema.one_for_all else items:
            if type(each) not in (Boolean, Object):
                raise _invalid_type(_SCHEMA_OR_ARRAY, "items")
            schema.items.append(compiler.new(each, base))
    schema.additional_items = compiler.schema_or_flag(node, "additionalItems", base)


def _numbers(compiler: _Compiler, schema: Schema, node: Object, _base: str) -> None:
    if "multipleOf" in node:
        if type(node["multipleOf"]) not in NUMBER_TYPES:
            raise _invalid_type("Number", "multipleOf")
        if node["multipleOf"] <= 0:
            raise SchemaError("multipleOf must be strictly greater than 0")
        schema.numbers["multipleOf"] = node["multipleOf"]
    for plain, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if plain in node:
            if type(node[plain]) not in NUMBER_TYPES:
                raise SchemaError(f"{plain} must be of a Number")
            schema.numbers[plain] = node[plain]
        if exclusive in node:
            _exclusive(compiler.draft, schema.numbers, node[exclusive], plain, exclusive)


def _exclusive(draft: int, numbers: dict[str, Any], value: Any, plain: str, exclusive: str) -> None:
    """A boolean that sharpens the plain limit in draft 4, a limit of its own later."""
    if type(value) is Boolean and draft in (4, _HYBRID):
        if plain not in numbers:
            raise SchemaError(f"{exclusive} cannot be used without {plain}")
        if value is TRUE:
            numbers[exclusive] = numbers.pop(plain)
    elif type(value) in NUMBER_TYPES and draft != 4:
        numbers[exclusive] = value
    else:
        raise _invalid_type({4: "boolean", _HYBRID: "boolean/number"}.get(draft, "number"), exclusive)


def _size(schema: Schema, node: Object, key: str) -> None:
    if key in node:
        if type(node[key]) is not int:
            raise SchemaError(f"{key} must be of an integer")
        if node[key] < 0:
            raise SchemaError(f"{key} must be greater than or equal to 0")
        schema.sizes[key] = node[key]


def _size_pair(schema: Schema, node: Object, least: str, most: str) -> None:
    _size(schema, node, least)
    _size(schema, node, most)
    if schema.sizes.get(least, 0) > schema.sizes.get(most, 1 << 64):
        raise SchemaError(f"{least} cannot be greater than {most}")


def _texts(_compiler: _Compiler, schema: Schema, node: Object, _base: str) -> None:
    _size_pair(schema, node, "minLength", "maxLength")
    for key in ("pattern", "format"):
        if key in node and type(node[key]) is not str:
            raise _invalid_type("string", key)
    if "pattern" in node:
        try:
            schema.pattern = (node["pattern"], regular_expression(node["pattern"]))
        except SchemaError:
            raise SchemaError("pattern must be a valid regex") from None
    schema.format = node.get("format", "")


def _sizes_of_objects(_compiler: _Compiler, schema: Schema, node: Object, _base: str) -> None:
    _size_pair(schema, node, "minProperties", "maxProperties")
    for name in _array(node, "required") or ():
        if type(name) is not str:
            raise _invalid_type("string", "required")
        if name in schema.required:
            raise SchemaError("required items must be unique")
        schema.required.append(name)


def _sizes_of_arrays(compiler: _Compiler, schema: Schema, node: Object, base: str) -> None:
    _size(schema, node, "minItems")
    _size(schema, node, "maxItems")
    if "uniqueItems" in node:
        if type(node["uniqueItems"]) is not Boolean:
            raise SchemaError("uniqueItems must be of a boolean")
        schema.unique = node["uniqueItems"] is TRUE
    if "contains" in node and compiler.draft >= 6:
        schema.contains = compiler.new(node["contains"], base)


def _choices(compiler: _Compiler, schema: Schema, node: Object, base: str) -> None:
    if "const" in node and compiler.draft >= 6:
        schema.constant = (node["const"],)
    schema.options = _array(node, "enum")
    if schema.options is not None and len(set(schema.options)) < len(schema.options):
        raise SchemaError("enum items must be unique")
    schema.one_of = compiler.schemas(node, "oneOf", base)
    schema.any_of = compiler.schemas(node, "anyOf", base)
    schema.all_of = compiler.schemas(node, "allOf", base)
    schema.negated = compiler.one(node, "not", base, "not must be of an object")
    if compiler.draft >= 7:
        schema.condition = compiler.one(node, "if", base, "if must be of an object")
        schema.then = compiler.one(node, "then", base, "then must be of an object")
        schema.otherwise = compiler.one(node, "else", base, "else must be of an object")
