"""`watchkey reap`: close every account whose lease is over, with the database alone: no service, store or provider.

For cron or a systemd timer beside the database: what makes *dead is closed* true when everything else is dead.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict

import click

from watchkey.entrypoints.cli.output import EXIT_DENY, Globals, emit, examples, json_option, pass_globals, table
from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.model.lease import Ending
from watchkey.model.secret import Secret
from watchkey.ports import Target
from watchkey.settings import find, load_settings
from watchkey.wiring import SystemClock, bare_postgres_target, build_targets


@examples(
    ("watchkey reap", "every target of ./watchkey.yaml"),
    ("PGPASSWORD=… watchkey reap --database postgresql://watchkey_manager@db/orders", "one, without configuration"),
)
@click.command()
@click.option(
    "--database", metavar="URL", help="Only this database; the management account's password from PGPASSWORD."
)
@json_option
@pass_globals
@click.pass_context
def reap(ctx: click.Context, globals_: Globals, database: str | None, *, as_json: bool) -> None:
    """End what outlived its lease, by the database's own clock and the marks on the roles.

    Exit code 0 when nothing is left over, 1 when an account could not be taken away, 2 misuse, 3 when a database
    did not answer.
    """
    endings, silent = asyncio.run(_reap(targets_of(globals_, database)))
    rows = [asdict(ending) for ending in endings]
    emit(rows, as_json=as_json, text=lambda: _words(endings))
    if silent:
        raise Unavailable("; ".join(map(str, silent)))
    if any(not ending.is_gone for ending in endings):
        ctx.exit(EXIT_DENY)


def targets_of(globals_: Globals, database: str | None) -> Sequence[Target]:
    """The one that is named by its URL, or all that are configured."""
    clock = SystemClock()
    if database is not None:
        try:
            return [bare_postgres_target(database, Secret(os.environ.get("PGPASSWORD", "")), clock)]
        except Refused as error:
            raise click.UsageError(str(error)) from None
    return list(build_targets(load_settings(find(globals_.config)), clock).values())


async def _reap(targets: Sequence[Target]) -> tuple[list[Ending], list[PortError]]:
    """Reap all of them; one that does not answer keeps nothing alive on the others."""
    endings: list[Ending] = []
    silent: list[PortError] = []
    try:
        for target in targets:
            try:
                endings += await target.reap()
            except PortError as error:
                silent.append(error)
    finally:
        for target in targets:
            await target.close()
    return endings, silent


def _words(endings: Sequence[Ending]) -> str:
    rows = [(one.account, "gone" if one.is_gone else "left", one.blocked_by) for one in endings]
    return table(("ACCOUNT", "NOW", "BLOCKED BY"), rows, empty="nothing outlived its lease")
