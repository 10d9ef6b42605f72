"""`watchkey residue`: the accounts of leases as the databases show them, and what they left behind; changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from watchkey.entrypoints.cli.output import EXIT_DENY, Globals, emit, examples, json_option, pass_globals, table
from watchkey.entrypoints.cli.reap import targets_of
from watchkey.model.lease import Holding, Residue
from watchkey.ports import Target


@examples(
    ("watchkey residue", "every target of ./watchkey.yaml"),
    ("PGPASSWORD=… watchkey residue --database postgresql://watchkey_manager@db/orders", "one, without configuration"),
)
@click.command()
@click.option(
    "--database", metavar="URL", help="Only this database; the management account's password from PGPASSWORD."
)
@json_option
@pass_globals
@click.pass_context
def residue(ctx: click.Context, globals_: Globals, database: str | None, *, as_json: bool) -> None:
    """List the accounts of leases and what belongs to them.

    Exit code 0 when nothing of an ended lease is left, 1 when there is something a person should look at, 2 misuse,
    3 when a database did not answer.
    """
    found = asyncio.run(_look(targets_of(globals_, database)))
    emit([_json(holding, items) for holding, items in found], as_json=as_json, text=lambda: _words(found))
    if any(items and not holding.can_log_in for holding, items in found):
        ctx.exit(EXIT_DENY)


async def _look(targets: Sequence[Target]) -> list[tuple[Holding, tuple[Residue, ...]]]:
    try:
        return [
            (holding, await target.residue(holding.lease)) for target in targets for holding in await target.observe()
        ]
    finally:
        for target in targets:
            await target.close()


def _json(holding: Holding, items: Sequence[Residue]) -> dict[str, Any]:
    return {**asdict(holding), "residue": [asdict(item) for item in items]}


def _words(found: Sequence[tuple[Holding, Sequence[Residue]]]) -> str:
    rows: list[tuple[str, ...]] = []
    for holding, items in found:
        state = "alive" if holding.can_log_in else "closed"
        until = f"{holding.ends_at:%Y-%m-%d %H:%M:%S}"
        rows += [(holding.account, state, until, item.kind, f"{item.database}: {item.name}") for item in items] or [
            (holding.account, state, until, "", "")
        ]
    return table(("ACCOUNT", "STATE", "UNTIL (UTC)", "KIND", "WHAT"), rows, empty="no account of a lease is there")
