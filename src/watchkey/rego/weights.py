"""How large values are when written out, so that values which share their parts cannot stand for endless work.

``x1 := [x0, x0]; x2 := [x1, x1]; ...`` takes little memory, but comparing, hashing or printing ``x60`` would not end.
Therefore every composite that holds more than one composite is weighed when it is built, and may not weigh more than a
result may have elements; and comparing or hashing a composite costs steps by its weight.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import PLAIN_TYPES, Object, Set


class Purse(Protocol):
    """The side of an evaluation that pays, and remembers what arrays weigh."""

    weights: dict[int, tuple[Any, int]]
    max_size: int

    def spend(self, steps: int) -> None:
        """Pay for work."""


_KEPT_FROM: Final = 64
"""Arrays that weigh less are weighed again each time: that is cheaper than to remember them."""

_SHIFT: Final = 6
_FEW: Final = 16
"""So few plain elements are not worth weighing: strings that are too long are refused where they are made."""
_PLAIN: Final = frozenset(PLAIN_TYPES)
_TEXT: Final = {str}
_LIGHT: Final = PLAIN_TYPES - {str}


def weigh(st: Purse, value: Any) -> int:
    """The number of parts of a value, shared ones counted each time; long strings count more.

    Raises LimitExceeded where that is more than a result may have.
    """
    kind = type(value)
    if kind is str:
        return 1 + (len(value) >> _SHIFT)
    if kind in PLAIN_TYPES:
        return 1
    if kind is tuple:
        return _array(st, value)
    known: int | None = getattr(value, "weight", None)
    if known is None:
        known = _checked(st, _parts(st, value.items(), pairs=True) if kind is Object else _parts(st, value))
        value.weight = known
    return known


def _array(st: Purse, value: tuple[Any, ...]) -> int:
    known = st.weights.get(id(value))
    if known is not None:
        return known[1]
    weight = _checked(st, _parts(st, value))
    if weight >= _KEPT_FROM:
        st.weights[id(value)] = (value, weight)
    return weight


def _parts(st: Purse, elements: Any, *, pairs: bool = False) -> int:
    if len(elements) >= _KEPT_FROM:
        st.spend(len(elements) >> _SHIFT)
    if not pairs:
        kinds = set(map(type, elements))
        if kinds == _TEXT:
            return 1 + len(elements) + (sum(map(len, elements)) >> _SHIFT)
        if kinds <= _LIGHT:
            return 1 + len(elements)
    if pairs:
        return 1 + sum([weigh(st, key) + weigh(st, item) for key, item in elements])
    return 1 + sum([weigh(st, element) for element in elements])


def _checked(st: Purse, weight: int) -> int:
    if weight > st.max_size + 1:
        message = f"a value would have {weight} parts, more than {st.max_size}"
        raise LimitExceeded(message)
    return weight


def charge(st: Purse, value: Any) -> None:
    """Pay for comparing or hashing a value."""
    st.spend(weigh(st, value) >> _SHIFT)


def same(st: Purse, left: Any, right: Any) -> bool:
    """Equality of values of which the left one is a composite."""
    if type(left) is not type(right):
        return False
    if left is right:
        return True
    if type(left) in (tuple, Object, Set) and len(left) != len(right):
        return False
    charge(st, left)
    charge(st, right)
    return bool(left == right)


def crowded(*elements: Any) -> bool:
    """Whether at least two of the elements are composites."""
    return sum([type(element) not in PLAIN_TYPES for element in elements]) > 1


def array(st: Purse, elements: list[Any]) -> tuple[Any, ...]:
    """The array of a comprehension."""
    made = tuple(elements)
    weigh(st, made)
    return made


def weighed(st: Purse, made: Any) -> Any:
    """A set or object under construction is finished; gives it back."""
    if len(made) > _FEW or not _PLAIN.issuperset(map(type, made.values() if type(made) is Object else made)):
        weigh(st, made)
    return made
