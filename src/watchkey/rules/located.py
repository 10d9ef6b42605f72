"""YAML that people write, as typed values; every error knows its file, line and column.

`load` reads text, `Located.convert` turns it into a type. Reading a file, or a secret that it points to, is the
caller's part.
"""

import enum
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NewType, TypeVar

import msgspec

from watchkey.model.secret import Secret
from watchkey.rules.durations import DURATION_SHAPE, format_duration, parse_duration
from watchkey.rules.yaml_nodes import ConfigError, Listing, Mark, Node, Path, Scalar, Table, compose, nearest, path_text

__all__ = ["ConfigError", "Located", "Mark", "format_duration", "load", "nearest", "parse_duration", "path_text"]

SecretReader = Callable[[str, str], Secret]
"""Called with `env` or `file` and the name behind it; raises LookupError, OSError or ValueError that says why not."""

Hooks = Mapping[Any, Callable[[Any], Any]]
"""How to read further types from plain data; a hook raises ValueError with a text for people."""

_T = TypeVar("_T")


def load(text: str | bytes, filename: str) -> "Located":
    """Read one YAML document. `filename` stands in every error. Raises `ConfigError`."""
    return Located(compose(text, filename), filename, ())


class Located:
    """A YAML document, or a part of one, that knows where everything stands."""

    __slots__ = ("_node", "_path", "filename")

    def __init__(self, node: Node, filename: str, path: Path) -> None:
        self._node: Final = node
        self._path: Final = path
        self.filename: Final = filename

    @property
    def data(self) -> Any:
        """The same as plain dicts, lists, text, numbers, booleans and None."""
        return _plain(self._node)

    def at(self, *path: str | int) -> "Located":
        """Return the part that stands there. Raises KeyError when nothing does."""
        node = self._node
        for step in path:
            found = _child(node, step)
            if found is None:
                raise KeyError(path_text((*self._path, *path)))
            node = found[1]
        return Located(node, self.filename, (*self._path, *path))

    def without(self, *keys: str) -> "Located":
        """Return the same mapping without some keys: those that somebody else reads."""
        if not isinstance(self._node, Table):
            return self
        items = {key: value for key, value in self._node.items.items() if key not in keys}
        return Located(Table(self._node.mark, items), self.filename, self._path)

    def mark(self, *path: str | int, at_key: bool = False) -> Mark:
        """Return where a value (or its key) begins; for a path that leads nowhere, the nearest thing around it."""
        node, mark = self._node, self._node.mark
        for i, step in enumerate(path):
            found = _child(node, step)
            if found is None:
                break
            key_mark, node = found
            mark = key_mark if at_key and i == len(path) - 1 else node.mark
        return mark

    def error(
        self, path: Path, message: str, *, expected: str = "", suggestion: str | None = None, at_key: bool = False
    ) -> ConfigError:
        """Make an error about the value at that path, to be raised by the caller."""
        return ConfigError(
            message,
            file=self.filename,
            mark=self.mark(*path, at_key=at_key),
            path=(*self._path, *path),
            expected=expected,
            suggestion=suggestion,
        )

    def convert(self, wanted: type[_T], *, secrets: SecretReader | None = None, hooks: Hooks | None = None) -> _T:
        """Turn it into a value of the type, or raise `ConfigError` with everything that is wrong.

        Understands msgspec structs (unknown keys are always errors), lists, tuples, sets, `dict[str, …]`, unions that
        differ in shape or by msgspec's tag, enums, literals, scalars with `msgspec.Meta`, `timedelta` from
        `90s` and the like, `Secret` from `{env: NAME}` or `{file: PATH}`, and what `hooks` adds.
        """
        reader = _Reader(self, secrets, hooks or {})
        value = reader.read(self._node, wanted, ())
        if reader.errors:
            errors = sorted(reader.errors, key=lambda error: (error.line, error.column))
            errors[0].others = tuple(errors[1:])
            raise errors[0]
        return typing.cast("_T", value)


def _child(node: Node, step: str | int) -> tuple[Mark, Node] | None:
    if isinstance(node, Table) and isinstance(step, str):
        return node.items.get(step)
    if isinstance(node, Listing) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step].mark, node.items[step]
    return None


