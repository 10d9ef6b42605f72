"""Putting one link into the text of a configuration file, and nothing else: comments and layout stay."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from watchkey.model.access import Link
from watchkey.model.errors import Refused
from watchkey.rules.located import ConfigError, Located, load

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9._+/-]*(@[A-Za-z0-9._-]+)?", re.ASCII)
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""What some reader of YAML takes for something else than text."""
_LINE: Final = re.compile(r"[^\n\r]*(?:\r\n|\n|\r|\Z)")


def link_lines(link: Link) -> str:
    """The lines as they stand under a `links:` of their own."""
    return f"links:\n  {_quoted(link.subject)}: {{{_pair(link)}}}\n"


def with_link(text: str, filename: str, link: Link) -> str:
    """The file's text with the link in it.

    Raises `ConfigError` when the text is no configuration, `Refused` when the subject is somebody else already, or
    when the file is laid out so that it has to be edited by hand.
    """
    root = load(text, filename)
    before = root.data
    wanted = _merged(before, link)
    if wanted == before:
        return text
    edited = _inserted(text, root, before, link)
    try:
        is_right = load(edited, filename).data == wanted
    except ConfigError:
        is_right = False
    if not is_right:
        raise Refused(
            f"{filename} is laid out in a way that only a person can edit; put these lines in:\n{link_lines(link)}"
        )
    return edited


def _merged(data: Any, link: Link) -> Any:
    """What the file must say afterwards: exactly one link more."""
    if not isinstance(data, dict):
        raise Refused("the file is no mapping, so no configuration")
    links = data.get("links") or {}
    mine = (links.get(link.subject) or {}) if isinstance(links, dict) else {}
    if not isinstance(links, dict) or not isinstance(mine, dict):
        raise Refused("`links` is not laid out as subject -> source -> person")
    there = mine.get(link.source, link.person)
    if there != link.person:
        raise Refused(f"{link.subject} is {there} of {link.source} already; take that out first, if it is wrong")
    return {**data, "links": {**links, link.subject: {**mine, link.source: link.person}}}


def _inserted(text: str, root: Located, data: Mapping[str, Any], link: Link) -> str:
    lines = [line for line in _LINE.findall(text) if line]
    entry = f"{_quoted(link.subject)}: {{{_pair(link)}}}"
    if "links" not in data:
        end = "" if not lines or lines[-1].endswith(("\n", "\r")) else "\n"
        return f"{text}{end}\n{link_lines(link)}"
    if (data["links"] or {}).get(link.subject):
        return _insert(lines, root, ("links", link.subject), _pair(link))
    if link.subject in (data["links"] or {}):  # named, and linked to nobody
        return _below_key(lines, root, ("links", link.subject), _pair(link))
    if data["links"]:
        return _insert(lines, root, ("links",), entry)
    return _below_key(lines, root, ("links",), entry)


def _insert(lines: list[str], root: Located, path: tuple[str, ...], entry: str) -> str:
    """Make the entry the first of the mapping at `path`, which has at least one."""
    mark = root.mark(*path)
    line, column = mark.line - 1, mark.column - 1
    if lines[line][column : column + 1] == "{":
        lines[line] = f"{lines[line][: column + 1]}{entry}, {lines[line][column + 1 :]}"
    else:
        lines.insert(line, f"{lines[line][:column]}{entry}{_ending(lines[line])}")
    return "".join(lines)


def _below_key(lines: list[str], root: Located, path: tuple[str, ...], entry: str) -> str:
    """Make the entry the only one of the mapping at `path`, which is `{}` or has no value yet."""
    value, key = root.mark(*path), root.mark(*path, at_key=True)
    line, column = value.line - 1, value.column - 1
    if line < len(lines) and lines[line][column : column + 1] == "{":
        lines[line] = f"{lines[line][: column + 1]}{entry}{lines[line][column + 1 :]}"
        return "".join(lines)
    line = key.line - 1
    ending = _ending(lines[line])
    if not lines[line].endswith(("\n", "\r")):
        lines[line] += ending
    lines.insert(line + 1, f"{' ' * (key.column + 1)}{entry}{ending}")
    return "".join(lines)


def _ending(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :] or "\n"


def _pair(link: Link) -> str:
    return f"{_quoted(link.source)}: {_quoted(link.person)}"


def _quoted(text: str) -> str:
    """The text as YAML: plain where no reader can take it for something else, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
