"""What a statement is called in the record, and what of it must not be recorded. A label; the wall is the role.

SQL text tells little for sure (functions, views and rules write too), so nothing is decided by what is found here.
"""

import re
from typing import Final

_SKIP: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()+", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z_]+")
_READS: Final = frozenset({"select", "table", "values", "show", "explain", "fetch", "move", "declare", "close"})
_WRITES: Final = frozenset({"insert", "update", "delete", "merge", "truncate", "copy", "call", "do", "execute"})
_SESSION: Final = frozenset(
    {"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "set", "reset", "prepare",
     "deallocate", "discard", "listen", "unlisten", "notify", "lock", "checkpoint", "load"}
)  # fmt: skip
_SCHEMA: Final = frozenset(
    {"create", "alter", "drop", "comment", "grant", "revoke", "reassign", "security", "vacuum", "analyze", "reindex",
     "cluster", "refresh", "import"}
)  # fmt: skip

_KINDS: Final = {
    verb: kind
    for kind, verbs in (("read", _READS), ("write", _WRITES), ("schema", _SCHEMA), ("session", _SESSION))
    for verb in verbs
}

_DOLLAR: Final = r"\$(?:[A-Za-z_]\w*)?\$.*?\$(?:[A-Za-z_]\w*)?\$"
_QUOTED: Final = r"(?:[eEbBxXnN]|[uU]&)?'(?:[^'\\]|''|\\.)*(?:'|$)"
_SECRET_WORD: Final = re.compile(
    r"(\b(?:password|passwd|secret|token|passphrase)\b"
    r"(?:\s|--[^\n]*\n|/\*[^*]{0,200}\*/|=|:=|\bto\b)*)"
    rf"(?:{_QUOTED}|{_DOLLAR})",
    re.IGNORECASE | re.DOTALL,
)
_IN_STRING: Final = re.compile(
    r"(\b(?:password|passwd|secret)\s*=\s*)(?:''[^']*''|\\?'[^']*'|[^\s'\"&;,)]+)", re.IGNORECASE
)
_IN_URL: Final = re.compile(r"(\bpostgres(?:ql)?://[^\s:/@']{1,100}:)[^\s@']{1,300}(@)", re.IGNORECASE)
HIDDEN: Final = "'***'"
_GUARD: Final = re.compile(
    r"\b(?:client_connection_check_interval|statement_timeout|idle_session_timeout|idle_in_transaction_session_timeout"
    r"|transaction_timeout|tcp_user_timeout|tcp_keepalives_\w+)\b",
    re.IGNORECASE,
)


def kind_of(text: str) -> str:
    """`read`, `write`, `schema`, `session` or `other`, by the first word of the first statement."""
    word = _WORD.match(text)
    if word is None and (start := _SKIP.match(text)):
        word = _WORD.match(text, start.end())
    verb = word.group().lower() if word else ""
    if verb == "with":
        return "write" if re.search(r"\b(?:insert|update|delete|merge)\b", text, re.IGNORECASE) else "read"
    return _KINDS.get(verb, "other")


def guards_named(text: str) -> tuple[str, ...]:
    """Settings which end what a dead gateway or client leaves running, and which this text names, in their order.

    Every session may change them for itself; PostgreSQL has no right that could be withheld. A text that puts the name
    together from parts is not found.
    """
    return tuple(dict.fromkeys(found.group().lower() for found in _GUARD.finditer(text)))


def redacted(text: str) -> str:
    """The text without what stands behind `PASSWORD` and the like, and without passwords in connection strings."""
    lowered = text.lower()
    if "pass" not in lowered and "secret" not in lowered and "token" not in lowered and "://" not in lowered:
        return text
    text = _IN_STRING.sub(lambda found: found.group(1) + "***", text)
    text = _SECRET_WORD.sub(lambda found: found.group(1) + HIDDEN, text)
    return _IN_URL.sub(lambda found: found.group(1) + "***" + found.group(2), text)
