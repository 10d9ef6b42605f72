"""A Watchkey and a real OPA that pulls from it, each a process of its own that can be killed and started again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tests.live.house import RealClock
from watchkey import wiring
from watchkey.settings import load_settings

ROSTER = """\
people: {{alice: {{name: Alice}}, bob: {{name: Bob}}}}
schedules:
  primary:
    name: Primary
    overrides:
      - {{person: {first}, from: {began}, to: {handoff}, by: {second}}}
      - {{person: {second}, from: {handoff}, to: {ends}, by: {first}}}
policies: {{orders: {{name: Orders, levels: [[primary]]}}}}
services: {{orders: {{name: Orders, policy: orders}}}}
"""
CONFIG = """\
sources: {{local: {{kind: roster_file, path: roster.yaml}}}}
resources:
  orders-db:
    kind: postgres
    privileges: [write]
    opened_by: [{{source: local, service: orders}}]
links: {{alice: {{local: alice}}, bob: {{local: bob}}}}
callers:
  opa: {{token_hashes: ["{token_hash}"]}}
  watcher: {{token_hashes: ["{watcher_hash}"], resources: all, trusted: true}}
fleets: {{prod: {{callers: [opa], renew: {renew}{signing}}}}}
sync: {{poll: 1s}}
listen: {{http: {{port: {port}}}}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer; fails when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


class Fleet:
    """Use it as a context manager; both run unless they are stopped."""

    def __init__(self, folder: Path, *, is_signed: bool = True, renew: str = "5s", poll: str = "long") -> None:
        self.folder = folder
        self.port, self.opa_port = free_port(), free_port()
        self.token, token_hash = wiring.make_caller_token()
        self.watcher, watcher_hash = wiring.make_caller_token()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        wiring.create_audit_key(folder / "audit.key", "example.com/fleet")
        wiring.create_bundle_key(folder / "bundle.key", "ES256")
        (folder / "watchkey.yaml").write_text(
            CONFIG.format(
                token_hash=token_hash, watcher_hash=watcher_hash, port=self.port, renew=renew,
                signing=", signing: {key_file: bundle.key}" if is_signed else "",
            )
        )  # fmt: skip
        self.hand_over()
        configuration: Any = wiring.opa_configuration(self.settings.fleets["prod"], self.url)
        configuration["decision_logs"]["reporting"] = {"min_delay_seconds": 1, "max_delay_seconds": 1}
        polling = {"min_delay_seconds": 1, "max_delay_seconds": 1}
        configuration["bundles"]["prod"]["polling"] = polling | (
            {"long_polling_timeout_seconds": 10} if poll == "long" else {}
        )
        self.configure_opa(configuration)

    @property
    def settings(self) -> Any:
        return load_settings(self.folder / "watchkey.yaml", environ={})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure_opa(self, configuration: Any) -> None:
        self.configuration = configuration
        (self.folder / "opa.yaml").write_text(json.dumps(configuration))

    def hand_over(self, first: str = "alice", second: str = "bob", at: datetime | None = None) -> None:
        """Write a roster: the first is on call until the instant (hours from now unless it is given)."""
        now = RealClock().now()
        text = ROSTER.format(
            first=first, second=second, began=f"{now - timedelta(hours=1):%FT%TZ}",
            handoff=f"{at or now + timedelta(hours=3):%FT%TZ}", ends=f"{now + timedelta(hours=9):%FT%TZ}",
        )  # fmt: skip
        part = self.folder / "roster.yaml.part"
        part.write_text(text)
        part.rename(self.folder / "roster.yaml")

    def __enter__(self) -> Self:
        self.start_watchkey()
        self.start_opa()
        return self

    def __exit__(self, *_: object) -> None:
        for name in sorted(self._processes):  # the OPA first: it has something to send until it ends
            self.stop(name)

    def start_watchkey(self) -> None:
        command = [sys.executable, "-m", "watchkey", "--config", str(self.folder / "watchkey.yaml"), "serve"]
        self._start("watchkey", command)
        eventually(lambda: self.get(f"{self.url}/ready"))

    def start_opa(self, *, waits: bool = True) -> None:
        address = f"127.0.0.1:{self.opa_port}"
        command = ["opa", "run", "--server", "--addr", address, "--config-file", str(self.folder / "opa.yaml")]
        self._start("opa", command)
        path = "/health?bundles" if waits else "/health"
        eventually(lambda: self.get(f"http://{address}{path}") is not None)

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environ = os.environ | {"WATCHKEY_TOKEN": self.token.reveal()}
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environ)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self._processes.pop(name)
        process.send_signal(how)
        process.wait(20)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    # -- asking

    def get(self, url: str, body: Any = None, token: str | None = None) -> Any:
        """The answer as JSON where it is JSON; None when there is none."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 -- loopback
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 -- loopback
                text = response.read()
        except (OSError, urllib.error.URLError):
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def ask(self, subject: str) -> dict[str, Any]:
        """What the OPA says; empty when it says nothing."""
        answer = self.ask_whole(subject)
        found: dict[str, Any] = answer.get("result", {})
        return found

    def ask_whole(self, subject: str) -> dict[str, Any]:
        given = {"input": {"subject": subject, "privilege": "write", "resource": "orders-db"}}
        return self.get(f"http://127.0.0.1:{self.opa_port}/v1/data/watchkey/access/decision", given) or {}

    def metrics(self) -> str:
        text = self.get(f"{self.url}/metrics", token=self.watcher.reveal())
        return text.decode() if isinstance(text, bytes) else ""

    def entries(self) -> list[dict[str, Any]]:
        with wiring.open_audit_reader(self.folder / "watchkey.db") as reader:
            return [json.loads(entry.body) for entry in reader.entries()]


@contextlib.contextmanager
def fleet(folder: Path, **changes: Any) -> Iterator[Fleet]:
    with Fleet(folder, **changes) as running:
        yield running
