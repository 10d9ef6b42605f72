"""Secrets planted as canaries appear in no output: log, audit, metrics, errors, command line, roster, tracebacks."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench_http import free_port
from tests.crash.test_service_survives_kill import serving
from watchkey.http_client import HttpClient
from watchkey.model.errors import PortError
from watchkey.model.secret import Secret
from watchkey.simulator import READ_TOKEN, Simulator, in_thread
from watchkey.simulator.sample import fill
from watchkey.wiring import SystemClock, create_audit_key, make_caller_token

PAGER_CANARY = "canary-pager-5fd1c0"
WEBHOOK_CANARY = "canary-webhook-77ab2e"
CONFIG = """\
sources:
  good: {{kind: pagerduty, base_url: {pager}, token: {{env: GOOD}}, webhook_keys: [{{env: HOOK}}]}}
  bad: {{kind: pagerduty, base_url: {pager}, token: {{file: bad.token}}}}
resources:
  orders-db:
    kind: postgres
    privileges: [read, write]
    opened_by: [{{source: good, service: SVORDERS}}, {{source: bad, service: SVORDERS}}]
links: {{alice: {{good: PALICE, bad: PALICE}}}}
callers: {{test: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}}}
listen: {{http: {{port: {port}}}}}
"""
PATHS = ("/ready", "/health", "/metrics", "/v1/roster", "/v1/on-call?resource=orders-db", "/openapi.json", "/nothing")


async def look_around(port: int, token: str) -> str:
    client = HttpClient(
        f"http://127.0.0.1:{port}", clock=SystemClock(), headers={"authorization": Secret(f"Bearer {token}")}
    )
    seen: list[str] = []
    for _ in range(60):
        try:
            await client.operation().get("/health")
            break
        except PortError:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # both sources have been read or have failed by then
    for path in PATHS:
        try:
            answer = await client.operation().get(path, accepted=(503, 404))
            seen.append(answer.body.decode())
        except PortError as error:
            seen.append(str(error))
    for body in (b'{"subject": {"id": "alice"}, "privilege": "write", "resource": "orders-db"}', b"{broken"):
        try:
            seen.append((await client.operation().send("POST", "/v1/decide", body=body)).body.decode())
        except PortError as error:
            seen.append(str(error))
    await client.close()
    return "\n".join(seen)


def everything_said(folder: Path, port: int, token: str, environment: dict[str, str]) -> str:
    said = asyncio.run(look_around(port, token))
    for words in (["-vv", "check", "alice", "write", "orders-db"], ["explain", "alice", "write", "orders-db", "--json"],
                  ["config", "check"], ["who", "orders-db"], ["audit", "tail", "--db", "watchkey.db"]):  # fmt: skip
        run = subprocess.run(
            [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml"), *words],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said += run.stdout + run.stderr
    return said


def test_no_planted_secret_appears_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator()
    with in_thread(simulator) as do:
        do(lambda: fill(simulator.world))
        token, token_hash = make_caller_token()
        port = free_port()
        (tmp_path / "watchkey.yaml").write_text(
            CONFIG.format(pager=simulator.base_url, token_hash=token_hash, port=port)
        )
        (tmp_path / "bad.token").write_text(PAGER_CANARY)
        create_audit_key(tmp_path / "audit.key", "watchkey.example/canary")
        monkeypatch.setenv("GOOD", READ_TOKEN)
        monkeypatch.setenv("HOOK", WEBHOOK_CANARY)
        with serving(tmp_path):
            said = everything_said(tmp_path, port, token.reveal(), dict(os.environ))
        assert "401" in said or "refused" in said.lower(), (
            "the failing source was never talked about: nothing was tested"
        )
        assert "alice" in said
    files = {path.name: path.read_bytes().decode(errors="replace") for path in tmp_path.glob("watchkey.*")}
    files["serve.log"] = (tmp_path / "serve.log").read_text()
    assert "watchkey.db" in files
    private = (tmp_path / "audit.key").read_text().strip().rsplit("+", 1)[-1]
    canaries = {
        "the pager's key": PAGER_CANARY,
        "the webhook's key": WEBHOOK_CANARY,
        "the good pager's key": READ_TOKEN,
        "the caller's token": token.reveal(),
        "the signing key": private,
    }
    for what, canary in canaries.items():
        assert canary not in said, f"{what} was shown"
        for name, content in files.items():
            assert canary not in content, f"{what} is in {name}"
