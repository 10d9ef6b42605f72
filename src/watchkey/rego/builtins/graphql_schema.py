"""Whether a GraphQL schema document is sound, and the schema that ``graphql-core`` checks queries against."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import BuiltinError, CallContext
from watchkey.rego.builtins.graphql_syntax import BOOLEAN, ENUM, KINDS, LIST, NULL, OBJECT, VARIABLE

Tree: TypeAlias = dict[str, Any]

_SCALARS: Final = ("Int", "Float", "String", "Boolean", "ID")
_INTROSPECTION: Final = {
    **dict.fromkeys(("__Schema", "__Type", "__Field", "__InputValue", "__EnumValue", "__Directive"), "OBJECT"),
    **dict.fromkeys(("__TypeKind", "__DirectiveLocation"), "ENUM"),
}
_OPERATIONS: Final = ("query", "mutation", "subscription")
_INPUT_KINDS: Final = ("SCALAR", "ENUM", "INPUT_OBJECT")
_OUTPUT_KINDS: Final = ("SCALAR", "OBJECT", "INTERFACE", "UNION", "ENUM")


def _argument(name: str, kind: str, *, needed: bool = False) -> Tree:
    return {"Name": name, "Description": "", "Type": {"NamedType": kind, "NonNull": needed}}


def _directive(name: str, arguments: Iterable[Tree], *locations: str) -> Tree:
    return {"Name": name, "Arguments": list(arguments), "Locations": list(locations), "IsRepeatable": False}


_BUILT_IN_DIRECTIVES: Final[dict[str, Tree]] = {
    each["Name"]: each
    for each in (
        _directive("include", [_argument("if", "Boolean", needed=True)], "FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"),
        _directive("skip", [_argument("if", "Boolean", needed=True)], "FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"),
        _directive(
            "defer", [_argument("if", "Boolean"), _argument("label", "String")], "FRAGMENT_SPREAD", "INLINE_FRAGMENT"
        ),
        _directive(
            "deprecated",
            [_argument("reason", "String")],
            "FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION", "ENUM_VALUE",
        ),
        _directive("specifiedBy", [_argument("url", "String", needed=True)], "SCALAR"),
        _directive("oneOf", [], "INPUT_OBJECT"),
    )
}  # fmt: skip


def _fail(problem: str) -> BuiltinError:
    return BuiltinError(f"Error in gqlparser SchemaDocument to Schema conversion: input: {problem}")


def named_type(reference: Tree) -> str:
    """The name at the heart of a type reference."""
    while not reference.get("NamedType") and reference.get("Elem"):
        reference = reference["Elem"]
    return str(reference.get("NamedType", ""))


def type_text(reference: Tree) -> str:
    """A type reference as GraphQL writes it."""
    inner = f"[{type_text(reference['Elem'])}]" if reference.get("Elem") else str(reference.get("NamedType", ""))
    return inner + ("!" if reference.get("NonNull") else "")


@dataclass(slots=True)
class Schema:
    """A sound schema: its types by name, extensions merged in, its directives and root types."""

    types: dict[str, Tree] = field(default_factory=dict)
    directives: dict[str, Tree] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    possible: dict[str, set[str]] = field(default_factory=dict)

    def sdl(self) -> str:
        """The schema in GraphQL's own language, for ``graphql-core``."""
        return _Printer(self).text()


