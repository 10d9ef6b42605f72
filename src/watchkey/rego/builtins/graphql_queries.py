"""Built-ins of GraphQL: parsing of queries and schemas, and validation of queries against schemas."""

from __future__ import annotations

import re
from typing import Any, Final

from graphql import GraphQLError, GraphQLSchema, build_schema, parse, validate

from watchkey.rego.builtins import BuiltinError, CallContext, builtin, operand_error
from watchkey.rego.builtins.graphql_schema import (
    Schema,
    Tree,
    arguments_source,
    checked_schema,
    directives_source,
    type_text,
    value_source,
)
from watchkey.rego.builtins.graphql_syntax import located, parse_query, parse_schema
from watchkey.rego.types import BOOLEAN, OBJECT, STRING, any_of, tuple_of
from watchkey.rego.values import EMPTY_OBJECT, FALSE, NUMBER_TYPES, TRUE, Boolean, Object, Set, boolean

_DOCUMENT: Final = any_of(STRING, OBJECT)
_UNCHECKED: Final = ((), ())
_DEEPEST: Final = 120

_REQUIRED: Final = re.compile(r"^Argument '\w+\.(\w+)\((\w+):\)' of type '(.*?)'")
"""How the library names an argument; OPA names it apart from its field."""
_NOT_CHECKED: Final = "Int cannot represent non 32-bit signed integer value"
"""OPA takes integers of any size."""


# --- trees and values ------------------------------------------------------------------------------------------------


def _value_of(tree: Any) -> Any:
    """A tree as a Rego value."""
    if isinstance(tree, dict):
        return Object({name: _value_of(item) for name, item in tree.items()})
    if isinstance(tree, list):
        return tuple([_value_of(each) for each in tree])
    return boolean(tree) if isinstance(tree, bool) else tree


def _tree_of(value: Any, depth: int = 0) -> Any:
    """A tree given as a Rego value; what holds nothing is dropped, as are places in a source."""
    if depth > _DEEPEST:
        raise BuiltinError("a GraphQL document is nested too deeply")
    kind = type(value)
    if kind is Object:
        found = {name: _tree_of(item, depth + 1) for name, item in value.items() if name != "Position"}
        if not all(type(name) is str for name in found):
            raise BuiltinError("json: a GraphQL document has a key that is not a string")
        return {name: item for name, item in found.items() if item is not None and item not in ([], {})}
    if kind is tuple or kind is Set:
        elements = value if kind is tuple else value.ordered()
        found_elements = [_tree_of(each, depth + 1) for each in elements]
        return [each for each in found_elements if each is not None and each not in ([], {})]
    if kind is Boolean:
        return value is TRUE
    return int(value) if kind in NUMBER_TYPES else value


_LISTS: Final = frozenset(
    {
        "Operations", "Fragments", "Schema", "SchemaExtension", "Directives", "Definitions", "Extensions",
        "SelectionSet", "VariableDefinitions", "VariableDefinition", "Arguments", "Fields", "Interfaces", "Types",
        "EnumValues", "Children", "OperationTypes", "Locations", "List",
    }
)  # fmt: skip
_OBJECTS: Final = frozenset({"Type", "Elem", "DefaultValue", "Value"})
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "Operations": {"Operation": "", "Name": ""},
    "Fragments": {"Name": "", "TypeCondition": ""},
    "SelectionSet": {"Alias": "", "Name": ""},
    "VariableDefinitions": {"Variable": "", "Used": False},
    "VariableDefinition": {"Variable": "", "Used": False},
    "Directives": {"Name": "", "Location": ""},
    "Arguments": {"Name": ""},
    "Children": {"Name": ""},
    "Definitions": {"Kind": "", "Description": "", "Name": "", "BuiltIn": False},
    "Extensions": {"Kind": "", "Description": "", "Name": "", "BuiltIn": False},
    "Fields": {"Description": "", "Name": ""},
    "EnumValues": {"Description": "", "Name": ""},
    "Schema": {"Description": ""},
    "SchemaExtension": {"Description": ""},
    "OperationTypes": {"Operation": "", "Type": ""},
    "Type": {"NamedType": "", "NonNull": False},
    "Elem": {"NamedType": "", "NonNull": False},
    "Value": {"Raw": "", "Kind": 0, "ExpectedTypeHasDefault": False},
    "DefaultValue": {"Raw": "", "Kind": 0, "ExpectedTypeHasDefault": False},
}
"""Fields that a node always has, by the field that holds the node."""


