"""psql and pgbench through the gateway, as people start them."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.live.clients.probe import WHERE, Begun, run
from watchkey.simulator.postgres_server import find_client

PSQL = [str(find_client("psql")), "-XqAt", "-v", "VERBOSITY=verbose", "-d", WHERE.dsn]


class Said(Exception):
    """What the program wrote to its standard error, with the SQLSTATE out of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.sqlstate = next((word.rstrip(":") for word in text.split() if len(word) == 6 and word[5] == ":"), "")


def psql(*words: str, text: str = "") -> str:
    done = subprocess.run([*PSQL, *words], input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Said(done.stderr)
    return done.stdout.strip()


def who() -> str:
    return psql("-c", "SELECT session_user")


def copy_both_ways() -> str:
    rows = "".join(f"by psql {n}\n" for n in range(500))
    script = f"BEGIN;\n\\copy orders (what) FROM pstdin\n{rows}\\.\n"
    return psql(text=f"{script}\\copy orders (what) TO PROGRAM 'grep -c psql'\nROLLBACK;\n")


def gexec_and_describe() -> str:
    return psql(text="\\d orders\nSELECT 'SELECT 1' \\gexec\n\\dt\n")


def cancelled() -> None:
    with subprocess.Popen([*PSQL, "-c", "SELECT pg_sleep(9)"], stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(0.4, process.send_signal, [signal.SIGINT])
        timer.start()
        _, said = process.communicate(timeout=30)
        timer.join()
    raise Said(said)


def open_session(begun: Begun, first: str) -> None:
    """Somebody at a prompt who asks for something after the end."""
    with subprocess.Popen(
        PSQL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        one.stdin.write(f"{first}\n\\echo here\n")
        one.stdin.flush()
        assert one.stdout.readline() == "here\n"
        begun()
        with contextlib.suppress(BrokenPipeError):
            while one.poll() is None:
                one.stdin.write("SELECT 1;\n")
                one.stdin.flush()
                time.sleep(0.3)
        _, said = one.communicate(timeout=30)
    raise Said(said)


def long_copy(begun: Begun) -> None:
    with subprocess.Popen(
        [*PSQL, "-c", "COPY orders (what) FROM STDIN"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin is not None
        begun()
        with contextlib.suppress(BrokenPipeError):
            for _ in range(1000):
                one.stdin.write("never" + "x" * 9000 + "\n")
                one.stdin.flush()
                time.sleep(0.02)
        _, said = one.communicate(timeout=30)
    raise Said(said)


def pgbench(script: str, *words: str) -> str:
    program = [str(find_client("pgbench")), "-n", "-f", "-", *words, WHERE.dsn]
    done = subprocess.run(program, input=script, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Said(done.stderr)
    return next(line for line in done.stdout.splitlines() if "actually processed" in line)


def running(begun: Begun, *words: str, **more: Any) -> None:
    begun()
    raise Said(psql(*words, **more))


def benching(begun: Begun, script: str, mode: str) -> None:
    begun()
    pgbench(script, "-M", mode, "-c", "2", "-T", "20")


COUNT = "SELECT count(*) FROM orders;"
SLOW = "INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)"
PIPELINE = "\\startpipeline\nINSERT INTO orders (what) VALUES ('never');\nSELECT pg_sleep(9);\n\\endpipeline\n"

if __name__ == "__main__":
    os.chdir(Path("/"))
    run(
        before={
            "connect": who, "copy": copy_both_ways, "meta": gexec_and_describe, "cancel": cancelled,
            **{
                f"pgbench_{mode}": lambda mode=mode: pgbench(COUNT, "-M", mode, "-c", "2", "-t", "20")
                for mode in ("simple", "extended", "prepared")
            },
        },
        expiring={
            "idle": lambda begun: open_session(begun, ""),
            "in_transaction": lambda begun: open_session(begun, "BEGIN; INSERT INTO orders (what) VALUES ('never');"),
            "listening": lambda begun: open_session(begun, "LISTEN news;"),
            "in_copy": long_copy,
            "in_long_query": lambda begun: running(begun, "-c", SLOW),
            "pgbench": lambda begun: benching(begun, "SELECT pg_sleep(0.01);", "prepared"),
            "pipelined": lambda begun: benching(begun, PIPELINE, "extended"),
        },
        denied=who,
    )  # fmt: skip
