"""The files beside the log: the private key, the public key, and the last checkpoint that was signed."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.secret import Secret
from watchkey.rules.checkpoint import SigningKey, VerifyingKey
from watchkey.stores.sqlite.database import sync_folder

_TEXT_BYTES_MAX = 64 * 1024


def create_key(path: Path, origin: str) -> VerifyingKey:
    """Make a new signing key for the log `origin` in a file that only its owner can read; never overwrites one.

    Raises Refused when the file exists: without the old key the old log can no longer be continued.
    """
    key = SigningKey(origin, secrets.token_bytes(32))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Refused(f"{path} exists already and stays: the log needs the key that it began with") from error
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key.reveal() + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
    return key.verifying


def read_key(path: Path) -> Secret:
    """The text of a key file. Raises Refused when others than the owner can read or write it."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise Unavailable(f"cannot read the key file {path}: {error.strerror}; `watchkey init` makes one") from error
    if mode & 0o077:
        raise Refused(f"{path} has mode {mode:04o}, so others can use the key: chmod 600 {path}")
    return Secret(read_text(path) or "")


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one, whole and on disk. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    finally:
        os.close(descriptor)
    draft.replace(path)
    sync_folder(path.parent)


def read_text(path: Path) -> str | None:
    """A small file's text; None when there is no such file. Raises Unavailable, or Malformed when it is not text."""
    try:
        with path.open("rb") as file:
            data = file.read(_TEXT_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error}") from error
    if len(data) > _TEXT_BYTES_MAX:
        raise Malformed(f"{path} is longer than {_TEXT_BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"{path} is not UTF-8 text") from error
