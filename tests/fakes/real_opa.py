"""A real OPA for as long as a test needs one; where there is none on PATH, the test is skipped with a line."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

needs_opa = pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")


@contextmanager
def running_opa(*arguments: str | Path, scheme: str = "http") -> Iterator[str]:
    """Start `opa run --server` with these arguments on a free port of loopback; gives its URL once it answers."""
    port = _free_port()
    command: Sequence[str | Path] = (
        "opa", "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", "--disable-telemetry",
        *arguments,
    )  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait(process, port)
            yield f"{scheme}://127.0.0.1:{port}"
        finally:
            process.terminate()


def put_policy(url: str, name: str, text: str) -> None:
    """Give it a module over its Policy API."""
    httpx.put(f"{url}/v1/policies/{name}", content=text, timeout=10).raise_for_status()


def put_data(url: str, path: str, value: object) -> None:
    """Give it data."""
    httpx.put(f"{url}/v1/data/{path}", json=value, timeout=10).raise_for_status()


def opa(*arguments: str | Path) -> str:
    """Run one of its commands to its end; what it printed."""
    run = subprocess.run(["opa", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1].decode()) from None
            time.sleep(0.025)
        else:
            return
    raise AssertionError("opa does not listen")
