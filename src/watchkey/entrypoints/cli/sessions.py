"""`watchkey sessions`: who is in through the gateway, through which fact, until when; and ending a session."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from watchkey.entrypoints.cli.login import SERVER, ask
from watchkey.entrypoints.cli.output import emit, examples, json_option, table
from watchkey.rules.shared_account import warnings_of


@examples(
    ("watchkey sessions --server https://watchkey:8181", "who is in"),
    ("watchkey sessions end 1f2e3d4c5b6a7988 --reason 'looks odd' --server …", "end one"),
)
@click.group(invoke_without_command=True)
@SERVER
@json_option
@click.pass_context
def sessions(ctx: click.Context, server: str, *, as_json: bool) -> None:
    """List who is in, through which fact, until when, and what runs. Exit code 0, 2 misuse, 3 no answer."""
    ctx.obj = server
    if ctx.invoked_subcommand is None:
        answer = asyncio.run(ask(server, "GET", "/v1/sessions"))
        emit(answer, as_json=as_json, text=lambda: _words(answer))


@examples(("watchkey sessions --server … end 1f2e3d4c5b6a7988 --reason 'looks odd'", "the person is told the reason"))
@sessions.command()
@click.argument("session")
@click.option("--reason", required=True, help="Told to the person, and recorded.")
@click.pass_obj
def end(server: str, session: str, reason: str) -> None:
    """End SESSION. The person may connect again if the facts still say so."""
    asyncio.run(ask(server, "POST", "/v1/sessions/end", {"session": session, "reason": reason}))
    click.echo(f"session {session} was ended")


def _words(answer: Mapping[str, Any]) -> str:
    rows = [
        (
            one["id"], one["subject"], one["resource"], str(one["ends_at"])[:19].replace("T", " "), one["client"],
            one["application"], one["transaction"], " ".join(str(one["running"]).split())[:40], one["fact"],
        )
        for one in answer.get("sessions", [])
    ]  # fmt: skip
    headers = ("SESSION", "SUBJECT", "RESOURCE", "UNTIL (UTC)", "CLIENT", "PROGRAM", "TX", "RUNNING", "FACT")
    text = table(headers, rows, empty="nobody is in")
    if any(one.get("is_shared") for one in answer.get("sessions", [])):
        shared = sorted({one["resource"] for one in answer["sessions"] if one.get("is_shared")})
        text += "\n\n" + "\n".join(warnings_of({name: {"mode": "shared_account"} for name in shared}))
    endings = [
        (one["lease"], one["subject"], one["resource"], one["state"], one["blocked_by"])
        for one in answer.get("endings", [])
    ]
    if endings:
        text += "\n\nbeing taken back:\n" + table(("LEASE", "SUBJECT", "RESOURCE", "STATE", "BLOCKED BY"), endings)
    return text
