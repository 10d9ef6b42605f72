"""A real OPA pulls from a real Watchkey: handoffs, changes, signatures, crashes of both, and the page that shows it."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.live.fleet import Fleet, eventually, fleet, free_port
from tests.live.house import RealClock
from watchkey.rules.bundle import SIGNATURES, BundleFile, pack

pytestmark = pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "opa-fleet.md"


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("## From nothing to a handoff")[2].partition("\n## ")[0]
    blocks = re.findall(r"```(sh|text)\n(.*?)```", section, re.DOTALL)
    script, wanted = ["set -eu"], []
    port, opa_port = free_port(), free_port()
    for kind, text in blocks:
        if kind == "text":
            script.append("echo ==== && true")
            wanted.append(text.splitlines())
        else:
            script.append(text.replace("sync: {poll: 2s}", f"sync: {{poll: 2s}}\nlisten: {{http: {{port: {port}}}}}"))
    whole = "\n".join(script).replace("127.0.0.1:8181", f"127.0.0.1:{port}")
    whole = whole.replace("127.0.0.1:8282", f"127.0.0.1:{opa_port}").replace("+20 seconds", "+6 seconds")
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = subprocess.Popen(
        ["bash", "-c", whole], cwd=tmp_path, env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = run.communicate(timeout=100)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGTERM)  # what it left running is in its own session
    assert run.returncode == 0, out + err
    *shown, last = out.split("====\n")
    for lines, text in zip(wanted, shown, strict=True):
        answers = [line for line in text.splitlines() if line.startswith("{")][-len(lines) :]
        for pattern, answer in zip(lines, answers, strict=True):
            assert re.fullmatch(".*?".join(map(re.escape, pattern.split("…"))), answer), (pattern, answer)
    for what in ("bundle.published", "opa.status", "opa_decision"):
        assert re.search(rf"[1-9]\d* {what}", last), last


def test_handoffs_changes_and_crashes(tmp_path: Path) -> None:
    """One fleet through its life: each start of the two programs takes a second, so they are started once."""
    with fleet(tmp_path) as running:
        asked = _a_planned_handoff_happens_without_a_push(running)
        asked |= _an_unplanned_change_arrives(running)
        _watchkey_is_killed_and_comes_back(running)
        _every_decision_is_in_the_log_once(running, asked)
        _opa_is_killed_and_comes_back(running)
        assert 'watchkey_fleet_opas{fleet="prod",state="current"}' in running.metrics()


def _a_planned_handoff_happens_without_a_push(running: Fleet) -> set[str]:
    instant = RealClock().now().replace(microsecond=0) + timedelta(seconds=5)
    running.hand_over("alice", "bob", instant)
    eventually(lambda: running.ask("alice").get("until") == f"{instant:%FT%TZ}")
    assert running.ask("bob")["reason"] == "not_on_call"
    running.stop("watchkey", signal.SIGKILL)  # nothing can be pushed now
    asked = set()
    answer = running.ask_whole("bob")
    while not answer["result"]["allow"]:
        asked.add(answer["decision_id"])
        time.sleep(0.1)
        answer = running.ask_whole("bob")
    assert answer["result"]["decided_at"] >= f"{instant:%FT%T}"
    assert running.ask("alice")["reason"] == "not_on_call"
    running.start_watchkey()
    return asked


def _an_unplanned_change_arrives(running: Fleet) -> set[str]:
    running.hand_over("alice", "bob")
    eventually(lambda: running.ask("alice").get("allow"))
    running.hand_over("bob", "alice")
    eventually(lambda: running.ask("bob").get("allow"))
    return {running.ask_whole("alice")["decision_id"]}


def _watchkey_is_killed_and_comes_back(running: Fleet) -> None:
    before = running.ask("bob")["revision"]
    running.stop("watchkey", signal.SIGKILL)
    assert running.ask("bob")["allow"], "an OPA goes on by what it has"
    running.hand_over("alice", "bob")
    running.start_watchkey()
    eventually(lambda: running.ask("alice").get("allow"))
    assert running.ask("alice")["revision"] > before


def _opa_is_killed_and_comes_back(running: Fleet) -> None:
    before = running.ask("alice")["revision"]
    running.stop("opa", signal.SIGKILL)
    running.start_opa()
    assert running.ask("alice")["allow"]
    assert running.ask("alice")["revision"] >= before

    def opas() -> set[str]:
        return {one["fields"]["opa"] for one in running.entries() if one.get("what") == "opa.status"}

    eventually(lambda: len(opas()) == 2)  # the one that was killed, and the one that came back


def _every_decision_is_in_the_log_once(running: Fleet, asked: set[str]) -> None:
    """What was decided while Watchkey was dead is sent when it is back; what it may have had already is not doubled."""

    def logged() -> list[str]:
        return [one["decision_id"] for one in running.entries() if one["kind"] == "opa_decision"]

    eventually(lambda: asked <= set(logged()))
    assert len(logged()) == len(set(logged()))
    revisions = [one["fields"]["revision"] for one in running.entries() if one.get("what") == "bundle.published"]
    assert revisions == sorted(set(revisions))


def test_unsigned_bundles_come_as_deltas(tmp_path: Path) -> None:
    with fleet(tmp_path, is_signed=False, renew="60s") as running:
        assert eventually(lambda: running.ask("alice").get("allow"))
        running.hand_over("bob", "alice")
        eventually(lambda: running.ask("bob").get("allow"))
        running.hand_over("alice", "bob")
        eventually(lambda: running.ask("alice").get("allow"))
        assert not running.ask("bob")["allow"]
        assert re.search(r'watchkey_bundle_pulls_total\{fleet="prod",got="deltas"\} [1-9]', running.metrics())
        status = running.get(f"http://127.0.0.1:{running.opa_port}/v1/status")["result"]["bundles"]["prod"]
        assert status["type"] == "delta"
        assert status["active_revision"] == str(running.ask("alice")["revision"])


class Tampering:
    """Somebody between the two who changes what he likes."""

    def __init__(self, upstream: Fleet) -> None:
        self.upstream = upstream
        self.change = lambda files: files
        self.served = 0

    def answer(self, path: str) -> bytes:
        body = self.upstream.get(f"{self.upstream.url}{path}", token=self.upstream.token.reveal())
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
            members = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files
        changed = self.change(members)
        self.served += 1
        return pack([BundleFile(name=name, body=text) for name, text in changed.items()])

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        tampering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = tampering.answer(self.path)
                self.send_response(200)
                self.send_header("etag", f'"{tampering.served}"')
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name there
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _other_data(files: dict[str, bytes]) -> dict[str, bytes]:
    name = "watchkey/data.json"
    data = json.loads(files[name])
    data["links"]["eve"] = {"local": {"person": "alice"}}
    return files | {name: json.dumps(data).encode()}


TAMPERED = {
    "digest mismatch": _other_data,
    "bundle missing .signatures.json": lambda files: {name: body for name, body in files.items() if name != SIGNATURES},
    "not included in bundle signature": lambda files: files | {"watchkey/more.rego": b"package watchkey.more\n"},
    "failed to verify JWT": lambda files: (
        files | {SIGNATURES: files[SIGNATURES].replace(b'"]', b'AA"]')}
    ),
}  # fmt: skip


def test_an_opa_takes_no_bundle_that_somebody_changed(tmp_path: Path) -> None:
    running = Fleet(tmp_path)
    running.start_watchkey()
    try:
        tampering = Tampering(running)
        with tampering.serving() as url:
            configuration = running.configuration
            configuration["services"]["watchkey"]["url"] = url
            running.configure_opa(configuration)
            running.start_opa()
            assert running.ask("alice")["allow"], "what is passed on as it is, is taken"
            for message, change in TAMPERED.items():
                tampering.change = change
                eventually(lambda text=message: text in running.log("opa"))  # type: ignore[misc]  # bound on purpose
                assert running.ask("alice")["allow"], "the last good one stays"
                assert not running.ask("eve").get("allow")
    finally:
        running.__exit__()
