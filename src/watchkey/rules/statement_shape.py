"""What a statement does, read with PostgreSQL's own grammar: verbs, tables, functions, as they are written.

It cannot see through functions, views, triggers and rules, nor where `search_path` leads. So it may narrow what a
session does; the role is what keeps it in.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pgparse

from watchkey.model.access import Statement, StatementKind

TEXT_MAX: Final = 32 * 1024
"""Bytes of a text that is read; the grammar takes 2 µs for each, and everybody else waits."""

_CONTROL: Final = frozenset({"begin", "start", "commit", "rollback", "rollback_to", "savepoint", "release"})
_VERBS: Final = {
    "CreateTableAsStmt": "create_table_as", "IndexStmt": "create_index", "ViewStmt": "create_view",
    "VariableSetStmt": "set", "VariableShowStmt": "show", "DeclareCursorStmt": "declare", "ClosePortalStmt": "close",
    "CreateStmt": "create_table", "AlterTableStmt": "alter_table", "DropStmt": "drop",
}  # fmt: skip
_KINDS: Final = {
    **dict.fromkeys(
        ("select", "show", "explain", "fetch", "declare", "close", "copy_to", "values"), StatementKind.READ
    ),
    **dict.fromkeys(("insert", "update", "delete", "merge", "truncate", "copy_from", "lock"), StatementKind.WRITE),
    **dict.fromkeys(
        (*_CONTROL, "set", "prepare", "deallocate", "listen", "unlisten", "notify", "discard", "constraints_set"),
        StatementKind.SESSION,
    ),
    **dict.fromkeys(("do", "call", "execute", "copy_program", "load", "prepare_transaction"), StatementKind.OTHER),
}
_OF_TABLES: Final = {
    **dict.fromkeys(
        ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_SEQUENCE", "OBJECT_INDEX"), 9
    ),
    **dict.fromkeys(("OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"), -1),
}  # fmt: skip
"""How many parts of a dropped thing's name are a table's: all, or all but its own."""
_RANK: Final = tuple(StatementKind)
_SCHEMA_WORD: Final = re.compile(
    r"^(create|alter|drop|comment|grant|rename|reindex|refresh|vacuum|cluster|define|rule|sec_label|import)"
)


def read_statement(text: str) -> Statement | None:
    """The shape of a text with one statement or several; None when the grammar does not take it, or it is too long."""
    if len(text) > TEXT_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_MAX:
        return None
    try:
        tree = pgparse.parse(text)
        found = _Found()
        for part in tree:
            found.walk(part["stmt"], frozenset())
    except (pgparse.PGQueryError, RecursionError, ValueError, TypeError, KeyError):
        return None
    kinds = {_kind_of(verb) for verb in found.verbs}
    return Statement(
        verbs=tuple(found.verbs),
        kind=max(kinds, key=_RANK.index, default=StatementKind.SESSION),
        tables=tuple(sorted(found.tables)),
        functions=tuple(sorted(found.functions)),
    )


def function_call(oid: int) -> Statement:
    """A call by number, as old clients make it for large objects."""
    return Statement(verbs=("function_call",), kind=StatementKind.OTHER, tables=(), functions=(f"oid {oid}",))


def is_control(statement: Statement) -> bool:
    """Whether it only begins, ends or marks transactions; nothing that was refused before can pass by it."""
    return set(statement.verbs) <= _CONTROL


def _kind_of(verb: str) -> StatementKind:
    return _KINDS.get(verb) or (StatementKind.SCHEMA if _SCHEMA_WORD.match(verb) else StatementKind.OTHER)


@dataclass(slots=True)
class _Found:
    verbs: dict[str, None] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def walk(self, node: Any, names: frozenset[str]) -> None:
        """Go down; `names` are those of WITH queries, which are no tables."""
        if isinstance(node, list):
            for item in node:
                self.walk(item, names)
            return
        if not isinstance(node, dict):
            return
        if "relname" in node:
            self._table(node, names)
        if "funcname" in node and isinstance(node["funcname"], list):
            self.functions.add(_dotted(node["funcname"]))
        names = self._with(node, names)
        for key, value in node.items():
            if key.endswith("Stmt") and key[0].isupper() and isinstance(value, dict):
                self._verb(key, value)
                self.walk(_target_apart(self, key, value), names)
            elif key != "withClause":
                self.walk(value, names)

    def _with(self, node: Mapping[str, Any], names: frozenset[str]) -> frozenset[str]:
        clause = node.get("withClause")
        if not isinstance(clause, dict):
            return names
        queries = [item["CommonTableExpr"] for item in clause["ctes"]]
        every = frozenset(query["ctename"] for query in queries)
        for query in queries:
            self.walk(query["ctequery"], names | every if clause.get("recursive") else names)
            names |= {query["ctename"]}
        return names

    def _table(self, node: Mapping[str, Any], names: frozenset[str]) -> None:
        parts = [node[key] for key in ("catalogname", "schemaname") if node.get(key)]
        if parts or node["relname"] not in names:
            self.tables.add(".".join((*parts, node["relname"])))

    def _verb(self, key: str, node: Mapping[str, Any]) -> None:
        if key == "SelectStmt" and node.get("valuesLists") and self.verbs:
            return  # the rows of an INSERT
        for verb in _verbs(key, node):
            self.verbs[verb] = None
        if key == "DropStmt" and (kept := _OF_TABLES.get(node["removeType"])) is not None:
            self.tables |= {_dotted(item["List"]["items"][:kept]) for item in node["objects"]}


def _target_apart(found: _Found, key: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is written to is a table even where a WITH query has its name."""
    target = node.get("relation")
    if key not in {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"} or not isinstance(target, dict):
        return node
    found.walk(target, frozenset())
    return {name: value for name, value in node.items() if name != "relation"}


def _verbs(key: str, node: Mapping[str, Any]) -> Iterator[str]:
    match key:
        case "TransactionStmt":
            verb = node["kind"].removeprefix("TRANS_STMT_").lower()
            yield "prepare_transaction" if verb == "prepare" else verb
        case "CopyStmt":
            yield "copy_from" if node.get("is_from") else "copy_to"
            if node.get("is_program"):
                yield "copy_program"
        case "SelectStmt" if node.get("valuesLists"):
            yield "values"
        case _:
            yield _VERBS.get(key) or re.sub(r"(?<!^)(?=[A-Z])", "_", key.removesuffix("Stmt")).lower()
    if node.get("intoClause"):
        yield "create_table_as"
    if node.get("lockingClause"):
        yield "lock"


def _dotted(items: list[Any]) -> str:
    return ".".join(str(item["String"]["sval"]) for item in items if "String" in item)