def _completed(tree: Any, within: str, *, schema: bool) -> Any:
    """The tree with every node whole; raises BuiltinError for fields of the wrong type."""
    if isinstance(tree, list):
        return [_completed(each, within, schema=schema) for each in tree]
    if not isinstance(tree, dict):
        if within in _DEFAULTS and within not in ("Type", "Schema"):
            raise BuiltinError(f"json: cannot unmarshal into Go struct field {within}")
        return tree
    defaults = _DEFAULTS.get(within, {})
    if schema and within == "Directives" and "Locations" in tree:
        defaults = {"Description": "", "Name": "", "IsRepeatable": False}
    elif schema and within == "Arguments" and "Type" in tree:
        defaults = {"Description": "", "Name": ""}
    node = {**defaults, **tree}
    for name, item in node.items():
        if name in _LISTS and not isinstance(item, list):
            raise BuiltinError(f"json: cannot unmarshal into Go struct field {name}")
        if name in defaults and type(item) is not type(defaults[name]) and not isinstance(item, dict):
            raise BuiltinError(f"json: cannot unmarshal into Go struct field {name}")
    return {name: _completed(item, name, schema=schema) for name, item in node.items()}


def _query_tree(ctx: CallContext, document: Any) -> Tree:
    if type(document) is str:
        return parse_query(ctx, document)
    if type(document) is not Object:
        raise operand_error(0, document, "string", "object")
    tree: Tree = _completed(_tree_of(document), "", schema=False)
    return tree


def _schema_tree(ctx: CallContext, document: Any) -> Tree:
    if type(document) is str:
        return parse_schema(ctx, document)
    if type(document) is not Object:
        raise operand_error(1, document, "string", "object")
    tree: Tree = _completed(_tree_of(document), "", schema=True)
    return tree


# --- validation ------------------------------------------------------------------------------------------------------


def _selections(selections: list[Tree]) -> str:
    pieces = []
    for each in selections:
        directives = directives_source(each.get("Directives", ()))
        inner = _selections(each["SelectionSet"]) if each.get("SelectionSet") else ""
        if "Alias" in each:
            alias = f"{each['Alias']}: " if each["Alias"] not in ("", each["Name"]) else ""
            pieces.append(f"{alias}{each['Name']}{arguments_source(each.get('Arguments', ()))}{directives}{inner}")
        elif "TypeCondition" in each:
            condition = f" on {each['TypeCondition']}" if each["TypeCondition"] else ""
            pieces.append(f"...{condition}{directives}{inner}")
        else:
            pieces.append(f"...{each['Name']}{directives}")
    return " {" + " ".join(pieces) + "}"


def _variables(definitions: list[Tree]) -> str:
    shown = []
    for each in definitions:
        default = f" = {value_source(each['DefaultValue'])}" if each.get("DefaultValue") else ""
        directives = directives_source(each.get("Directives", ()))
        shown.append(f"${each['Variable']}: {type_text(each.get('Type', {}))}{default}{directives}")
    return f"({', '.join(shown)})" if shown else ""


def _query_source(tree: Tree) -> str:
    parts = []
    for each in tree.get("Operations", ()):
        head = f"{each['Operation']} {each['Name']}{_variables(each.get('VariableDefinitions', []))}"
        parts.append(head + directives_source(each.get("Directives", ())) + _selections(each.get("SelectionSet", [])))
    for each in tree.get("Fragments", ()):
        variables = _variables(each.get("VariableDefinition", []))
        head = f"fragment {each['Name']}{variables} on {each['TypeCondition']}"
        parts.append(head + directives_source(each.get("Directives", ())) + _selections(each.get("SelectionSet", [])))
    return "\n".join(parts)


