"""Small pieces of which the vendors' answers are made."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.fakes.scripted_http import answer

NOT_FOUND = answer(404, b'{"error": "not found"}')


def json(value: Any) -> bytes:
    """A whole answer with that body."""
    return answer(body=msgspec.json.encode(value))


def split(target: str) -> tuple[str, Mapping[str, str]]:
    """The path of what was asked for, and the first value of each parameter."""
    parts = urlsplit(target.partition(" ")[0])
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


def page(rows: Sequence[Any], number: int) -> tuple[Sequence[Any], bool]:
    """Pages of one row each, from 1: the rows of that page and whether more follow. A list of few rows has one page."""
    if len(rows) < 3:
        return rows, False
    return rows[number - 1 : number] if number < len(rows) - 1 else rows[number - 1 :], number < len(rows) - 1
