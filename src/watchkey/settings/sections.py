"""Reading the sections that belong to an adapter: paths from the file's folder, secrets from outside the file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from watchkey.model.secret import Secret
from watchkey.rules.located import ConfigError, Located

SECRET_BYTES_MAX: Final = 64 * 1024
"""Larger than any token or key; a path that leads to a log or a device is noticed."""
_UNREAD: Final = "not read"

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a configuration file leans on: its folder and the environment, the latter for secrets only."""

    directory: Path
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    are_secrets_read: bool = True
    """False: references to secrets are checked for their form only, as in a build that has none."""

    def convert(self, section: Located, wanted: type[_T]) -> _T:
        """Turn a section into the adapter's own `Config`. Raises `ConfigError` with everything that is wrong in it.

        A field of type `pathlib.Path`, and a text named `path` or `…_file`, is taken relative to the folder of the
        configuration file; one of type `Secret` must be `{env: NAME}` or `{file: PATH}`.
        """
        value = section.convert(wanted, secrets=self.secret, hooks={Path: self._path_of})
        return self._with_absolute_paths(value) if isinstance(value, msgspec.Struct) else value

    def _with_absolute_paths(self, value: _S) -> _S:
        """The struct with its paths made absolute, so that no adapter depends on the working directory."""
        changed = {
            one.name: str(self.path(text))
            for one in msgspec.structs.fields(value)
            if (one.name == "path" or one.name.endswith("_file")) and isinstance(text := getattr(value, one.name), str)
        }
        return msgspec.structs.replace(value, **changed) if changed else value

    def path(self, text: str) -> Path:
        """A path as the file means it: relative ones start at the folder of the file."""
        return self.directory / text

    def secret(self, kind: str, name: str) -> Secret:
        """Read one secret. Raises LookupError, OSError or ValueError whose text never holds any part of it."""
        if not self.are_secrets_read:
            return Secret(_UNREAD)
        if kind == "env":
            if name not in self.environ:
                raise LookupError(f"the environment variable {name} is not set")
            text = self.environ[name]
        else:
            text = _first_bytes(self.path(name))
        # Editors and `echo` end a file with a newline that no token has.
        text = text.rstrip("\r\n")
        if not text:
            raise ValueError(f"the {'environment variable' if kind == 'env' else 'file'} {name} is empty")
        return Secret(text)

    def _path_of(self, value: object) -> Path:
        if not isinstance(value, str) or not value:
            raise ValueError("expected a path")
        return self.path(value)


def _first_bytes(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from None
    if len(data) > SECRET_BYTES_MAX:
        raise ValueError(f"{path}: larger than {SECRET_BYTES_MAX // 1024} KiB, so hardly a secret")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None


def raise_all(errors: list[ConfigError]) -> None:
    """Raise all of them as one, in the order of the file; nothing happens when there is none."""
    if errors:
        first, *others = sorted(errors, key=lambda error: (error.line, error.column))
        first.others = tuple(others)
        raise first


def environment() -> Mapping[str, str]:
    """The process's environment, for `Surroundings`."""
    return os.environ
