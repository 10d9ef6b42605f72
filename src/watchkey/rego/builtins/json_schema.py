"""Built-ins of JSON Schema (drafts 4, 6 and 7): ``json.match_schema`` and ``json.verify_schema``."""

from __future__ import annotations

from typing import Any, Final

from watchkey.rego.builtins import BuiltinError, CallContext, builtin
from watchkey.rego.builtins.schema_documents import SchemaError, compile_schema
from watchkey.rego.builtins.schema_validation import Findings, validate
from watchkey.rego.errors import EvaluationError
from watchkey.rego.types import BOOLEAN, NULL, OBJECT, STRING, Type, any_of, array_of, record, tuple_of
from watchkey.rego.values import FALSE, TRUE, Object, Set, boolean, key_text, parse_json

_DOCUMENT: Final[Type] = any_of(STRING, OBJECT)
_FINDING: Final = record(desc=STRING, error=STRING, field=STRING, type=STRING)


def _plain(value: Any) -> Any:
    """The value as JSON has it: sets as arrays, keys as texts."""
    if type(value) is Object:
        return Object({key_text(key): _plain(item) for key, item in value.items()})
    if isinstance(value, tuple | Set):
        return tuple([_plain(each) for each in (value if isinstance(value, tuple) else value.ordered())])
    return value


def _document(value: Any) -> Any:
    """A document given as JSON text, or as an object or array; anything else is an error."""
    if type(value) is str:
        try:
            return parse_json(value)
        except EvaluationError:
            raise BuiltinError("invalid JSON string") from None
    if type(value) in (Object, tuple):
        return _plain(value)
    raise BuiltinError("wrong type, expected string or object")


@builtin("json.verify_schema", (_DOCUMENT,), tuple_of(BOOLEAN, any_of(STRING, NULL)), operands=((),), context=True)
def verify_schema(ctx: CallContext, schema: Any) -> tuple[Any, ...]:
    """``[true, null]`` where the document is a JSON Schema, else ``[false, why]``."""
    try:
        compile_schema(ctx, _document(schema))
    except (BuiltinError, SchemaError) as problem:
        return (FALSE, f"jsonschema: {problem}")
    return (TRUE, None)


@builtin(
    "json.match_schema",
    (_DOCUMENT, _DOCUMENT),
    tuple_of(BOOLEAN, array_of(_FINDING)),
    operands=((), ()),
    context=True,
)
def match_schema(ctx: CallContext, document: Any, schema: Any) -> tuple[Any, ...]:
    """``[whether it matches, findings]``."""
    instance = _document(document)
    try:
        compiled = compile_schema(ctx, _document(schema))
    except SchemaError as problem:
        raise BuiltinError(str(problem)) from None
    findings = Findings(ctx)
    validate(compiled, instance, "(Root)", findings)
    return boolean(not findings.found), tuple([each.value() for each in findings.found])
