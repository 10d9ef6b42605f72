"""`watchkey connect`: a token and psql in one step, or the connection string for another client."""

import os
import shutil
from urllib.parse import quote

import click

from watchkey.entrypoints.cli.login import SERVER, fetch_token
from watchkey.entrypoints.cli.output import examples


@examples(
    ("watchkey connect orders-db --as alice@example.com --gateway gw:6432", "start psql"),
    ("watchkey connect orders-db --as alice@example.com --print", "print a connection string instead"),
    ("watchkey connect orders-db --as alice@example.com -- -c 'SELECT 1'", "what follows is for psql"),
)
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("resource")
@click.argument("psql_arguments", nargs=-1, type=click.UNPROCESSED)
@SERVER
@click.option("--as", "subject", envvar="WATCHKEY_SUBJECT", required=True, show_envvar=True, help="Who you are.")
@click.option(
    "--gateway", metavar="HOST:PORT", envvar="WATCHKEY_GATEWAY", default="127.0.0.1:6432", show_default=True,
    help="Where the gateway listens.",
)  # fmt: skip
@click.option("--sslmode", default="require", show_default=True, help="As libpq has it; `disable` on loopback only.")
@click.option("--privileges", metavar="LIST", help="Take only these, comma separated, although more would be allowed.")
@click.option("--print", "is_printed", is_flag=True, help="Print the connection string, token included, and end.")
def connect(  # noqa: PLR0913 -- one argument an option
    resource: str,
    psql_arguments: tuple[str, ...],
    server: str,
    subject: str,
    gateway: str,
    sslmode: str,
    privileges: str | None,
    *,
    is_printed: bool,
) -> None:
    """Open RESOURCE through the gateway with psql.

    Exit code that of psql; 2 misuse, 3 when the service did not answer.
    """
    host, _, port = gateway.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"--gateway is HOST:PORT, not {gateway!r}")
    token = str(fetch_token(server, subject, 600)["token"])
    options = f"-c watchkey.privileges={privileges}" if privileges else ""
    if is_printed:
        query = f"sslmode={sslmode}" + (f"&options={quote(options)}" if options else "")
        click.echo(f"postgresql://{quote(subject, safe='')}:{token}@{host}:{port}/{quote(resource, safe='')}?{query}")
        return
    psql = shutil.which("psql")
    if psql is None:
        raise click.UsageError("psql is not installed; --print gives a connection string for another client")
    # in the environment, not among the arguments: those can be read by everybody on the machine
    environment = {
        **os.environ, "PGHOST": host, "PGPORT": port, "PGDATABASE": resource, "PGUSER": subject, "PGPASSWORD": token,
        "PGSSLMODE": sslmode, "PGGSSENCMODE": "disable", **({"PGOPTIONS": options} if options else {}),
    }  # fmt: skip
    os.execve(psql, [psql, *psql_arguments], environment)  # noqa: S606 -- psql takes our place; there is no shell
