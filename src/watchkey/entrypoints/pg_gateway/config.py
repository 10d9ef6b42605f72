"""One entry of `listen.gateways` in the configuration."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from watchkey.entrypoints.pg_gateway.gateway import (
    Database,
    GatewayRules,
    Network,
    StatementPolicy,
    Trace,
    refuse_in_clear,
    server_tls,
)
from watchkey.entrypoints.pg_gateway.statement_log import LogRules
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId
from watchkey.rules.bound_values import Parameters
from watchkey.rules.located import ConfigError, Located


class Converted(Protocol):
    """What is needed of the settings."""

    @property
    def directory(self) -> Path:
        """The folder of the configuration file."""
        ...

    @property
    def gateways(self) -> Sequence[Located]:
        """The entries of `listen.gateways`."""
        ...

    def convert(self, section: Located, wanted: "type[GatewaySection]") -> "GatewaySection":
        """Turn a section into its type. Raises `ConfigError`."""
        ...


class DatabaseSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A database name that clients may ask for."""

    resource: Annotated[str, Meta(description="The resource that it is; it needs a `target` section.")]
    trace: Annotated[
        Trace,
        Meta(
            description="How much is recorded: `off`, `connections`, `statements`, or `full` with bound parameters too."
        ),
    ] = Trace.STATEMENTS
    parameters: Annotated[
        Parameters | None,
        Meta(
            description="What of bound parameters is recorded with the statements: `off`, `hashed` with the key of the "
            "log, or `full`. Left out: `full` where `trace` is, else `off`."
        ),
    ] = None
    statement_policy: Annotated[
        StatementPolicy,
        Meta(
            description="`off`; or each statement is put to the policy as `input.statement`, and one that cannot be "
            "read is refused (`deny_unread`) or let through (`allow_unread`)."
        ),
    ] = StatementPolicy.OFF
    sessions_max: Annotated[int | None, Meta(description="Of this resource; left out: as many as the gateway has.")] = (
        None
    )
    reserve: Annotated[
        int, Meta(ge=0, description="The last so many of them are for people who are in this resource already.")
    ] = 0

    @property
    def recorded_parameters(self) -> Parameters:
        """What `parameters` and `trace` come to."""
        if self.trace not in {Trace.STATEMENTS, Trace.FULL}:
            return Parameters.OFF
        return self.parameters or (Parameters.FULL if self.trace is Trace.FULL else Parameters.OFF)


class GatewaySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listener of the PostgreSQL gateway."""

    databases: Annotated[dict[str, DatabaseSection], Meta(description="By the name that clients ask for.")]
    host: Annotated[str, Meta(description="Without a certificate, loopback only.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 6432
    certificate: Annotated[Path | None, Meta(description="PEM, with the chain; passwords travel inside TLS only.")] = (
        None
    )
    key: Annotated[Path | None, Meta(description="PEM.")] = None
    statements: Annotated[Path, Meta(description="The file of the statement log.")] = Path("statements.jsonl")
    notices: Annotated[tuple[timedelta, ...], Meta(description="How long before a planned end people are told.")] = (
        timedelta(minutes=10),
        timedelta(minutes=2),
    )
    sessions_per_person_max: Annotated[int, Meta(ge=1)] = 20
    sessions_max: Annotated[int, Meta(ge=1)] = 2000
    reserve: Annotated[int, Meta(ge=0, description="The last so many places are for people who are in already.")] = 50
    hosts: Annotated[
        dict[str, str],
        Meta(
            description="By the host name that a client gives in TLS (SNI): one of `databases`. Clients that give "
            "another name, or none, go by the database's name."
        ),
    ] = {}
    proxy_protocol_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks of load balancers. They must send a header of PROXY protocol version 2; "
            "the client's address in it goes to the audit log and to the policy. From others none is taken."
        ),
    ] = ()
    drain_max: Annotated[
        timedelta,
        Meta(
            description="How long sessions may go on after the first SIGTERM; new ones are refused meanwhile. Keep it "
            "15 s below the time after which the process manager kills."
        ),
    ] = timedelta(seconds=20)
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Processes that take the connections, and leave all else to the service. 0: the service itself "
            "takes them.",
        ),
    ] = 0
    deny_hint: Annotated[str, Meta(description="The HINT of a denial: how to ask.")] = (
        "Ask whoever is on call, or have an incident opened and join it."
    )


class Checked(Converted, Protocol):
    """What is needed of the settings to check them."""

    @property
    def resources(self) -> Mapping[ResourceId, Any]:
        """With their `target`, empty for none."""
        ...


def sections(settings: Converted) -> list[GatewaySection]:
    """The configured gateways, with the default file of the statement log in the configuration's folder too.

    Raises `ConfigError`, also for two gateways that would have one place or one file.
    """
    found = [_section(settings, part) for part in settings.gateways]
    for problem in _shared(list(zip(settings.gateways, found, strict=True))):
        raise problem
    return found


def problems_of(settings: Checked, *, are_files_read: bool) -> tuple[ConfigError, ...]:
    """All that would keep the gateways from being served; certificates are looked at when `are_files_read`."""
    problems: list[ConfigError] = []
    found: list[tuple[Located, GatewaySection]] = []
    for part in settings.gateways:
        try:
            found.append((part, _section(settings, part)))
        except ConfigError as error:
            problems += error.all
    for part, section in found:
        for name, database in section.databases.items():
            known = settings.resources.get(ResourceId(database.resource))
            if known is None or not known.target:
                what = f"{database.resource} is not among `resources`, or has no `target`"
                problems.append(part.error(("databases", name, "resource"), what))
        try:
            if are_files_read:
                rules_of(section)
            else:
                _hosts(section)
                _networks(section.proxy_protocol_from)
        except Refused as error:
            problems.append(part.error((), str(error)))
    return (*problems, *_shared(found))


def _section(settings: Converted, part: Located) -> GatewaySection:
    section = settings.convert(part, GatewaySection)
    return msgspec.structs.replace(section, statements=settings.directory / section.statements)


def _shared(found: Sequence[tuple[Located, GatewaySection]]) -> Iterator[ConfigError]:
    """What two gateways must not share: with workers, both would have the port, and each would get some clients."""
    for i, (part, section) in enumerate(found):
        for _, other in found[:i]:
            hosts = {section.host, other.host}
            if section.port and section.port == other.port and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):  # noqa: S104  compared
                yield part.error(("port",), f"another gateway listens on port {section.port} already")
            if section.statements == other.statements:
                what = f"another gateway writes {section.statements.name} already"
                yield part.error(("statements",), what, expected="a file of its own")


def rules_of(section: GatewaySection) -> GatewayRules:
    """What the gateway is told of its section. Raises Refused."""
    if (section.certificate is None) != (section.key is None):
        raise Refused("a gateway needs a certificate and its key, or neither")
    hosts, proxies = _hosts(section), _networks(section.proxy_protocol_from)
    try:
        tls = server_tls(section.certificate, section.key) if section.certificate and section.key else None
    except OSError as error:
        why = error.strerror or error
        raise Refused(f"the certificate {section.certificate} and its key {section.key}: {why}") from error
    rules = GatewayRules(
        host=section.host,
        port=section.port,
        databases={
            name: Database(
                resource=ResourceId(one.resource),
                trace=one.trace,
                parameters=one.recorded_parameters,
                judging=one.statement_policy,
            )
            for name, one in section.databases.items()
        },
        tls=tls,
        statements=LogRules(path=section.statements),
        deny_hint=section.deny_hint,
        drain_max=section.drain_max,
        hosts=hosts,
        proxies=proxies,
    )
    refuse_in_clear(rules)
    return rules


def _hosts(section: GatewaySection) -> Mapping[str, str]:
    if section.hosts and section.certificate is None:
        raise Refused("a gateway goes by host names only with a certificate: they are told in TLS")
    unknown = sorted(set(section.hosts.values()) - section.databases.keys())
    if unknown:
        raise Refused(f"the hosts of a gateway name {', '.join(unknown)}, which is not among its databases")
    return section.hosts


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise Refused(f"proxy_protocol_from: {error}") from error
