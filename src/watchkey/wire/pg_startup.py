"""What a startup packet may ask for: an allow-list, because parameters reach the server before anything else does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchkey.wire.pg_messages import ProtocolViolation

PASSED_ON: Final = frozenset(
    {"client_encoding", "application_name", "datestyle", "timezone", "intervalstyle", "extra_float_digits"}
)
"""Startup parameters that reach the server, lower case. Whatever else a session may set, it can set once it is in."""

IN_OPTIONS: Final = PASSED_ON | {"search_path", "statement_timeout", "lock_timeout", "geqo", "jit"}
"""What may stand in `options` as `-c name=value`."""

PRIVILEGES_OPTION: Final = "watchkey.privileges"
"""In `options`: take only these privileges, comma separated, although more would be allowed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the startup packet asked for."""

    user: str
    database: str
    passed_on: dict[str, str]
    privileges: tuple[str, ...] | None


def read_wish(parameters: Mapping[str, str]) -> Wish:
    """Judge the startup parameters by the allow-list; raises ProtocolViolation."""
    user = parameters.get("user", "")
    if not user:
        raise ProtocolViolation("no user name in the startup packet")
    passed_on: dict[str, str] = {}
    privileges: tuple[str, ...] | None = None
    for name, value in parameters.items():
        if name in {"user", "database"} or name.startswith("_pq_."):
            continue
        if name.lower() in PASSED_ON:
            passed_on[name] = value
        elif name == "options":
            options = read_options(value)
            wanted = options.pop(PRIVILEGES_OPTION, None)
            privileges = None if wanted is None else tuple(word.strip() for word in wanted.split(",") if word.strip())
            if options:
                passed_on["options"] = " ".join(write_options(options))
        elif name == "replication" and value in {"false", "off", "no", "0"}:
            continue
        else:
            raise ProtocolViolation(f'startup parameter "{name}" is not let through')
    return Wish(user, parameters.get("database") or user, passed_on, privileges)


def write_options(settings: Mapping[str, str]) -> list[str]:
    """Settings as words of `options`."""
    return [f"-c {name}={_escape(value)}" for name, value in settings.items()]


def read_options(text: str) -> dict[str, str]:
    """Read `options` as libpq writes them, `-c name=value` or `--name=value`; raises ProtocolViolation for others."""
    words = _split_options(text)
    out: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word = words.pop(0)
        elif word.startswith(("--", "-c")):
            word = word[2:]
        else:
            raise ProtocolViolation(f"option {word!r} is not let through")
        name, equals, value = word.partition("=")
        name = name.replace("-", "_").lower()
        if not equals or name not in IN_OPTIONS | {PRIVILEGES_OPTION}:
            raise ProtocolViolation(f'option "{name}" is not let through')
        out[name] = value
    return out


def _split_options(text: str) -> list[str]:
    """Split at white space; a backslash takes the next character as it is (`pg_split_opts`)."""
    words: list[str] = []
    word: str | None = None
    is_escaped = False
    for char in text:
        if is_escaped:
            word, is_escaped = (word or "") + char, False
        elif char == "\\":
            word, is_escaped = word or "", True
        elif char.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + char
    return words if word is None else [*words, word]


def _escape(text: str) -> str:
    return "".join("\\" + char if char == "\\" or char.isspace() else char for char in text)