def checked_schema(ctx: CallContext, document: Tree) -> Schema:
    """The schema of a document; raises BuiltinError where it is not sound."""
    schema = Schema()
    for name in _SCALARS:
        schema.types[name] = {"Kind": "SCALAR", "Name": name, "BuiltIn": True}
    for name, kind in _INTROSPECTION.items():
        schema.types[name] = {"Kind": kind, "Name": name, "BuiltIn": True, "EnumValues": [], "Fields": []}
    own = _merged_types(schema, document)
    _note_possible_types(schema, own)
    schema.directives = dict(_BUILT_IN_DIRECTIVES)
    for each in document.get("Directives", ()):
        if each["Name"] in schema.directives and each["Name"] not in _BUILT_IN_DIRECTIVES:
            raise _fail(f"Cannot redeclare directive {each['Name']}.")
        schema.directives[each["Name"]] = each
    check = _Checks(ctx, schema)
    _set_roots(schema, document, check)
    for name in sorted(own):
        check.definition(schema.types[name])
    check.input_cycles(own)
    for name in sorted(schema.directives):
        directive = schema.directives[name]
        check.name(name)
        check.arguments(directive.get("Arguments", ()), within=name)
    if not document.get("Schema"):
        for operation in _OPERATIONS:
            if operation.title() in schema.types:
                schema.roots.setdefault(operation, operation.title())
    return schema


def _merged_types(schema: Schema, document: Tree) -> set[str]:
    own: set[str] = set()
    for definition in document.get("Definitions", ()):
        if definition["Name"] in schema.types:
            raise _fail(f"Cannot redeclare type {definition['Name']}.")
        schema.types[definition["Name"]] = dict(definition)
        own.add(definition["Name"])
    for extension in document.get("Extensions", ()):
        name, kind = extension["Name"], extension["Kind"]
        base = schema.types.setdefault(name, {"Kind": kind, "Name": name})
        own.add(name)
        if base["Kind"] != kind:
            raise _fail(f"Cannot extend type {name} because the base type is a {base['Kind']}, not {kind}.")
        for part in ("Directives", "Interfaces", "Fields", "Types", "EnumValues"):
            base[part] = [*base.get(part, ()), *extension.get(part, ())]
    return own


def _note_possible_types(schema: Schema, own: set[str]) -> None:
    for name in own:
        definition = schema.types[name]
        if definition["Kind"] == "UNION":
            schema.possible.setdefault(name, set()).update(definition.get("Types", ()))
        for interface in definition.get("Interfaces", ()):
            schema.possible.setdefault(interface, set()).add(name)
        if definition["Kind"] in ("OBJECT", "INPUT_OBJECT"):
            schema.possible.setdefault(name, set()).add(name)


def _set_roots(schema: Schema, document: Tree, check: _Checks) -> None:
    definitions = document.get("Schema", [])
    if len(definitions) > 1:
        raise _fail("Cannot have multiple schema entry points, consider schema extensions instead.")
    for definition in [*definitions, *document.get("SchemaExtension", ())]:
        for entry in definition.get("OperationTypes", ()):
            operation, name = entry["Operation"], entry["Type"]
            if name not in schema.types:
                raise _fail(f"Schema root {operation} refers to a type {name} that does not exist.")
            schema.roots[operation] = name
        check.directives(definition.get("Directives", ()), "SCHEMA")