def _plain(node: Node) -> Any:
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [_plain(item) for item in node.items]
        case Table():
            return {key: _plain(value) for key, (_, value) in node.items.items()}


_BAD: Final[Any] = object()
"""Stands for a value that could not be read and whose error is already noted."""

_SHAPES: Final = {list: "a list", tuple: "a list", set: "a list", frozenset: "a list", dict: "a mapping"}
_NAMES: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}
_SECRET_SHAPE: Final = "{env: NAME} or {file: PATH}; a secret itself never stands in a file"  # noqa: S105 - says so


class _Reader:
    """Reads nodes into typed values; notes every error and goes on."""

    def __init__(self, located: Located, secrets: SecretReader | None, hooks: Hooks) -> None:
        self.located = located
        self.secrets = secrets
        self.hooks = hooks
        self.errors: list[ConfigError] = []

    def fail(
        self,
        path: Path,
        message: str,
        *,
        expected: str = "",
        suggestion: str | None = None,
        at_key: bool = False,
    ) -> Any:
        self.errors.append(self.located.error(path, message, expected=expected, suggestion=suggestion, at_key=at_key))
        return _BAD

    def read(self, node: Node, wanted: Any, path: Path) -> Any:  # noqa: PLR0911 - a table of types reads best in a row
        if wanted in self.hooks:
            return self.hooked(node, wanted, path)
        if isinstance(wanted, NewType):
            return self.read(node, wanted.__supertype__, path)
        origin = typing.get_origin(wanted)
        if origin is typing.Annotated:
            return self.annotated(node, wanted, path)
        if origin in {typing.Union, types.UnionType}:
            return self.union(node, typing.get_args(wanted), path)
        if wanted is Secret:
            return self.secret(node, path)
        if wanted is timedelta:
            return self.duration(node, path)
        if wanted is Any or wanted is object:
            return _plain(node)
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            return self.struct(node, wanted, path)
        if (origin or wanted) in {dict, Mapping}:
            return self.mapping(node, typing.get_args(wanted), path)
        if (origin or wanted) in {list, tuple, set, frozenset, Sequence}:
            return self.sequence(node, origin or wanted, typing.get_args(wanted), path)
        return self.leaf(node, wanted, path)

    # Each of these reads one kind of type; all answer `_BAD` when they noted an error.

    def annotated(self, node: Node, wanted: Any, path: Path) -> Any:
        inner, *meta = typing.get_args(wanted)
        if not any(_constrains(one) for one in meta):  # descriptions say nothing about what may stand there
            return self.read(node, inner, path)
        shape = _SHAPES.get(typing.get_origin(inner) or inner)
        if shape is None:
            unwrapped = inner.__supertype__ if isinstance(inner, NewType) else inner
            return self.leaf(node, typing.Annotated[unwrapped, *meta], path)
        value = self.read(node, inner, path)
        if value is _BAD:
            return _BAD
        raw = _plain(node)
        try:
            msgspec.convert(raw, typing.Annotated[type(raw), *meta])
        except msgspec.ValidationError as error:
            return self.fail(path, f"{shape} of the wrong length", expected=_wanted_text(error, wanted))
        return value

    def union(self, node: Node, members: tuple[Any, ...], path: Path) -> Any:
        if isinstance(node, Scalar):
            if node.value is None and type(None) in members:
                return None
            fitting = [one for one in members if one is not type(None) and not _is_container(one)]
            if len(fitting) == 1:
                return self.read(node, fitting[0], path)
            if fitting:
                return self.leaf(node, typing.Union[tuple(fitting)], path)  # noqa: UP007 - made at run time
        else:
            fitting = [one for one in members if _fits_shape(one, node)]
            if len(fitting) == 1:
                return self.read(node, fitting[0], path)
            if fitting and isinstance(node, Table):
                return self.tagged(node, fitting, path)
        others = [one for one in members if one is not type(None)]
        return self.fail(path, _found(node), expected=" or ".join(dict.fromkeys(_type_text(one) for one in others)))

    def tagged(self, node: Table, members: Sequence[Any], path: Path) -> Any:
        by_tag = {str(one.__struct_config__.tag): one for one in members}
        tag_field = members[0].__struct_config__.tag_field
        expected = f"one of {', '.join(by_tag)}"
        if tag_field not in node.items:
            return self.fail(path, f"{tag_field} is missing", expected=f"{tag_field}: {expected}")
        tag = _plain(node.items[tag_field][1])
        if not isinstance(tag, str) or tag not in by_tag:
            near = nearest(tag, by_tag) if isinstance(tag, str) else None
            return self.fail((*path, tag_field), f"{str(tag)[:60]!r} is not known", expected=expected, suggestion=near)
        return self.struct(node, by_tag[tag], path)

    def struct(self, node: Node, wanted: type[msgspec.Struct], path: Path) -> Any:
        if not isinstance(node, Table):
            return self.fail(path, _found(node), expected="a mapping")
        fields = {one.encode_name: one for one in msgspec.structs.fields(wanted)}
        tag_field = wanted.__struct_config__.tag_field
        values: dict[str, Any] = {}
        for key, (_, child) in node.items.items():
            if key in fields:
                values[fields[key].name] = self.read(child, fields[key].type, (*path, key))
            elif key != tag_field:
                free = [name for name in fields if name not in node.items]
                expected = f"one of {', '.join(free)}" if free else "nothing more here"
                near = nearest(key, free)
                values[""] = self.fail((*path, key), "unknown key", expected=expected, suggestion=near, at_key=True)
        for name, one in fields.items():
            if one.required and name not in node.items:
                values[""] = self.fail(path, f"{name} is missing", expected=f"{name}: {_type_text(one.type)}")
        if any(value is _BAD for value in values.values()):
            return _BAD
        try:
            return wanted(**values)
        except (ValueError, TypeError) as error:  # what the struct's __post_init__ says
            return self.fail(path, str(error))

    def mapping(self, node: Node, args: tuple[Any, ...], path: Path) -> Any:
        if not isinstance(node, Table):
            return self.fail(path, _found(node), expected="a mapping")
        key_type, value_type = args or (str, Any)
        result: dict[Any, Any] = {}
        for key, (mark, child) in node.items.items():
            name = self.key(Scalar(mark, key), key_type, (*path, key))
            result[key if name is _BAD else name] = self.read(child, value_type, (*path, key))
        return result

    def key(self, node: Scalar, wanted: Any, path: Path) -> Any:
        """Read a key; its errors stand at the key, not at the value."""
        before = len(self.errors)
        name = self.read(node, wanted, path)
        for i, error in enumerate(self.errors[before:], start=before):
            self.errors[i] = self.located.error(
                path, error.message, expected=error.expected, suggestion=error.suggestion, at_key=True
            )
        return name

    def sequence(self, node: Node, kind: Any, args: tuple[Any, ...], path: Path) -> Any:
        if not isinstance(node, Listing):
            return self.fail(path, _found(node), expected="a list")
        item_type = args[0] if args else Any
        items = [self.read(item, item_type, (*path, i)) for i, item in enumerate(node.items)]
        if kind in {set, frozenset}:
            items = [item for item in items if item is not _BAD]
        return items if kind is list else (tuple(items) if kind in {tuple, Sequence} else kind(items))

    def leaf(self, node: Node, wanted: Any, path: Path) -> Any:
        value = _plain(node)
        try:
            return msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            known = _choices(wanted)
            if known and isinstance(value, str):
                expected = f"one of {', '.join(known)}"
                return self.fail(
                    path, f"{value[:60]!r} is not known", expected=expected, suggestion=nearest(value, known)
                )
            if wanted is str and isinstance(node, Scalar) and node.value is not None:
                return self.fail(path, _found(node), expected="text; put it in quotes")
            return self.fail(
                path, _found(node), expected=_NAMES.get(wanted) or _said(wanted) or _wanted_text(error, wanted)
            )

    def hooked(self, node: Node, wanted: Any, path: Path) -> Any:
        try:
            return self.hooks[wanted](_plain(node))
        except ValueError as error:
            return self.fail(path, str(error))

    def duration(self, node: Node, path: Path) -> Any:
        value = _plain(node)
        if not isinstance(value, str):
            return self.fail(path, _found(node), expected=DURATION_SHAPE)
        try:
            return parse_duration(value)
        except ValueError as error:
            return self.fail(path, str(error), expected=DURATION_SHAPE)

    def secret(self, node: Node, path: Path) -> Any:
        # No message of this function may hold the value: it may be the secret itself.
        value = _plain(node)
        if not isinstance(value, dict) or len(value) != 1:
            return self.fail(path, _found(node), expected=_SECRET_SHAPE)
        kind, name = next(iter(value.items()))
        if kind not in {"env", "file"} or not isinstance(name, str):
            return self.fail(path, "not a reference to a secret", expected=_SECRET_SHAPE)
        if self.secrets is None:
            return self.fail(path, "no secret can be read here")
        try:
            return self.secrets(kind, name)
        except (LookupError, OSError, ValueError) as error:
            return self.fail(path, str(error.args[0] if isinstance(error, LookupError) and error.args else error))


