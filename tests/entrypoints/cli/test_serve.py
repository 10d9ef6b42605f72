"""`watchkey serve` as a process: the real service on a real socket, its exit codes, and what is left of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from click.testing import CliRunner

from watchkey.entrypoints.cli.init import write_example
from watchkey.entrypoints.cli.main import watchkey
from watchkey.entrypoints.cli.serve import limits_of, listener_of
from watchkey.entrypoints.http.limits import Limits
from watchkey.settings import load_settings


@pytest.fixture
def token(tmp_path: Path) -> str:
    return write_example(tmp_path, is_forced=False).token.reveal()


def change(directory: Path, was: str, becomes: str) -> Path:
    file = directory / "watchkey.yaml"
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, becomes, 1))
    return file


def command(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "watchkey", "--config", str(directory / "watchkey.yaml"), "serve", *words]


@contextmanager
def serving(directory: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    process = subprocess.Popen(
        command(directory, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        assert url.startswith("http://127.0.0.1:")
        said = [url]
        while "ready" not in said:
            said.append(process.stdout.readline().strip())
            assert said[-1], "it ended before it was ready"
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def rest(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_decides_and_ends_in_order_with_0(tmp_path: Path, token: str, number: signal.Signals) -> None:
    with serving(tmp_path) as (process, url):
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=10) as client:
            asked = [
                client.post("/v1/decide", json={"subject": {"id": name}, "privilege": "write", "resource": "orders-db"})
                for name in ("alice", "bob", "carol", "nobody")
            ]
            assert [answer.status_code for answer in asked] == [200] * 4
            assert {answer.json()["allow"] for answer in asked} == {True, False}
            assert asked[3].json()["reason"] == "not_linked"
            assert client.get("/ready").json() == {"ready": True, "reasons": []}
            on_call = client.get("/v1/on-call?resource=orders-db").json()["scopes"][0]
            assert on_call["known"] is True
            assert client.get("/metrics").text.count("watchkey_") > 50
        process.send_signal(number)
        assert process.wait(30) == 0
        events = [json.loads(line) for line in rest(process.stderr).splitlines()]
        assert [event["event"] for event in events][-2:] == ["http.stopping", "http.stopped"]
        assert token not in json.dumps(events)
    verified = CliRunner().invoke(watchkey, ["--config", str(tmp_path / "watchkey.yaml"), "audit", "tail", "--json"])
    assert "service_stopped" in verified.output.lower().replace("servicestopped", "service_stopped")


def test_a_second_one_on_the_same_log_is_refused(tmp_path: Path, token: str) -> None:
    assert token
    with serving(tmp_path):
        second = subprocess.run(
            command(tmp_path, "--port", "0"), capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 3
        assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("host: 127.0.0.1", "host: 0.0.0.0", "listen.http.host"),
        ("port: 8181", "port: 8181\n    limits: {body_byts: 2048}", "body_byts"),
        ("port: 8181", "port: 8181\n    limits: {depth_max: 1000}", "depth_max"),
        ("port: 8181", "prt: 8181", "prt"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_misuse(
    tmp_path: Path, token: str, was: str, becomes: str, says: str
) -> None:
    assert token
    change(tmp_path, was, becomes)
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_3(tmp_path: Path, token: str) -> None:
    assert token
    with serving(tmp_path) as (_, url):
        other = tmp_path / "other"
        write_example(other, is_forced=False)
        port = url.rpartition(":")[2]
        done = subprocess.run(command(other, "--port", port), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 3
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_the_listener_is_as_configured_unless_a_port_is_given(tmp_path: Path, token: str) -> None:
    assert token
    file = change(tmp_path, "port: 8181", "port: 9000\n    insecure: true\n    unix_socket: run/wk.sock")
    settings = load_settings(file)
    listener = listener_of(settings, None)
    assert (listener.port, listener.insecure, listener.unix_socket) == (9000, True, str(tmp_path / "run" / "wk.sock"))
    assert (listener_of(settings, 7).port, listener_of(settings, 7).unix_socket) == (7, None)


def test_limits_are_as_configured(tmp_path: Path, token: str) -> None:
    assert token
    assert limits_of(load_settings(tmp_path / "watchkey.yaml")) == Limits()
    file = change(tmp_path, "port: 8181", "port: 8181\n    limits: {batch_max: 7, head_s: 2.5}")
    assert limits_of(load_settings(file)) == Limits(batch_max=7, head_s=2.5)
