"""`watchkey connect`: a token and psql in one step, or the connection string for another client."""

import os
import shutil
from pathlib import Path
from urllib.parse import quote

import click

from watchkey.entrypoints.cli.login import GATEWAY, SERVER, fetch_token, host_and_port
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
@GATEWAY
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="WATCHKEY_GATEWAY_CA",
    show_envvar=True, help="PEM of who vouches for the gateway: its name is then verified before the token is sent.",
)  # fmt: skip
@click.option(
    "--sslmode", help="As libpq has it: `verify-full` with --ca, `require` without; `disable` on loopback only."
)
@click.option("--privileges", metavar="LIST", help="Take only these, comma separated, although more would be allowed.")
@click.option("--print", "is_printed", is_flag=True, help="Print the connection string, token included, and end.")
def connect(  # noqa: PLR0913 -- one argument an option
    resource: str,
    psql_arguments: tuple[str, ...],
    server: str,
    subject: str,
    gateway: str,
    *,
    ca: Path | None,
    sslmode: str | None,
    privileges: str | None,
    is_printed: bool,
) -> None:
    """Open RESOURCE through the gateway with psql.

    Exit code that of psql; 2 misuse, 3 when the service did not answer.
    """
    host, port = host_and_port(gateway)
    token = str(fetch_token(server, subject, 600)["token"])
    wish = {
        "sslmode": sslmode or ("verify-full" if ca else "require"),
        **({"sslrootcert": str(ca.resolve())} if ca else {}),
        **({"options": f"-c watchkey.privileges={privileges}"} if privileges else {}),
    }
    if is_printed:
        query = "&".join(f"{name}={quote(value)}" for name, value in wish.items())
        place = f"[{host}]" if ":" in host else host
        click.echo(f"postgresql://{quote(subject, safe='')}:{token}@{place}:{port}/{quote(resource, safe='')}?{query}")
        return
    psql = shutil.which("psql")
    if psql is None:
        raise click.UsageError("psql is not installed; --print gives a connection string for another client")
    # in the environment, not among the arguments: those can be read by everybody on the machine
    environment = {
        **os.environ, "PGHOST": host, "PGPORT": port, "PGDATABASE": resource, "PGUSER": subject, "PGPASSWORD": token,
        "PGGSSENCMODE": "disable", **{f"PG{name.upper()}": value for name, value in wish.items()},
    }  # fmt: skip
    os.execve(psql, [psql, *psql_arguments], environment)  # noqa: S606 -- psql takes our place; there is no shell
