"""`watchkey demo`: a simulated PagerDuty, the real service on real sockets, and people who ask while the pager moves.

Each scene says what it expects and stops with exit code 1 when something else happens, so the demo is a test as well.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey.entrypoints.cli.output import EXIT_DENY, bad, examples, faint, good
from watchkey.http_client import HttpClient
from watchkey.model.errors import PortError
from watchkey.model.secret import Secret
from watchkey.simulator import READ_TOKEN, Layer, LayeredSchedule, Policy, Rule, Simulator, World, in_thread
from watchkey.wiring import SystemClock, create_audit_key, make_caller_token

HANDOFF_AFTER: Final = timedelta(seconds=12)
"""From the start of the demo to the handoff of the orders rota; the service needs about two of them to start."""
SECOND_HANDOFF_AFTER: Final = timedelta(seconds=36)
"""To the handoff of the checkout rota, which happens while PagerDuty is down."""
STALE_AFTER: Final = 4
"""Seconds after which a roster is stale in the demo; ten minutes by default."""

CONFIGURATION: Final = """\
sources:
  pagerduty:
    kind: pagerduty
    base_url: {pagerduty}
    token: {{file: pagerduty.token}}
    webhook_keys: [{{file: webhook.key}}]
    audit: true
resources:
  orders-db:
    kind: postgres
    opened_by: [{{source: pagerduty, service: SVORDERS}}]
    needs: either
    privileges: [read, write]
    unvetted: [read]
    age_max: {stale}s
  checkout-db:
    kind: postgres
    opened_by: [{{source: pagerduty, service: SVCHECKOUT}}]
    privileges: [read, write]
    age_max: {stale}s
links:
{links}
callers:
  demo: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}
sync: {{poll: 1s}}
storage: {{checkpoint_interval: 1s}}
listen: {{http: {{port: {port}}}}}
"""

PEOPLE: Final = ("alice", "bob", "carol", "dave", "erin", "frank")


class Surprise(Exception):
    """Something happened that the scene did not expect."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the scenes play on."""

    simulator: Simulator
    do: Callable[[Callable[[], object]], object]
    """Runs a verb in the simulator's thread."""
    client: HttpClient
    service: "subprocess.Popen[bytes]"
    folder: Path
    url: str
    token: Secret
    began_at: datetime

    async def ask(self, subject: str, privilege: str = "write", resource: str = "orders-db") -> dict[str, Any]:
        """`POST /v1/decide`, as any gateway or proxy would."""
        body = msgspec.json.encode({"subject": {"id": subject}, "privilege": privilege, "resource": resource})
        answer = await self.client.operation().send("POST", "/v1/decide", body=body, may_retry=True)
        decided: dict[str, Any] = answer.json()
        return decided

    async def expect(self, subject: str, *, allow: bool, reason: str, privilege: str = "write", **where: str) -> None:
        """Ask, show the answer, and stop the demo when it is another one."""
        answer = await self.ask(subject, privilege, **where)
        show(subject, privilege, answer)
        if answer["allow"] is not allow or answer["reason"] != reason:
            raise Surprise(f"expected {'allow' if allow else 'deny'} ({reason}) for {subject}")

    async def until(
        self, subject: str, *, allow: bool, privilege: str = "write", seconds: float = 10, **where: str
    ) -> datetime:
        """Ask every 10 ms until the answer is this; when it was first seen."""
        for _ in range(int(seconds * 100)):
            if (await self.ask(subject, privilege, **where))["allow"] is allow:
                return datetime.now(UTC)  # noqa: TID251 -- an edge, and a moment to show
            await asyncio.sleep(0.01)
        raise Surprise(f"{subject} was not {'let in' if allow else 'turned away'} within {seconds:g} s")


def say(text: str = "") -> None:
    """One line, at once."""
    click.echo(text)


def scene(title: str) -> None:
    """A heading."""
    say(f"\n{click.style(title, bold=True)}")


def show(subject: str, privilege: str, answer: Mapping[str, Any]) -> None:
    """One question and its answer."""
    word = good("allow") if answer["allow"] else bad("deny ")
    say(f"  {subject:<6} {privilege:<6} {word}  {answer.get('sentence', '')}")


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
    scene("6. The proof. The service stops; somebody makes carol's denial an allow in the audit log.")
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