def _found(node: Node) -> str:
    """Say what stands there without repeating text: it may be something that should not be seen."""
    match node:
        case Listing():
            return "this is a list"
        case Table():
            return "this is a mapping"
        case Scalar(value=None):
            return "nothing stands here"
        case Scalar(value=bool() | int() | float()):
            return f"this is {str(node.value).lower()}"
        case _:
            return "this is text"


def _wanted_text(error: msgspec.ValidationError, wanted: Any) -> str:
    """Say what msgspec expected; what it says of an invalid value repeats the value, so the type speaks instead."""
    text = str(error).split(" - at `", maxsplit=1)[0].split(", got ", maxsplit=1)[0]
    return text.removeprefix("Expected ").replace("`", "") if text.startswith("Expected ") else _type_text(wanted)


def _constrains(meta: Any) -> bool:
    """Whether a part of an annotation bounds the value, rather than only describing it."""
    names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
    return any(getattr(meta, name, None) is not None for name in names)


def _said(wanted: Any) -> str:
    """Return what `Meta(extra={"expected": …})` says in words about a value, where a pattern would say it to nobody."""
    extras = (getattr(one, "extra", None) or {} for one in getattr(wanted, "__metadata__", ()))
    return next((str(extra["expected"]) for extra in extras if "expected" in extra), "")


