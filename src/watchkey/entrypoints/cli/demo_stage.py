"""The stage of `watchkey demo`: a simulated PagerDuty, a throwaway PostgreSQL, the real service, and who asks it."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey.entrypoints.cli.output import bad, good
from watchkey.entrypoints.pg_gateway.demo import GATEWAY, TARGET, prepare
from watchkey.http_client import HttpClient
from watchkey.model.errors import PortError
from watchkey.model.secret import Secret
from watchkey.simulator import READ_TOKEN, Layer, LayeredSchedule, Rule, Simulator, World, in_thread
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer
from watchkey.wiring import SystemClock, create_audit_key, make_caller_token

HANDOFF_AFTER: Final = timedelta(seconds=14)
"""From the start of the demo to the handoff of the orders rota; the service needs about four of them to start."""
SECOND_HANDOFF_AFTER: Final = timedelta(seconds=36)
"""To the handoff of the checkout rota, which happens while PagerDuty is down."""
THIRD_HANDOFF_AFTER: Final = timedelta(seconds=49)
"""To the handoff of the ledger rota, whose database has a session open."""
STALE_AFTER: Final = 4
"""Seconds after which a roster is stale in the demo; ten minutes by default."""
MANAGER_VARIABLE: Final = "WATCHKEY_DEMO_MANAGER"

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
  ledger-db:
    kind: postgres
    opened_by: [{{source: pagerduty, service: SVLEDGER}}]
    privileges: [read, write]
{target}links:
{links}
callers:
  demo: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}
sync: {{poll: 1s}}
storage: {{checkpoint_interval: 1s}}
listen: {{http: {{port: {port}}}, gateways: {gateways}}}
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
    postgres: PostgresServer | None
    """None where no PostgreSQL can be had; the gateway's scene is then left out, with a line."""
    gateway_port: int

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


# --- setting it -----------------------------------------------------------------------------------------------------


def fill_account(world: World, began_at: datetime) -> None:
    """Six people, an orders rota with two levels, a checkout rota and a ledger rota; all hand over during the demo."""
    for name in PEOPLE:
        world.add_user(f"P{name.upper()}", name.capitalize(), f"{name}@example.com")
    hour = timedelta(hours=8)
    world.add_schedule(_rota("SPRIMARY", "Orders primary", ["PALICE", "PBOB"], began_at + HANDOFF_AFTER - hour, hour))
    world.add_schedule(_rota("SSECOND", "Orders secondary", ["PCAROL"], began_at - hour, hour))
    checkout = began_at + SECOND_HANDOFF_AFTER - hour
    world.add_schedule(_rota("SCHECKOUT", "Checkout primary", ["PERIN", "PFRANK"], checkout, hour))
    ledger = began_at + THIRD_HANDOFF_AFTER - hour
    world.add_schedule(_rota("SLEDGER", "Ledger primary", ["PALICE", "PBOB"], ledger, hour))
    world.add_policy("EORDERS", "Orders", [Rule(schedules=["SPRIMARY"]), Rule(schedules=["SSECOND"])])
    world.add_service("SVORDERS", "Orders", "EORDERS")
    world.add_policy("ECHECKOUT", "Checkout", [Rule(schedules=["SCHECKOUT"])])
    world.add_service("SVCHECKOUT", "Checkout", "ECHECKOUT")
    world.add_policy("ELEDGER", "Ledger", [Rule(schedules=["SLEDGER"])])
    world.add_service("SVLEDGER", "Ledger", "ELEDGER")


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
    with contextlib.ExitStack() as stack:
        postgres = await asyncio.to_thread(_postgres, stack)
        do = stack.enter_context(in_thread(simulator))
        began_at = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 -- an edge
        do(lambda: fill_account(simulator.world, began_at))
        token, token_hash = make_caller_token()
        port, gateway_port = _free_port(), _free_port()
        configuration = _configure(folder, simulator.base_url, port, token_hash, postgres, gateway_port)
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
                postgres=postgres,
                gateway_port=gateway_port,
            )
            try:
                await _ready(stage)
                (folder / "auditor").mkdir()
                shutil.copy(folder / "watchkey.db.vkey", folder / "auditor" / "log.vkey")
                yield stage
            finally:
                await client.close()


def _postgres(stack: contextlib.ExitStack) -> PostgresServer | None:
    """A PostgreSQL for the demo: an installed one, or the one in the wheel; None when neither is to be had."""
    try:
        server = stack.enter_context(PostgresServer())
    except NoPostgres:
        return None
    prepare(server)
    return server


def _configure(
    folder: Path, pagerduty: str, port: int, token_hash: str, postgres: PostgresServer | None, gateway_port: int
) -> Path:
    _write_secret(folder / "pagerduty.token", READ_TOKEN)
    webhook_key, _ = make_caller_token()  # as random as a webhook's secret
    _write_secret(folder / "webhook.key", webhook_key.reveal())
    create_audit_key(folder / "audit.key", "watchkey.example/demo")
    links = "\n".join(f"  {name}: {{pagerduty: P{name.upper()}}}" for name in PEOPLE)
    path = folder / "watchkey.yaml"
    target = "" if postgres is None else TARGET.format(port=postgres.port)
    gateways = "[]" if postgres is None else GATEWAY.format(port=gateway_port, resource="ledger-db")
    path.write_text(
        CONFIGURATION.format(
            pagerduty=pagerduty,
            port=port,
            token_hash=token_hash,
            links=links,
            stale=STALE_AFTER,
            target=target,
            gateways=gateways,
        )
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
        process = subprocess.Popen(  # noqa: S603 -- our own program
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {MANAGER_VARIABLE: "demo"}
        )
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
