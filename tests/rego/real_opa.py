"""A real OPA beside the tests: one process on a socket of its own that is given policies, data and inputs to judge."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPA = shutil.which("opa")
NO_OPA = "no opa on PATH: nothing to compare with"
_STARTING_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine said: a ``value``, ``undefined``, an ``error`` while it ran, or that it ``refused`` the policy."""

    kind: str
    value: Any = None
    detail: str = ""
    codes: frozenset[str] = frozenset()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("opa", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RealOpa:
    """Asks the process; each question replaces the policy and the data of the one before."""

    def __init__(self, path: Path) -> None:
        self._connection = _Connection(path)
        self._data: Any = None

    def ask(self, text: str, given: Any, data: dict[str, Any], path: str) -> Answer:
        """The document at a path such as ``t/p`` under a policy of one file."""
        if data != self._data:
            self._request("DELETE", "/v1/policies/case", b"")
            self._request("PUT", "/v1/data", json.dumps(data).encode())
            self._data = json.loads(json.dumps(data))
        status, answer = self._request("PUT", "/v1/policies/case", text.encode())
        if status != 200:
            errors = answer.get("errors") or [answer]
            codes = frozenset(str(each.get("code")) for each in errors)
            return Answer(kind="refused", detail="; ".join(str(each.get("message")) for each in errors), codes=codes)
        status, answer = self._request("POST", f"/v1/data/{path}", json.dumps({"input": given}).encode())
        if status != 200:
            errors = answer.get("errors") or [answer]
            return Answer(kind="error", detail="; ".join(f"{e.get('code')}: {e.get('message')}" for e in errors))
        return Answer(kind="value", value=answer["result"]) if "result" in answer else Answer(kind="undefined")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def is_ready(self) -> bool:
        """Whether the process listens."""
        try:
            return self._request("GET", "/health", b"")[0] == 200
        except OSError:
            self._connection.close()
            return False

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        with self._connection.getresponse() as response:
            content = response.read()
            return response.status, json.loads(content) if content else {}


@contextmanager
def real_opa() -> Iterator[RealOpa]:
    """A running OPA; stopped afterwards."""
    assert OPA is not None, NO_OPA
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "opa.sock"
        command = [OPA, "run", "--server", "--addr", f"unix://{path}", "--log-level", "error", "--disable-telemetry"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as process:
            opa = RealOpa(path)
            try:
                ends = time.monotonic() + _STARTING_SECONDS
                while not opa.is_ready():
                    assert process.poll() is None, "opa ended before it listened"
                    assert time.monotonic() < ends, "opa did not listen in time"
                    time.sleep(0.05)
                yield opa
            finally:
                opa.close()
                process.terminate()
