"""Built-ins of IP networks: membership, overlap, expansion and merging; name look-up, which the host supplies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final

from watchkey.rego.builtins import BuiltinError, CallContext, builtin, declare_host, operand_error
from watchkey.rego.types import ANY, ARRAY, BOOLEAN, STRING, Type, any_of, array_of, object_of, set_of, tuple_of
from watchkey.rego.values import Boolean, Object, Set, boolean

_MAPPED: Final = 0xFFFF << 32
"""Where IPv4 lies within IPv6: ``::ffff:0:0/96``."""

_LONGEST: Final = 64
"""Characters up to which parsed texts are remembered; no address needs more."""

_TEXT_OR_TUPLE: Final = any_of(STRING, ARRAY)
_BLOCKS: Final[Type] = any_of(
    STRING, array_of(_TEXT_OR_TUPLE), object_of(STRING, _TEXT_OR_TUPLE), set_of(_TEXT_OR_TUPLE)
)
_UNCHECKED: Final = ((), ())


@dataclass(frozen=True, slots=True)
class Block:
    """A CIDR block: `first` address as a number, length of its `prefix`, and `bits` of an address, 32 or 128."""

    first: int
    prefix: int
    bits: int

    @property
    def last(self) -> int:
        """The last address."""
        return self.first | ((1 << (self.bits - self.prefix)) - 1)

    def holds(self, address: tuple[int, int]) -> bool:
        """Whether the ``(number, bits)`` address lies in the block; families never mix."""
        return address[1] == self.bits and self.first <= address[0] <= self.last


def _number_of(text: str) -> tuple[int, int] | None:
    """``(number, bits)`` of an address text, IPv4 mapped into IPv6 still with 128 bits; None if it is no address."""
    try:
        if ":" in text:
            return (int(IPv6Address(text)), 128) if "%" not in text else None
        return int(IPv4Address(text)), 32
    except AddressValueError:
        return None


def _narrowed(address: tuple[int, int]) -> tuple[int, int]:
    """An IPv4 address mapped into IPv6 is that IPv4 address."""
    number, bits = address
    if bits == 128 and number >> 32 == 0xFFFF:
        return number & 0xFFFFFFFF, 32
    return address


@lru_cache(maxsize=4096)
def _remembered_address(text: str) -> tuple[int, int] | None:
    found = _number_of(text)
    return None if found is None else _narrowed(found)


def _address(text: str) -> tuple[int, int] | None:
    return _remembered_address(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _remembered_block(text: str) -> Block | None:
    return _parsed_block(text)


def _block(text: Any) -> Block:
    """The block a CIDR text names; raises BuiltinError otherwise."""
    if type(text) is not str:
        raise operand_error(1, text, "string")
    found = _remembered_block(text) if len(text) <= _LONGEST else _parsed_block(text)
    if found is None:
        raise BuiltinError(f"invalid CIDR address: {text}")
    return found


def _parsed_block(text: str) -> Block | None:
    head, slash, tail = text.partition("/")
    address = _number_of(head) if slash and len(head) <= _LONGEST else None
    digits = tail.lstrip("0") or "0"
    if address is None or not tail or not (tail.isascii() and tail.isdigit()) or len(digits) > 3:
        return None
    number, bits = address
    prefix = int(digits)
    if prefix > bits:
        return None
    first = number >> (bits - prefix) << (bits - prefix)
    if bits == 128 and prefix >= 96 and first >> 32 == 0xFFFF:
        return Block(first & 0xFFFFFFFF, prefix - 96, 32)
    return Block(first, prefix, bits)


def _contains(outer: Any, inner: Any) -> bool:
    block = _block(outer)
    if type(inner) is not str:
        raise operand_error(1, inner, "string")
    address = _address(inner)
    if address is not None:
        return block.holds(address)
    try:
        within = _block(inner)
    except BuiltinError:
        raise BuiltinError(f"not a valid textual representation of an IP address or CIDR: {inner}") from None
    return block.bits == within.bits and block.first <= within.first and within.last <= block.last


@builtin("net.cidr_contains", (STRING, STRING), BOOLEAN, operands=_UNCHECKED)
def cidr_contains(outer: Any, inner: Any) -> Boolean:
    """Whether the block holds the address, or the whole other block."""
    return boolean(_contains(outer, inner))


@builtin("net.cidr_overlap", (STRING, STRING), BOOLEAN, operands=_UNCHECKED)
def cidr_overlap(outer: Any, inner: Any) -> Boolean:
    """The deprecated name of ``net.cidr_contains``."""
    return boolean(_contains(outer, inner))


@builtin("net.cidr_intersects", (STRING, STRING), BOOLEAN, operands=_UNCHECKED)
def cidr_intersects(left: Any, right: Any) -> Boolean:
    """Whether the blocks have an address in common."""
    first, second = _block(left), _block(right)
    overlap = first.first <= second.last and second.first <= first.last
    return boolean(first.bits == second.bits and overlap)


@builtin("net.cidr_is_valid", (STRING,), BOOLEAN, operands=((),))
def cidr_is_valid(text: Any) -> Boolean:
    """Whether the text is a CIDR block."""
    try:
        _block(text)
    except BuiltinError:
        return boolean(held=False)
    return boolean(held=True)


# --- many at once ----------------------------------------------------------------------------------------------------


def _named_blocks(position: int, operand: Any) -> Iterator[tuple[Any, Any]]:
    """``(address or CIDR, what names it in the result)`` of each element."""
    if type(operand) is str:
        yield operand, operand
        return
    if type(operand) is tuple:
        pairs: Any = enumerate(operand)
    elif type(operand) is Set:
        pairs = [(element, element) for element in operand.ordered()]
    else:
        pairs = operand.pairs() if type(operand) is Object else ()
    for name, element in pairs:
        found = element[0] if type(element) is tuple and element else element
        if (type(element) is tuple and not element) or type(element) not in (str, tuple):
            raise BuiltinError(f"operand {position}: element must be string or non-empty array")
        yield found, name


@builtin("net.cidr_contains_matches", (_BLOCKS, _BLOCKS), set_of(tuple_of(ANY, ANY)), operands=_UNCHECKED, context=True)
def cidr_contains_matches(ctx: CallContext, blocks: Any, members: Any) -> Set:
    """Each pair of a block and an address (or block) in it, by index, key or element."""
    matches = []
    for block, block_name in _named_blocks(1, blocks):
        for member, member_name in _named_blocks(2, members):
            ctx.spend(1)
            if _contains(block, member):
                matches.append((block_name, member_name))
    ctx.check_size(len(matches))
    return Set(matches)


def _address_text(number: int, bits: int) -> str:
    if bits == 32:
        return str(IPv4Address(number))
    return str(IPv4Address(number & 0xFFFFFFFF)) if number >> 32 == 0xFFFF else _text_of_v6(number)


def _text_of_v6(number: int) -> str:
    # Written out because versions of Python differ in how they show the last 32 bits.
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)]
    best_start, best_length = 0, 1
    index = 0
    while index < 8:
        end = index
        while end < 8 and groups[end] == "0":
            end += 1
        if end - index > best_length:
            best_start, best_length = index, end - index
        index = end + 1
    if best_length == 1:
        return ":".join(groups)
    return ":".join(groups[:best_start]) + "::" + ":".join(groups[best_start + best_length :])


@builtin("net.cidr_expand", (STRING,), set_of(STRING), context=True)
def cidr_expand(ctx: CallContext, text: str) -> Set:
    """Every address of the block."""
    block = _block(text)
    count = block.last - block.first + 1
    ctx.check_size(count)
    ctx.spend(count)
    return Set([_address_text(number, block.bits) for number in range(block.first, block.last + 1)])


@dataclass(slots=True)
class _Range:
    """Addresses from `first` to `last`, IPv4 mapped into IPv6; `text` while it is still one block as it was given."""

    first: int
    last: int
    text: str | None


def _range_of(element: Any) -> _Range:
    if type(element) is not str:
        raise BuiltinError("element must be string")
    address = _address(element)
    if address is None:
        block = _block(element)
        shift = _MAPPED if block.bits == 32 else 0
        return _Range(block.first + shift, block.last + shift, _block_text(block))
    number, bits = address
    if bits != 32:
        raise BuiltinError("IPv6 invalid: needs prefix length")
    # An address without a length stands for its historic class A, B or C network.
    prefix = 8 if number >> 24 < 0x80 else 16 if number >> 24 < 0xC0 else 24
    block = Block(number >> (32 - prefix) << (32 - prefix), prefix, 32)
    return _Range(block.first + _MAPPED, block.last + _MAPPED, f"{IPv4Address(number)}/{prefix}")


def _block_text(block: Block) -> str:
    return f"{_address_text(block.first, block.bits)}/{block.prefix}"


@builtin("net.cidr_merge", (any_of(array_of(STRING), set_of(STRING)),), set_of(STRING), operands=((),), context=True)
def cidr_merge(ctx: CallContext, operand: Any) -> Set:
    """The least number of blocks that hold the same addresses."""
    if type(operand) not in (tuple, Set):
        raise BuiltinError("operand must be an array")
    elements = operand if type(operand) is tuple else operand.ordered()
    ctx.spend(len(elements))
    ranges = sorted([_range_of(element) for element in elements], key=lambda each: (each.last, each.first))
    texts: set[str] = set()
    for each in _joined(ranges):
        texts.update([each.text] if each.text is not None else _covering(each.first, each.last))
    return Set(texts)


def _joined(ranges: list[_Range]) -> list[_Range]:
    """Ranges that touch or overlap become one; from the last to the first, as the order by `last` needs it."""
    joined: list[_Range] = []
    for each in reversed(ranges):
        if joined and _touches(each, joined[-1]):
            later = joined.pop()
            joined.append(_Range(min(each.first, later.first), later.last, None))
        else:
            joined.append(each)
    return joined


def _touches(earlier: _Range, later: _Range) -> bool:
    # The first address of a family has none before it, and IPv4 does not touch the IPv6 blocks around it.
    starts_family = later.first in (0, _MAPPED, _MAPPED + (1 << 32))
    before = later.first if starts_family else later.first - 1
    return before <= earlier.last


def _covering(first: int, last: int) -> Iterator[str]:
    """The fewest blocks that hold exactly the addresses from `first` to `last`."""
    bits = 32 if first >> 32 == last >> 32 == 0xFFFF else 128
    while first <= last:
        size = min((first & -first).bit_length() - 1 if first else 128, (last - first + 1).bit_length() - 1, bits)
        shown = first - _MAPPED if bits == 32 else first
        yield _block_text(Block(shown, bits - size, bits))
        first += 1 << size


declare_host("net.lookup_ip_addr", (STRING,), set_of(STRING))