class _Checks:
    """The rules that a schema has to follow."""

    def __init__(self, ctx: CallContext, schema: Schema) -> None:
        self._ctx = ctx
        self._schema = schema

    def name(self, name: str) -> None:
        """Names that begin with two underscores are GraphQL's own."""
        if name.startswith("__"):
            raise _fail(f'Name "{name}" must not begin with "__", which is reserved by GraphQL introspection.')

    def _type(self, reference: Tree) -> Tree:
        name = named_type(reference)
        if name not in self._schema.types:
            raise _fail(f"Undefined type {name}.")
        return self._schema.types[name]

    def arguments(self, arguments: Iterable[Tree], within: str = "") -> None:
        """Arguments of a field, or of the directive `within`."""
        for argument in arguments:
            self.name(argument["Name"])
            found = self._type(argument["Type"])
            if found["Kind"] not in _INPUT_KINDS:
                use = f"cannot use {type_text(argument['Type'])} as argument {argument['Name']}"
                raise _fail(f"{use} because {found['Kind']} is not a valid input type")
            self.directives(argument.get("Directives", ()), "ARGUMENT_DEFINITION", within=within)

    def directives(
        self, directives: Iterable[Tree], location: str, *, within: str = "", one_place: bool = True
    ) -> None:
        """Directives that are used at a location."""
        seen: set[str] = set()
        for used in directives:
            self._ctx.spend(1)
            name = used["Name"]
            self.name(name)
            if within and name == within:
                raise _fail(f"Directive {name} cannot refer to itself.")
            definition = self._schema.directives.get(name)
            if definition is None:
                raise _fail(f"Undefined directive {name}.")
            if one_place and name in seen and not definition.get("IsRepeatable"):
                raise _fail(f"The directive {name} can only be used once at this location.")
            seen.add(name)
            if location not in definition.get("Locations", ()):
                raise _fail(f"Directive {name} is not applicable on {location}.")
            self._directive_arguments(used, definition)

    def _directive_arguments(self, used: Tree, definition: Tree) -> None:
        given = {argument["Name"]: argument for argument in used.get("Arguments", ())}
        known = {argument["Name"]: argument for argument in definition.get("Arguments", ())}
        for name in given:
            if name not in known:
                raise _fail(f"Undefined argument {name} for directive {used['Name']}.")
        for name, argument in known.items():
            needed = argument["Type"].get("NonNull") and not argument.get("DefaultValue")
            if needed and (name not in given or given[name].get("Value", {}).get("Kind") == NULL):
                raise _fail(f"Argument {name} for directive {used['Name']} cannot be null.")

    def definition(self, definition: Tree) -> None:
        """Everything about one type."""
        kind, name = definition["Kind"], definition["Name"]
        self._fields(definition)
        self._union(definition)
        for interface in definition.get("Interfaces", ()):
            self._implements(definition, interface)
        if kind in ("OBJECT", "INTERFACE"):
            self._members(definition, "Fields", "must define one or more fields", _OUTPUT_KINDS)
        elif kind == "INPUT_OBJECT":
            self._members(definition, "Fields", "must define one or more input fields", _INPUT_KINDS)
        elif kind == "ENUM":
            self._members(definition, "EnumValues", "must define one or more unique enum values", ())
            for value in definition["EnumValues"]:
                if value["Name"] in ("true", "false", "null"):
                    raise _fail(f"{kind} {name}: non-enum value {value['Name']}.")
                self.directives(value.get("Directives", ()), "ENUM_VALUE")
        self._once(definition, "Fields", "Field")
        self._once(definition, "EnumValues", "Enum value")
        members = definition.get("Types", ())
        if len(set(members)) < len(members):
            again = next(member for place, member in enumerate(members) if member in members[:place])
            raise _fail(f"Union type {name} can only include type {again} once.")
        if not definition.get("BuiltIn"):
            self.name(name)
        self.directives(definition.get("Directives", ()), kind, one_place=False)

    def _fields(self, definition: Tree) -> None:
        location = "INPUT_FIELD_DEFINITION" if definition["Kind"] == "INPUT_OBJECT" else "FIELD_DEFINITION"
        for each in definition.get("Fields", ()):
            self._ctx.spend(1)
            self.name(each["Name"])
            self._type(each["Type"])
            self.arguments(each.get("Arguments", ()))
            self.directives(each.get("Directives", ()), location)

    def _union(self, definition: Tree) -> None:
        for member in definition.get("Types", ()):
            found = self._schema.types.get(member)
            if found is None:
                raise _fail(f'Undefined type "{member}".')
            if found["Kind"] != "OBJECT":
                raise _fail(f'{definition["Kind"]} type "{member}" must be OBJECT.')

    def _members(self, definition: Tree, part: str, none: str, kinds: tuple[str, ...]) -> None:
        if not definition.get(part):
            raise _fail(f"{definition['Kind']} {definition['Name']}: {none}.")
        for each in definition[part] if kinds else ():
            if self._type(each["Type"])["Kind"] not in kinds:
                raise _fail(f"{definition['Kind']} {definition['Name']}: field must be one of {', '.join(kinds)}.")

    @staticmethod
    def _once(definition: Tree, part: str, what: str) -> None:
        seen: set[str] = set()
        for each in definition.get(part, ()):
            if each["Name"] in seen:
                raise _fail(f"{what} {definition['Name']}.{each['Name']} can only be defined once.")
            seen.add(each["Name"])

    def _implements(self, definition: Tree, interface: str) -> None:
        found = self._schema.types.get(interface)
        if found is None:
            raise _fail(f'Undefined type "{interface}".')
        if found["Kind"] != "INTERFACE":
            raise _fail(f'"{interface}" is a non interface type {found["Kind"]}.')
        claim = f"For {definition['Name']} to implement {interface}"
        fields = {each["Name"]: each for each in definition.get("Fields", ())}
        for required in found.get("Fields", ()):
            self._ctx.spend(1)
            name = required["Name"]
            if name not in fields:
                raise _fail(f"{claim} it must have a field called {name}.")
            if not self._covariant(required["Type"], fields[name]["Type"]):
                raise _fail(f"{claim} the field {name} must have type {type_text(required['Type'])}.")
            self._same_arguments(claim, required, fields[name])
        for ancestor in found.get("Interfaces", ()):
            if ancestor not in definition.get("Interfaces", ()):
                raise _fail(
                    f"Type {definition['Name']} must implement {ancestor} because it is implemented by {interface}."
                )

    @staticmethod
    def _same_arguments(claim: str, required: Tree, found: Tree) -> None:
        given = {each["Name"]: each for each in found.get("Arguments", ())}
        wanted = {each["Name"]: each for each in required.get("Arguments", ())}
        must = f"{claim} the field {required['Name']} must have the same arguments but"
        for name, argument in wanted.items():
            if name not in given:
                raise _fail(f"{must} it is missing {name}.")
            if not _compatible(argument["Type"], given[name]["Type"]):
                raise _fail(f"{must} {name} has the wrong type.")
        for name, argument in given.items():
            if name not in wanted and argument["Type"].get("NonNull") and not argument.get("DefaultValue"):
                raise _fail(
                    f"{claim} any additional arguments on {found['Name']} must be optional or have a default value "
                    f"but {name} is required."
                )

    def _covariant(self, required: Tree, actual: Tree) -> bool:
        if required.get("NonNull") and not actual.get("NonNull"):
            return False
        if required.get("NamedType"):
            name = actual.get("NamedType", "")
            return name == required["NamedType"] or name in self._schema.possible.get(required["NamedType"], ())
        if not required.get("Elem") or not actual.get("Elem"):
            return False
        return self._covariant(required["Elem"], actual["Elem"])

    def input_cycles(self, own: set[str]) -> None:
        """An input object cannot hold itself by fields that must all be given."""
        state: dict[str, int] = {}
        for start in sorted(own):
            stack = [(start, iter(self._needed_inputs(start)))] if start not in state else []
            while stack:
                name, following = stack[-1]
                state[name] = 1
                nearest = next(following, None)
                if nearest is None:
                    state[name] = 2
                    stack.pop()
                elif state.get(nearest) == 1:
                    raise _fail(
                        f'Cannot reference Input Object "{nearest}" within itself through a series of non-null fields.'
                    )
                elif nearest not in state:
                    stack.append((nearest, iter(self._needed_inputs(nearest))))

    def _needed_inputs(self, name: str) -> list[str]:
        definition = self._schema.types.get(name, {})
        if definition.get("Kind") != "INPUT_OBJECT":
            return []
        references = [each["Type"] for each in definition.get("Fields", ())]
        return [each["NamedType"] for each in references if each.get("NonNull") and each.get("NamedType")]


