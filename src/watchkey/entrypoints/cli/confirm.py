"""`watchkey confirm`: a second person looks at the shifts that need a word, vouches for one, or takes a word back."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import click

from watchkey.entrypoints.cli.login import ask
from watchkey.entrypoints.cli.output import EXIT_DENY, emit, examples, json_option, table
from watchkey.flows.login_tokens import PREFIX
from watchkey.model.errors import Refused

_PATH: Final = "/v1/confirmations"
_SERVER: Final = click.option(
    "--server", metavar="URL", envvar="WATCHKEY_SERVER", required=True, show_envvar=True,
    help="The running service; your own token comes from WATCHKEY_LOGIN.",
)  # fmt: skip


@examples(
    ("watchkey confirm --server https://watchkey:8181", "which shifts need a word, and whether you may give it"),
    ("watchkey confirm --server … shift 1f2e3d4c5b6a7988", "vouch for one, exactly as it stands"),
    ("WATCHKEY_LOGIN=$(watchkey login you@example.com) watchkey confirm", "with a token of your own"),
)
@click.group(invoke_without_command=True)
@_SERVER
@json_option
@click.pass_context
def confirm(ctx: click.Context, server: str, *, as_json: bool) -> None:
    """List the shifts that open less than their holders may need, until a second person vouches for them.

    WATCHKEY_LOGIN has a token of yourself, as `watchkey login` gives it: a program is no second person. Exit code 0, 1
    refused, 2 misuse, 3 no answer.
    """
    ctx.obj = server
    if ctx.invoked_subcommand is None:
        answer = _asked(ctx, "GET", _PATH)
        emit(answer, as_json=as_json, text=lambda: _words(answer))


@examples(("watchkey confirm --server … shift 1f2e3d4c5b6a7988", "its id is in the list and changes with the shift"))
@confirm.command()
@click.argument("shift_id", metavar="SHIFT")
@json_option
@click.pass_context
def shift(ctx: click.Context, shift_id: str, *, as_json: bool) -> None:
    """Vouch for SHIFT as it stands. It lapses when the shift changes, and ends by itself."""
    answer = _asked(ctx, "POST", _PATH, {"shift": shift_id})
    until = str(answer.get("until"))[:19].replace("T", " ")
    emit(answer, as_json=as_json, text=f"vouched for by {answer.get('by')}, until {until} UTC")


@examples(("watchkey confirm --server … withdraw 1f2e3d4c5b6a7988", "it counts no more from now on"))
@confirm.command()
@click.argument("shift_id", metavar="SHIFT")
@click.pass_context
def withdraw(ctx: click.Context, shift_id: str) -> None:
    """Take back the word for SHIFT, your own or another's."""
    _asked(ctx, "POST", f"{_PATH}/withdraw", {"shift": shift_id})
    click.echo("the word was taken back")


def _asked(ctx: click.Context, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    token = os.environ.get("WATCHKEY_LOGIN", "").strip()
    if not token.startswith(PREFIX):
        raise click.UsageError(
            f"WATCHKEY_LOGIN must hold your own token ({PREFIX}…), as `watchkey login YOU` prints it; "
            "a caller's token proves no person"
        )
    try:
        return asyncio.run(ask(ctx.obj, method, path, body, token=token))
    except Refused as error:
        click.echo(f"watchkey: {error}", err=True)
        ctx.exit(EXIT_DENY)


def _words(answer: Mapping[str, Any]) -> str:
    rows = [
        (
            one["id"],
            one["name"],
            one["policy"] or one["schedule"] or "-",
            "?" if one["level"] is None else one["level"],
            _time(one["starts_at"]),
            _time(one["ends_at"]),
            one["grade"],
            ", ".join(one["resources"]),
            _state(one),
        )
        for one in answer.get("shifts", [])
    ]
    headers = ("SHIFT", "WHO", "PAGER", "LEVEL", "FROM (UTC)", "UNTIL", "GRADE", "OPENS", "WORD")
    return table(headers, rows, empty="no shift needs a word, as far as you can see")


def _time(instant: str | None) -> str:
    return "-" if instant is None else instant[:16].replace("T", " ")


def _state(one: Mapping[str, Any]) -> str:
    if one["confirmed_by"] is not None:
        return f"{one['confirmed_by']}, until {_time(one['confirmed_until'])}"
    return str(one["why_not"]) or "needed; you may give it"
