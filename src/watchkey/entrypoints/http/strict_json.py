"""JSON that means one thing only: bounded depth, no duplicate key, no NaN, valid UTF-8, decoded into a given type."""

import json
from typing import Any, Final, Generic, TypeVar

import msgspec

from watchkey.model.errors import Malformed

T = TypeVar("T")


class StrictDecoder(Generic[T]):
    """Decodes bytes into `kind`. Two programs that read the same bytes must not see two different questions."""

    __slots__ = ("_decoder", "_depth_max")

    def __init__(self, kind: type[T] | Any, *, depth_max: int) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._depth_max = depth_max

    def decode(self, raw: bytes) -> T:
        """Return the value, or raise `Malformed` with a text that says where and why, without quoting the body."""
        try:
            refuse_depth(raw, self._depth_max)
            value = self._decoder.decode(raw)
            refuse_duplicates(raw)
        except msgspec.ValidationError as error:
            raise Malformed(str(error)) from None
        except msgspec.DecodeError as error:
            raise Malformed(str(error)) from None
        except UnicodeDecodeError as error:
            raise Malformed(f"the text is not valid UTF-8 (byte {error.start})") from None
        except RecursionError:
            raise Malformed(f"nested more deeply than {self._depth_max} levels") from None
        return value


def refuse_depth(raw: bytes, depth_max: int) -> None:
    """Raise `Malformed` when brackets outside strings nest more deeply than `depth_max`."""
    # Most bodies have fewer opening brackets than the bound, and counting them is a hundred times cheaper.
    if raw.count(b"[") + raw.count(b"{") <= depth_max:
        return
    depth = 0
    in_string = False
    is_escaped = False
    for byte in raw:
        if in_string:
            if is_escaped:
                is_escaped = False
            elif byte == 0x5C:
                is_escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > depth_max:
                raise Malformed(f"nested more deeply than {depth_max} levels")
        elif byte in b"]}":
            depth -= 1


def refuse_duplicates(raw: bytes) -> None:
    """Raise `Malformed` when an object of this valid JSON text has the same key twice."""
    # Each key is followed by a colon: an object with one key has no duplicate, and needs no second look.
    if raw.count(b":") > 1:
        _UNIQUE.decode(raw.decode())


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise Malformed("an object has the same key twice")


def _skip(_digits: str) -> None:
    # The value is not used, and Python refuses to convert integers of thousands of digits.
    return None


_UNIQUE: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_skip, parse_float=_skip)