SCENES: Final[tuple[Callable[[Stage], Awaitable[None]], ...]] = (
    who_is_let_in,
    handoff,
    incident,
    self_made_override,
    outage,
)


# --- the stage -----------------------------------------------------------------------------------------------------


def fill_account(world: World, began_at: datetime) -> None:
    """Six people, an orders rota with two levels, and a checkout rota; both hand over during the demo."""
    for name in PEOPLE:
        world.add_user(f"P{name.upper()}", name.capitalize(), f"{name}@example.com")
    hour = timedelta(hours=8)
    world.add_schedule(_rota("SPRIMARY", "Orders primary", ["PALICE", "PBOB"], began_at + HANDOFF_AFTER - hour, hour))
    world.add_schedule(_rota("SSECOND", "Orders secondary", ["PCAROL"], began_at - hour, hour))
    checkout = began_at + SECOND_HANDOFF_AFTER - hour
    world.add_schedule(_rota("SCHECKOUT", "Checkout primary", ["PERIN", "PFRANK"], checkout, hour))
    orders: Policy = world.add_policy("EORDERS", "Orders", [Rule(schedules=["SPRIMARY"]), Rule(schedules=["SSECOND"])])
    world.add_service("SVORDERS", "Orders", orders.id)
    world.add_policy("ECHECKOUT", "Checkout", [Rule(schedules=["SCHECKOUT"])])
    world.add_service("SVCHECKOUT", "Checkout", "ECHECKOUT")


def _rota(id_: str, name: str, users: list[str], start: datetime, turn: timedelta) -> LayeredSchedule:
    return LayeredSchedule(id=id_, name=name, layers=[Layer(id=f"{id_}L", users=users, start=start, turn=turn)])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Simulator and service, up and read once; everything that was started is ended with the block."""
    simulator = Simulator(control=True)
    with in_thread(simulator) as do:
        began_at = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 -- an edge
        do(lambda: fill_account(simulator.world, began_at))
        token, token_hash = make_caller_token()
        port = _free_port()
        configuration = _configure(folder, simulator.base_url, port, token_hash)
        webhook_key = (folder / "webhook.key").read_text()
        do(lambda: simulator.world.subscribe(f"http://127.0.0.1:{port}/v1/webhooks/pagerduty/pagerduty", webhook_key))
        with _service(configuration, folder) as service:
            url = f"http://127.0.0.1:{port}"
            client = HttpClient(url, clock=SystemClock(), headers={"authorization": Secret(f"Bearer {token.reveal()}")})
            stage = Stage(
                simulator=simulator,
                do=do,
                client=client,
                service=service,
                folder=folder,
                url=url,
                token=token,
                began_at=began_at,
            )
            try:
                await _ready(stage)
                (folder / "auditor").mkdir()
                shutil.copy(folder / "watchkey.db.vkey", folder / "auditor" / "log.vkey")
                yield stage
            finally:
                await client.close()


def _configure(folder: Path, pagerduty: str, port: int, token_hash: str) -> Path:
    _write_secret(folder / "pagerduty.token", READ_TOKEN)
    webhook_key, _ = make_caller_token()  # as random as a webhook's secret
    _write_secret(folder / "webhook.key", webhook_key.reveal())
    create_audit_key(folder / "audit.key", "watchkey.example/demo")
    links = "\n".join(f"  {name}: {{pagerduty: P{name.upper()}}}" for name in PEOPLE)
    path = folder / "watchkey.yaml"
    path.write_text(
        CONFIGURATION.format(pagerduty=pagerduty, port=port, token_hash=token_hash, links=links, stale=STALE_AFTER)
    )
    return path


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


@contextlib.contextmanager
def _service(configuration: Path, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """`watchkey serve` as its own process; ended in order, and by force only if it does not listen."""
    command = [sys.executable, "-m", "watchkey", "--config", str(configuration), "serve"]
    with (folder / "serve.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 -- our own program
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _ready(stage: Stage) -> None:
    for _ in range(200):
        if stage.service.poll() is not None:
            raise Surprise(f"the service did not start:\n{(stage.folder / 'serve.log').read_text()}")
        with contextlib.suppress(PortError):
            await stage.client.operation().get("/ready")
            return
        await asyncio.sleep(0.05)
    raise Surprise(f"the service did not become ready:\n{(stage.folder / 'serve.log').read_text()}")


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