def _compatible(required: Tree, found: Tree) -> bool:
    if required.get("NamedType", "") != found.get("NamedType", ""):
        return False
    if required.get("Elem") and not (found.get("Elem") and _compatible(required["Elem"], found["Elem"])):
        return False
    return bool(required.get("NonNull")) or not found.get("NonNull")


# --- printing --------------------------------------------------------------------------------------------------------


def value_source(value: Tree) -> str:
    """A value of the tree as GraphQL writes it."""
    kind, raw = value.get("Kind", VARIABLE), str(value.get("Raw", ""))
    children = value.get("Children", ())
    if kind == LIST:
        return "[" + ", ".join([value_source(child.get("Value", {})) for child in children]) + "]"
    if kind == OBJECT:
        pairs = [f"{child.get('Name', '')}: {value_source(child.get('Value', {}))}" for child in children]
        return "{" + ", ".join(pairs) + "}"
    if kind in (KINDS["String"], KINDS["BlockString"]):
        return json.dumps(raw)
    if kind in (BOOLEAN, NULL, ENUM, KINDS["Int"], KINDS["Float"]):
        return raw
    return f"${raw}"


def arguments_source(arguments: Iterable[Tree]) -> str:
    """Arguments in parentheses; nothing for none."""
    pairs = [f"{each.get('Name', '')}: {value_source(each.get('Value', {}))}" for each in arguments]
    return f"({', '.join(pairs)})" if pairs else ""


