"""kill -9 of the service in a loop: each start is clean, each log verifies, no answered allow is missing."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.bench_http import free_port
from tests.wiring.configured import configured
from watchkey.http_client import HttpClient
from watchkey.model.errors import PortError
from watchkey.model.secret import Secret
from watchkey.wiring import SystemClock, make_caller_token, open_audit_reader

KILLS = int(os.environ.get("WATCHKEY_KILLS", "8"))


@contextlib.contextmanager
def serving(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml"), "serve"]
    with (folder / "serve.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def ask_until_killed(port: int, token: str, process: "subprocess.Popen[bytes]", after: float) -> list[int]:
    """Ask fresh questions until the service is killed; the audit numbers of the allows that were answered."""
    client = HttpClient(
        f"http://127.0.0.1:{port}", clock=SystemClock(), headers={"authorization": Secret(f"Bearer {token}")}
    )
    for _ in range(300):
        assert process.poll() is None, "the service ended by itself"
        with contextlib.suppress(PortError):
            await client.operation().get("/ready")
            break
        await asyncio.sleep(0.03)
    loop = asyncio.get_running_loop()
    loop.call_later(after, process.send_signal, signal.SIGKILL)
    answered: list[int] = []
    number = 0
    with contextlib.suppress(PortError):
        while True:
            number += 1
            question = {
                "subject": {"id": "alice"}, "privilege": "write", "resource": "orders-db", "context": {"n": number},
            }  # fmt: skip
            told = (await client.operation().send("POST", "/v1/decide", body=msgspec.json.encode(question))).json()
            assert told["allow"] is True, told
            answered.append(told["seq"])
    await client.close()
    return answered


def test_every_answered_allow_is_in_a_log_that_verifies_after_each_kill(tmp_path: Path) -> None:
    token, token_hash = make_caller_token()
    port = free_port()
    more = (
        f'\ncallers: {{test: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}}}\n'
        f"listen: {{http: {{port: {port}}}}}\n"
    )
    configured(tmp_path, more=more)
    rng = random.Random(7)
    answered: list[int] = []
    for _ in range(KILLS):
        with serving(tmp_path) as process:
            answered += asyncio.run(ask_until_killed(port, token.reveal(), process, rng.uniform(0.02, 0.25)))
        verified = subprocess.run(
            [sys.executable, "-m", "watchkey", "audit", "verify", "--db", str(tmp_path / "watchkey.db")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert verified.returncode == 0, verified.stdout + verified.stderr
    assert len(answered) > KILLS, "the service was killed before it had answered anything"
    assert len(set(answered)) == len(answered)
    with open_audit_reader(tmp_path / "watchkey.db") as reader:
        bodies = [json.loads(entry.body) for entry in reader.entries()]
    for seq in answered:
        assert (bodies[seq]["kind"], bodies[seq]["outcome"]) == ("decision", "allow")
    assert sum(body["kind"] == "service_started" for body in bodies) == KILLS
