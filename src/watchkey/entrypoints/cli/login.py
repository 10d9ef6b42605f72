"""`watchkey login`: a short-lived token for a person, from the running service, to use as a database password."""

import asyncio
import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey.entrypoints.cli.output import emit, examples, json_option, printable
from watchkey.http_client import HttpClient
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.secret import Secret
from watchkey.wiring import SystemClock

SERVER: Final = click.option(
    "--server", metavar="URL", envvar="WATCHKEY_SERVER", required=True, show_envvar=True,
    help="The running service; the caller's token comes from WATCHKEY_TOKEN.",
)  # fmt: skip

GATEWAY: Final = click.option(
    "--gateway", metavar="HOST:PORT", envvar="WATCHKEY_GATEWAY", default="127.0.0.1:6432", show_default=True,
    help="Where the gateway listens.",
)  # fmt: skip


@examples(
    ("watchkey login alice@example.com --server https://watchkey:8181", "print a token that is good for ten minutes"),
    ("watchkey login alice@example.com --ttl 3600 --pgpass ~/.pgpass --gateway gw:6432", "for a GUI client"),
)
@click.command()
@click.argument("subject")
@SERVER
@click.option("--ttl", type=click.IntRange(1, 43200), default=600, show_default=True, help="Seconds.")
@click.option("--pgpass", type=click.Path(path_type=Path), help="Write it into this password file too, mode 0600.")
@GATEWAY
@json_option
def login(subject: str, server: str, ttl: int, pgpass: Path | None, gateway: str, *, as_json: bool) -> None:
    """Get a short-lived token for SUBJECT.

    The caller whose token is in WATCHKEY_TOKEN must be trusted: it vouches that you are SUBJECT. Exit code 0, 2 misuse,
    3 when the service did not answer.
    """
    place = host_and_port(gateway)
    answer = fetch_token(server, subject, ttl)
    if pgpass is not None:
        keep_in_pgpass(pgpass, place, subject, str(answer["token"]))
    emit(answer, as_json=as_json, text=str(answer["token"]))
    if not as_json:
        click.echo(f"for {printable(str(answer['subject']))}, until {answer['expires_at']}", err=True)


def fetch_token(server: str, subject: str, ttl: int) -> Mapping[str, Any]:
    """Ask the service for a token. Raises port errors."""
    answer = asyncio.run(ask(server, "POST", "/v1/tokens", {"subject": subject, "ttl_s": ttl}))
    if not isinstance(answer.get("token"), str):
        raise Malformed(f"POST {server}/v1/tokens did not answer a token; has that service a gateway?")
    return answer


async def ask(
    server: str, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = ""
) -> Mapping[str, Any]:
    """One request in the name of the caller in WATCHKEY_TOKEN, unless another token is given.

    Raises port errors; what the service refuses has its own words.
    """
    token = token or os.environ.get("WATCHKEY_TOKEN", "")
    if not token:
        raise click.UsageError("WATCHKEY_TOKEN is empty: put the caller's token (wk_…) there")
    client = HttpClient(server, clock=SystemClock(), headers={"authorization": Secret(f"Bearer {token}")})
    try:
        content = b"" if body is None else msgspec.json.encode(body)
        sent = await client.operation().exchange(method, path, body=content)
        answer = sent.json()
    finally:
        await client.close()
    if sent.status != HTTPStatus.OK:
        kind = Unavailable if sent.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused
        raise kind(_refusal(answer, f"{sent.what} answered {sent.status}"))
    if not isinstance(answer, dict):
        raise Malformed(f"{method} {server}{path} did not answer an object; is that a Watchkey service?")
    return answer


def _refusal(answer: Any, otherwise: str) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return printable(message) if isinstance(message, str) else otherwise


def host_and_port(gateway: str) -> tuple[str, str]:
    """`gw:6432` or `[::1]:6432`, apart and without brackets. Raises a usage error for anything else."""
    host, _, port = gateway.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not port.isdigit() or (":" in bare and bare == host):
        raise click.UsageError(f"--gateway is HOST:PORT, not {gateway!r}")
    return bare, port


def keep_in_pgpass(path: Path, place: tuple[str, str], subject: str, token: str) -> None:
    """Put the token in place of the one that stood there for the same gateway and person; other lines stay.

    The person may come in as `alice@example.com` and as `alice`, so there is a line for each.
    """
    users = dict.fromkeys((subject, subject.partition("@")[0] or subject))
    heads = tuple(":".join(_escaped(part) for part in (*place, "*", user)) + ":" for user in users)
    path = path.expanduser()
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if not line.startswith(heads)]
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join([*kept, *(head + _escaped(token) for head in heads)]) + "\n")
    fresh.replace(path)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:") if text != "*" else text