def directives_source(directives: Iterable[Tree]) -> str:
    """Directives, each after a blank."""
    return "".join([f" @{each.get('Name', '')}{arguments_source(each.get('Arguments', ()))}" for each in directives])


class _Printer:
    """Writes a schema in GraphQL's own language; descriptions and directives in use do not matter to queries."""

    _KEYWORDS: Final = {"OBJECT": "type", "INTERFACE": "interface", "INPUT_OBJECT": "input"}

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def text(self) -> str:
        parts = [self._type(each) for each in self._schema.types.values() if not each.get("BuiltIn")]
        given = {"include", "skip", "deprecated", "specifiedBy", "oneOf"}
        parts += [self._directive(each) for name, each in self._schema.directives.items() if name not in given]
        if self._schema.roots:
            roots = [f"{operation}: {name}" for operation, name in self._schema.roots.items()]
            parts.append("schema {" + " ".join(roots) + "}")
        return "\n".join(parts)

    def _type(self, definition: Tree) -> str:
        kind, name = definition["Kind"], definition["Name"]
        if kind == "SCALAR":
            return f"scalar {name}"
        if kind == "UNION":
            return (
                f"union {name} = " + " | ".join(definition.get("Types", ()))
                if definition.get("Types")
                else f"union {name}"
            )
        if kind == "ENUM":
            return f"enum {name} {{" + " ".join([each["Name"] for each in definition["EnumValues"]]) + "}"
        interfaces = definition.get("Interfaces", ())
        implements = " implements " + " & ".join(interfaces) if interfaces else ""
        one_of = " @oneOf" if any(each["Name"] == "oneOf" for each in definition.get("Directives", ())) else ""
        fields = [self._field(each) for each in definition["Fields"]]
        return f"{self._KEYWORDS[kind]} {name}{implements}{one_of} {{" + "\n".join(fields) + "}"

    def _field(self, definition: Tree) -> str:
        arguments = self._inputs(definition.get("Arguments", ()))
        default = definition.get("DefaultValue")
        shown = f" = {value_source(default)}" if default else ""
        return f"{definition['Name']}{arguments}: {type_text(definition['Type'])}{shown}"

    def _inputs(self, arguments: Iterable[Tree]) -> str:
        shown = [self._field(each) for each in arguments]
        return f"({', '.join(shown)})" if shown else ""

    def _directive(self, definition: Tree) -> str:
        repeatable = " repeatable" if definition.get("IsRepeatable") else ""
        arguments = self._inputs(definition.get("Arguments", ()))
        return f"directive @{definition['Name']}{arguments}{repeatable} on " + " | ".join(definition["Locations"])