def _choices(wanted: Any) -> tuple[str, ...]:
    """Return the words of an enum or of a literal; empty for any other type."""
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return tuple(str(member.value) for member in wanted)
    if typing.get_origin(wanted) is typing.Literal:
        return tuple(str(word) for word in typing.get_args(wanted))
    return ()


def _base(wanted: Any) -> Any:
    """Strip names and annotations from a type."""
    while True:
        if isinstance(wanted, NewType):
            wanted = wanted.__supertype__
        elif typing.get_origin(wanted) is typing.Annotated:
            wanted = typing.get_args(wanted)[0]
        else:
            return typing.get_origin(wanted) or wanted


def _is_mapping(wanted: Any) -> bool:
    base = _base(wanted)
    return base in {dict, Mapping, Secret} or (isinstance(base, type) and issubclass(base, msgspec.Struct))


def _is_container(wanted: Any) -> bool:
    return _is_mapping(wanted) or _base(wanted) in {list, tuple, set, frozenset, Sequence}


def _fits_shape(wanted: Any, node: Node) -> bool:
    return _is_mapping(wanted) if isinstance(node, Table) else _is_container(wanted) and not _is_mapping(wanted)


def _type_text(wanted: Any) -> str:  # noqa: PLR0911 - a table
    if words := _choices(wanted):
        return f"one of {', '.join(words)}"
    base = _base(wanted)
    if base is Secret:
        return _SECRET_SHAPE
    if base is timedelta:
        return DURATION_SHAPE
    if base in {typing.Union, types.UnionType}:
        return " or ".join(_type_text(one) for one in typing.get_args(wanted) if one is not type(None))
    if _is_mapping(base):
        return "a mapping"
    if _is_container(base):
        return "a list"
    return _NAMES.get(base, "a value")
