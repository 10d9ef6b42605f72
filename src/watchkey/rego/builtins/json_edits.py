"""Built-ins that edit documents by path: ``json.patch`` (RFC 6902, sets too), ``json.filter``, ``json.remove``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import UNDEFINED, BuiltinError, CallContext, OperandError, builtin, operand_error
from watchkey.rego.types import ANY, ARRAY, OBJECT, STRING, Type, any_of, array_of, record, set_of
from watchkey.rego.values import Boolean, Object, Set, number_text, type_name, value_text

Path: TypeAlias = tuple[Any, ...]

_PATH: Final = any_of(STRING, ARRAY)
_PATHS: Final[Type] = any_of(array_of(_PATH), set_of(_PATH))
_OPERATIONS: Final = array_of(record(op=STRING, path=ANY, open_with=ANY))


def _path_of(path: Any) -> Path:
    """The segments of a JSON pointer (``/a/b``, the first slash optional, ``~1`` for a slash), or of an array."""
    if type(path) is str:
        if not path:
            return ()
        return tuple([each.replace("~1", "/").replace("~0", "~") for each in path.lstrip("/").split("/")])
    if type(path) is tuple:
        return path
    raise OperandError(
        "operand 2 must be one of {set, array} containing string paths or array of path segments but got "
        + type_name(path)
    )


# --- filter and remove -----------------------------------------------------------------------------------------------

Tree: TypeAlias = dict[Any, Any]
"""Paths that share a beginning, put together; None where a path ends."""


def _tree_of(ctx: CallContext, paths: Any) -> Tree:
    if type(paths) not in (tuple, Set):
        raise operand_error(2, paths, "set", "array")
    root: Tree = {}
    for path in [_path_of(each) for each in (paths if type(paths) is tuple else paths.ordered())]:
        ctx.spend(1 + len(path))
        node: Tree | None = root
        for segment in path[:-1]:
            node = node.setdefault(segment, {}) if node is not None else None
        if path and node is not None:
            node[path[-1]] = None
    return root


def _indexed(collection: tuple[Any, ...]) -> Iterable[tuple[str, Any]]:
    """Elements of an array under the names that a path has for them."""
    return [(str(index), element) for index, element in enumerate(collection)]


def _filtered(value: Any, keep: Tree | None) -> Any:
    if keep is None:
        return value
    kind = type(value)
    if kind is Object:
        return Object({key: _filtered(item, keep[key]) for key, item in value.items() if key in keep})
    if kind is tuple:
        return tuple([_filtered(element, keep[name]) for name, element in _indexed(value) if name in keep])
    if kind is Set:
        return Set([_filtered(element, keep[element]) for element in value if element in keep])
    return value


def _without(value: Any, remove: Tree | None) -> Any:
    """The value without what the tree names; UNDEFINED where that is the value itself."""
    if remove is None:
        return UNDEFINED
    kind = type(value)
    if not remove or kind not in (Object, tuple, Set):
        return value
    if kind is Object:
        pairs = [(key, _without(item, remove.get(key, {}))) for key, item in value.items()]
        return Object({key: item for key, item in pairs if item is not UNDEFINED})
    named = _indexed(value) if kind is tuple else [(element, element) for element in value]
    left = [_without(element, remove.get(name, {})) for name, element in named]
    left = [element for element in left if element is not UNDEFINED]
    return tuple(left) if kind is tuple else Set(left)


@builtin("json.filter", (OBJECT, _PATHS), OBJECT, context=True, operands=(("object",), ()))
def json_filter(ctx: CallContext, document: Object, paths: Any) -> Any:
    """The object with only what the paths name."""
    return _filtered(document, _tree_of(ctx, paths))


@builtin("json.remove", (OBJECT, _PATHS), OBJECT, context=True, operands=(("object",), ()))
def json_remove(ctx: CallContext, document: Object, paths: Any) -> Any:
    """The object without what the paths name; elements behind a removed one move up."""
    return _without(document, _tree_of(ctx, paths))


# --- patch -----------------------------------------------------------------------------------------------------------

_DEEPEST_PATH: Final = 200
_INTEGER: Final = re.compile(r"([-+]?)([0-9]{0,18})(?:\.0*)?")
"""What OPA takes for the index of an array, in a path: also ``1.0``."""
_GO_TYPES: Final = {str: "ast.String", Boolean: "ast.Boolean", type(None): "ast.Null"}


def _index_of(length: int, segment: Any) -> int:
    """The position a path segment names in an array; ``-`` is the one behind the last."""
    if segment == "-":
        return length
    kind = type_name(segment)
    if kind not in ("number", "string"):
        raise BuiltinError("invalid type for indexing")
    text = segment if kind == "string" else number_text(segment)
    number = _INTEGER.fullmatch(text) if text else None
    if number is None:
        raise BuiltinError("invalid string for indexing" if kind == "string" else "invalid number type for indexing")
    if kind == "string" and text != "0" and text[0] == "0":
        raise BuiltinError("leading zeros are not allowed in JSON paths")
    return int(number[1] + (number[2] or "0"))


def _is_composite(value: Any) -> bool:
    return type(value) in (Object, tuple, Set)


def _child(value: Any, segment: Any) -> Any:
    """What a path segment leads to; raises BuiltinError where there is nothing."""
    kind = type(value)
    if kind is tuple:
        index = _index_of(len(value), segment)
        if 0 <= index < len(value):
            return value[index]
        raise BuiltinError(f"path {index} does not exist in array term {value_text(value)}")
    if kind is Object:
        if segment in value:
            return value[segment]
        raise BuiltinError(f"path {value_text(segment)} does not exist in object term {value_text(value)}")
    if kind is Set:
        if segment in value:
            return segment
        raise BuiltinError(f"path [{value_text(segment)}] does not exist in set term {value_text(value)}")
    go_type = _GO_TYPES.get(kind, "ast.Number")
    shown = value_text(value)
    raise BuiltinError(
        f"expected composite type for path {value_text(segment)}, found value: {shown} (type: {go_type})"
    )


def _replaced_child(value: Any, segment: Any, child: Any) -> Any:
    """The value with another child at a segment that leads to one."""
    if type(value) is tuple:
        index = _index_of(len(value), segment)
        return (*value[:index], child, *value[index + 1 :])
    if type(value) is Set:
        return Set((value - {segment}) | {child})
    return Object({**value, segment: child})


class _Patched:
    """A document under patch: each change makes a new value along its path, and pays for it."""

    def __init__(self, ctx: CallContext, document: Any) -> None:
        self._ctx = ctx
        self.document = document

    def at(self, path: Path) -> Any:
        """The value at a path."""
        value = self._document()
        for segment in path:
            self._ctx.spend(1)
            value = _child(value, segment)
        return value

    def _document(self) -> Any:
        if self.document is UNDEFINED:
            raise BuiltinError("nil value encountered where composite value was expected")
        return self.document

    def _rebuild(self, path: Path, parents: list[Any], changed: Any) -> None:
        for parent, segment in zip(reversed(parents), reversed(path[: len(parents)]), strict=True):
            self._ctx.spend(1 + (len(parent) >> 3))
            changed = _replaced_child(parent, segment, changed)
        self.document = changed

    def _parents(self, path: Path) -> tuple[list[Any], Any]:
        """The values above the last parent, and that parent."""
        if len(path) > _DEEPEST_PATH:
            raise BuiltinError(f"a path has more than {_DEEPEST_PATH} segments")
        above: list[Any] = []
        value = self._document()
        for segment in path[:-1]:
            above.append(value)
            value = _child(value, segment)
        self._ctx.spend(1 + (len(value) >> 3 if _is_composite(value) else 0))
        return above, value

    def insert(self, path: Path, value: Any) -> None:
        """RFC 6902 ``add``."""
        if not path:
            self.document = value
            return
        above, parent = self._parents(path)
        last = path[-1]
        if type(parent) is Object:
            changed: Any = Object({**parent, last: value})
        elif type(parent) is Set:
            if last != value:
                shown = f"{value_text(last)} does not equal value to be inserted {value_text(value)}"
                raise BuiltinError(f"set key {shown}")
            changed = Set(parent | {value})
        elif type(parent) is tuple:
            index = _index_of(len(parent), last)
            if not 0 <= index <= len(parent):
                raise BuiltinError("index for array insertion out of bounds")
            changed = (*parent[:index], value, *parent[index:])
        else:
            go_type = _GO_TYPES.get(type(parent), "ast.Number")
            raise BuiltinError(f"expected composite type, found value: {value_text(parent)} (type: {go_type})")
        self._ctx.check_size(len(changed))
        self._rebuild(path, above, changed)

    def delete(self, path: Path) -> None:
        """RFC 6902 ``remove``."""
        if not path:
            if self.document is UNDEFINED:
                raise BuiltinError("deleted node encountered during delete operation")
            self.document = UNDEFINED
            return
        above, parent = self._parents(path)
        last = path[-1]
        if type(parent) is tuple:
            index = _index_of(len(parent), last)
            if not 0 <= index < len(parent):
                raise BuiltinError("index for array delete out of bounds")
            changed: Any = (*parent[:index], *parent[index + 1 :])
        elif type(parent) is Object or type(parent) is Set:
            if last not in parent:
                raise BuiltinError(f"cannot delete child key {value_text(last)} that does not exist")
            if isinstance(parent, Set):
                changed = Set(parent - {last})
            else:
                changed = Object({key: item for key, item in parent.items() if key != last})
        else:
            go_type = _GO_TYPES.get(type(parent), "ast.Number")
            raise BuiltinError(f"expected composite type, found value: {value_text(parent)} (type: {go_type})")
        self._rebuild(path, above, changed)

    def apply(self, operation: Object) -> None:
        """One operation of a JSON patch."""
        if "path" not in operation:
            raise _missing("path")
        if "op" not in operation:
            raise _missing("op")
        name = operation["op"]
        if type(name) is not str:
            raise BuiltinError(f"attribute 'op' must be a string but found: {type_name(name)}")
        path = _path_of(operation["path"])
        match name:
            case "add":
                self.insert(path, _attribute(operation, "value"))
            case "remove":
                self.delete(path)
            case "replace":
                self.delete(path)
                self.insert(path, _attribute(operation, "value"))
            case "move" | "copy":
                source = _path_of(_attribute(operation, "from"))
                moved = self.at(source)
                if name == "move":
                    self.delete(source)
                self.insert(path, moved)
            case "test":
                self._test(path, operation)
            case _:
                raise BuiltinError(f"unrecognized op: '{name}'")

    def _test(self, path: Path, operation: Object) -> None:
        found = self.at(path)
        wanted = _attribute(operation, "value")
        if found != wanted:
            difference = f"Expected: {value_text(wanted)}\n\nFound: {value_text(found)}"
            raise BuiltinError(f"value from EditTree != patch value.\n\n{difference}")


def _missing(name: str) -> BuiltinError:
    return BuiltinError(f"missing required attribute '{name}'")


def _attribute(operation: Object, name: str) -> Any:
    if name not in operation:
        raise _missing(name)
    return operation[name]


@builtin("json.patch", (ANY, _OPERATIONS), ANY, context=True, operands=((), ("array",)))
def json_patch(ctx: CallContext, document: Any, operations: tuple[Any, ...]) -> Any:
    """The document after the operations, all of them or none; undefined where nothing of it is left."""
    patched = _Patched(ctx, document)
    for operation in operations:
        if type(operation) is not Object:
            raise BuiltinError("must be an array of JSON-Patch objects, but at least one element is not an object")
        patched.apply(operation)
    return patched.document
