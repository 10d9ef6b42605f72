"""`watchkey serve`: the service in the foreground, as a process manager or a container wants it."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

import click
import msgspec

from watchkey import wiring
from watchkey.entrypoints.cli.output import Globals, examples, pass_globals, printable
from watchkey.entrypoints.http.event_log import install
from watchkey.entrypoints.http.exchange import Route
from watchkey.entrypoints.http.fleets import Fleets
from watchkey.entrypoints.http.fleets import routes as fleet_routes
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.running import Beside, run
from watchkey.entrypoints.http.running import serve as serve_http
from watchkey.entrypoints.http.server import Listener, Tls
from watchkey.model.errors import Malformed, Refused
from watchkey.rules.shared_account import warnings_of
from watchkey.settings import Settings, find, load_settings


@examples(
    ("watchkey serve", "with ./watchkey.yaml, on 127.0.0.1:8181 unless it says otherwise"),
    ("watchkey --config /etc/watchkey/watchkey.yaml serve", "another configuration"),
    ("watchkey serve --port 0", "on a free port, which is printed"),
    ("watchkey serve 2>> watchkey.log", "the events, one JSON object a line, into a file"),
)
@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead of the configured one.")
@pass_globals
def serve(globals_: Globals, *, port: int | None) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C. A policy's changed files are taken over; SIGHUP looks at them at once.

    With a gateway, the first SIGTERM refuses new sessions and lets the present ones end, within `drain_max`; a second
    one ends them at once.

    Progress goes to standard output, events as JSON lines to standard error. Exit code 0 after an orderly end, 2 for a
    configuration that cannot be served, 3 when something it needs is not to be had (the port, the audit log).
    """
    settings = load_settings(find(globals_.config))
    listener, limits = listener_of(settings, port), limits_of(settings)
    try:
        listener.refuse_unsafe()
    except Refused as error:
        raise click.UsageError(str(error)) from None
    install(sys.stderr)
    run(_serve(settings, listener, limits))


async def _serve(settings: Settings, listener: Listener, limits: Limits) -> None:
    try:
        service = wiring.build(settings)
    except Malformed as error:
        raise click.UsageError(str(error)) from None
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload_policies)
    more: list[Route] = []
    fleets = None
    if settings.fleets:
        parts = service.fleets
        fleets = Fleets(publishers=parts.publishers, statuses=parts.statuses, decisions=parts.decisions)
        more += fleet_routes(fleets, limits)
    if not settings.gateways:
        await serve_http(service, service, listener, limits, _say, Beside(routes=more, fleets=fleets))
        return
    # the gateway's module takes a while to load, and most services have none
    from watchkey.entrypoints.http.sessions import routes  # noqa: PLC0415 -- same
    from watchkey.entrypoints.pg_gateway.config import sections  # noqa: PLC0415 -- same
    from watchkey.entrypoints.pg_gateway.running import Gateways  # noqa: PLC0415 -- same

    try:
        gateways = Gateways(service, sections(settings), wiring.build_targets(settings, service.clock))
    except Refused as error:
        raise click.UsageError(str(error)) from None

    @contextlib.asynccontextmanager
    async def both() -> AsyncIterator[None]:
        async with service, gateways:
            for risk in warnings_of({name: resource.target for name, resource in settings.resources.items()}):
                _say(f"risk: {risk}")
            for address in gateways.addresses:
                _say(f"gateway on {address}")
            yield

    beside = Beside(routes=[*more, *routes(gateways, limits)], drain=gateways.drain, fleets=fleets)
    await serve_http(service, both(), listener, limits, _say, beside)


def listener_of(settings: Settings, port: int | None) -> Listener:
    """The configured listener; a port of the command line stands instead of port and socket file."""
    http = settings.http
    tls = None
    if http.certificate is not None and http.key is not None:
        client_ca = None if http.client_ca is None else str(http.client_ca)
        tls = Tls(certificate=str(http.certificate), key=str(http.key), client_ca=client_ca)
    listener = Listener(
        host=http.section.host,
        port=http.section.port,
        unix_socket=None if http.unix_socket is None else str(http.unix_socket),
        tls=tls,
        insecure=http.section.insecure,
    )
    return listener if port is None else msgspec.structs.replace(listener, port=port, unix_socket=None)


def limits_of(settings: Settings) -> Limits:
    """The configured limits. Raises `ConfigError`."""
    return Limits() if settings.http.limits is None else settings.convert(settings.http.limits, Limits)


def _say(line: str) -> None:
    # Names of sources and texts of providers come from outside.
    click.echo(printable(line))
    sys.stdout.flush()