def _check_query(ctx: CallContext, tree: Tree, document: Any, schema: Schema) -> None:
    """Raises BuiltinError where the query does not fit the schema; costs grow with the square of the query."""
    for each in tree.get("Operations", ()):
        if each["Operation"] not in schema.roots:
            raise BuiltinError(f'GraphQL parse error: Schema does not support operation type "{each["Operation"]}"')
    source = document if type(document) is str else _query_source(tree)
    sdl = schema.sdl()
    ctx.spend(len(sdl) + (len(source) * len(source) >> 10))
    if not tree.get("Operations") and not tree.get("Fragments"):
        return
    try:
        built: GraphQLSchema = build_schema(sdl, assume_valid=True, assume_valid_sdl=True)
        parsed = parse(source, experimental_fragment_arguments=True)
        problems = [each for each in validate(built, parsed) if not each.message.startswith(_NOT_CHECKED)]
    except GraphQLError as problem:
        problems = [problem]
    except (RecursionError, TypeError, KeyError, ValueError):
        raise BuiltinError("GraphQL parse error: the document cannot be checked") from None
    if problems:
        raise _problem(problems[0])


def _problem(error: GraphQLError) -> BuiltinError:
    message = _REQUIRED.sub(r'Field "\1" argument "\2" of type "\3"', error.message.removesuffix("."))
    if error.locations:
        return located(message, error.locations[0].line, error.locations[0].column)
    return BuiltinError(f"GraphQL parse error: {message}")


def _parsed(ctx: CallContext, query: Any, schema: Any) -> tuple[Any, Any]:
    query_tree = _query_tree(ctx, query)
    schema_tree = _schema_tree(ctx, schema)
    checked = checked_schema(ctx, schema_tree)
    _check_query(ctx, query_tree, query, checked)
    return _value_of(query_tree), _value_of(schema_tree)


@builtin("graphql.parse_query", (STRING,), OBJECT, context=True)
def graphql_parse_query(ctx: CallContext, source: str) -> Any:
    """The tree of a query."""
    return _value_of(parse_query(ctx, source))


@builtin("graphql.parse_schema", (STRING,), OBJECT, context=True)
def graphql_parse_schema(ctx: CallContext, source: str) -> Any:
    """The tree of a schema, which is not validated."""
    return _value_of(parse_schema(ctx, source))


@builtin("graphql.parse", (_DOCUMENT, _DOCUMENT), tuple_of(OBJECT, OBJECT), operands=_UNCHECKED, context=True)
def graphql_parse(ctx: CallContext, query: Any, schema: Any) -> Any:
    """``[query tree, schema tree]`` of a query that fits the schema; an error where it does not."""
    return _parsed(ctx, query, schema)


@builtin(
    "graphql.parse_and_verify",
    (_DOCUMENT, _DOCUMENT),
    tuple_of(BOOLEAN, OBJECT, OBJECT),
    operands=_UNCHECKED,
    context=True,
)
def graphql_parse_and_verify(ctx: CallContext, query: Any, schema: Any) -> Any:
    """``[true, query tree, schema tree]``, or ``[false, {}, {}]`` where the query does not fit."""
    try:
        return (TRUE, *_parsed(ctx, query, schema))
    except BuiltinError:
        return (FALSE, EMPTY_OBJECT, EMPTY_OBJECT)


@builtin("graphql.is_valid", (_DOCUMENT, _DOCUMENT), BOOLEAN, operands=_UNCHECKED, context=True)
def graphql_is_valid(ctx: CallContext, query: Any, schema: Any) -> Boolean:
    """Whether the query fits the schema."""
    try:
        _parsed(ctx, query, schema)
    except BuiltinError:
        return FALSE
    return TRUE


@builtin("graphql.schema_is_valid", (_DOCUMENT,), BOOLEAN, operands=((),), context=True)
def graphql_schema_is_valid(ctx: CallContext, schema: Any) -> Boolean:
    """Whether the schema is sound."""
    try:
        checked_schema(ctx, _schema_tree(ctx, schema))
    except BuiltinError:
        return FALSE
    return TRUE
