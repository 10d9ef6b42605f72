"""A secret value whose every printed form hides it."""

from typing import Final, NoReturn

_HIDDEN: Final = "Secret(***)"


class Secret:
    """Text that must not appear in any output; `reveal` is the one way to it, so that uses can be searched for."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self.__value

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(_HIDDEN)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
