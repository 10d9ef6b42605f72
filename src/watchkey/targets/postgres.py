"""PostgreSQL as a target: a login role for each lease, with its privileges as group roles and its end in the catalogue.

The role is the wall. It is never a superuser, nobody knows a password for it, and everything that is needed to end it
stands in the database itself: its name carries the lease, the comment on it carries the end.
"""

import asyncio
import json
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
import msgspec

from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.model.ids import PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import Ending, Holding, Lease, LeaseId, Residue, ResidueKind
from watchkey.model.secret import Secret
from watchkey.ports import Account, Clock, Endpoint, Target
from watchkey.wire.scram import ScramKeys, ScramPassword

_ACCOUNT: Final = re.compile(r"wk_[a-z0-9_]{1,40}_[0-9a-f]{16}")
_LEASE: Final = re.compile(r"[0-9a-f]{16}")
_MARK: Final = "watchkey"
_LOOKS_MAX: Final = 50
"""How often `revoke` looks whether the sessions are gone, 20 ms apart at first, before it says that some are left."""


class Mode(StrEnum):
    """As whom sessions log in."""

    OWN_ROLE = "own_role"
    SHARED_ACCOUNT = "shared_account"
    """An account that is there already, the same for everybody; `rules/shared_account` says what that costs."""


class SharedLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account that is there already."""

    name: str
    password: Secret


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One database that leases open. The management account needs what `docs/how-to/postgres-gateway.md` grants it."""

    host: str
    database: str
    manager: str
    manager_password: Secret
    mode: Mode = Mode.OWN_ROLE
    groups: dict[str, list[str]] = {}
    """Which group roles a privilege means: `{read: [orders_read], write: [orders_read, orders_write]}`."""
    accounts: dict[str, SharedLogin] = {}
    """With `mode: shared_account`, which account a privilege means; a lease gets that of its last privilege."""
    port: int = 5432
    tls: bool = True
    """False only for a Unix socket or loopback."""
    ca_file: str | None = None
    sessions_per_lease_max: int = 20
    idle_in_transaction_max: float = 600
    """Seconds; never more than the lease has left when the session begins."""
    statement_max: float = 86400
    """Seconds; likewise."""
    reassign_to: str | None = None
    """Who gets plain left-overs. None: they are kept, reported, and the dead role stays until a person decides."""
    unsafe_groups: list[str] = []
    """Group roles that are let through although they reach outside the database or make roles."""


def config_of(url: str, password: Secret) -> Config:
    """`postgresql://manager@host:port/database?tls=off&ca_file=PATH` as a Config that can look and reap, not grant.

    Raises Refused for a URL that is not that.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    try:
        port = parts.port or 5432
    except ValueError as error:
        raise Refused(f"the port of the database's URL is no port: {error}") from error
    host, user, database = options.pop("host", parts.hostname or ""), parts.username or "", parts.path.lstrip("/")
    tls, ca_file = options.pop("tls", "on"), options.pop("ca_file", None)
    if (
        parts.scheme not in {"postgresql", "postgres"}
        or not (host and user and database)
        or parts.password
        or tls not in {"on", "off"}
        or options
    ):
        raise Refused(
            "the database is named as postgresql://MANAGER@HOST:PORT/DATABASE, optionally ?tls=off&ca_file=PATH"
        )
    return Config(
        host=host, port=port, database=database, manager=unquote(user), manager_password=password,
        tls=tls == "on", ca_file=ca_file,
    )  # fmt: skip


def build(config: Config, *, name: str, clock: Clock) -> Target:
    """Make the target of this resource; connects when first used. Refused for a section that contradicts itself."""
    if (config.mode is Mode.SHARED_ACCOUNT) != bool(config.accounts) or (config.accounts and config.groups):
        raise Refused(f"{name}: `accounts` go with `mode: shared_account`, and `groups` without it")
    if config.mode is Mode.SHARED_ACCOUNT:
        return SharedAccountTarget(config, resource=ResourceId(name), clock=clock)
    return PostgresTarget(config, resource=ResourceId(name), clock=clock)


class PostgresTarget:
    """See `ports.Target`."""

    def __init__(self, config: Config, *, resource: ResourceId, clock: Clock) -> None:
        self._config = config
        self._resource = resource
        self._clock = clock
        self._pool: asyncpg.Pool | None = None
        self._pool_lock = asyncio.Lock()
        self._before: dict[LeaseId, frozenset[Residue]] = {}
        self.endpoint = Endpoint(
            host=config.host,
            port=config.port,
            database=config.database,
            is_tls=config.tls,
            ca_file=config.ca_file,
        )

    async def grant(self, lease: Lease) -> Account:
        """See `ports.Target.grant`. Refused when a group would let the lease out of its bounds."""
        name = account_name(lease)
        groups = self._groups(lease.privileges)
        keys = ScramKeys.derive(salted_password=secrets.token_bytes(32), salt=secrets.token_bytes(16))
        settings = self._settings(lease)
        async with self._manager() as db:
            await self._refuse_unsafe(db, groups)
            before = await _residue_of_others(db, self._config.database)
            async with db.transaction():
                if await _exists(db, name):
                    await _drop_memberships(db, name)
                else:
                    await _run(db, _MAKE, name)
                limit = self._config.sessions_per_lease_max
                await _run(db, _SHAPE, name, keys.verifier, lease.ends_at.isoformat(), _mark(lease), limit)
                for group in groups:
                    await _run(db, _GRANT, group, name, _membership_options(db))
                for setting, value in settings.items():
                    await _run(db, _SET, name, setting, value)
        self._before.setdefault(lease.id, before)
        return Account(name=name, keys=keys, endpoint=self.endpoint)

    def _settings(self, lease: Lease) -> dict[str, str]:
        """What a session of the lease begins with. It may change all of them; the gateway's timer is what counts."""
        left = max(1.0, (lease.ends_at - self._clock.now()).total_seconds())
        return {
            # without it a statement whose client died goes on to its end and commits
            "client_connection_check_interval": "1s",
            # and without these a cut network, where nothing says that the client is gone, counts as a quiet client
            "tcp_keepalives_idle": "4s",
            "tcp_keepalives_interval": "1s",
            "tcp_keepalives_count": "3",
            "idle_in_transaction_session_timeout": _millis(min(left, self._config.idle_in_transaction_max)),
            "idle_session_timeout": _millis(left),
            "statement_timeout": _millis(min(left, self._config.statement_max)),
            "application_name": f"watchkey {lease.id}",
        }

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """See `ports.Target.entered`. The account tells whose session it is."""

    async def extend(self, lease: Lease) -> None:
        """See `ports.Target.extend`. Sessions that begin from now on are measured by the new end too."""
        name = account_name(lease)
        settings = self._settings(lease)
        async with self._manager() as db, db.transaction():
            await _run(db, _EXTEND, name, lease.ends_at.isoformat(), _mark(lease))
            for setting in _BY_THE_END:
                await _run(db, _SET, name, setting, settings[setting])

    async def shut(self, leases: Sequence[LeaseId]) -> int:
        """See `ports.Target.shut`."""
        async with self._manager() as db:
            names = await _accounts_of(db, leases)
            ended: int = await db.fetchval(_END_SESSIONS, names)
            # sessions first: one that holds a lock on its own role's row could make the next statement wait for it
            for name in names:
                await _run(db, _NO_LOGIN, name)
            return ended

    async def revoke(self, lease: LeaseId) -> Ending:
        """See `ports.Target.revoke`."""
        async with self._manager() as db:
            names = await _accounts_of(db, [lease])
            if not names:
                residue = await self._appeared(db, lease)
                self._before.pop(lease, None)
                return Ending(account="", is_gone=True, sessions_left=0, residue=residue)
            return await self._end_account(db, names[0], lease)

    async def residue(self, lease: LeaseId) -> tuple[Residue, ...]:
        """See `ports.Target.residue`."""
        async with self._manager() as db:
            found = set(await self._appeared(db, lease))
            for name in await _accounts_of(db, [lease]):
                found |= await self._owned_everywhere(db, name)
        return tuple(sorted(item for item in found if item.kind is not ResidueKind.GRANT))

    async def observe(self) -> tuple[Holding, ...]:
        """See `ports.Target.observe`."""
        async with self._manager() as db:
            rows = await db.fetch(_OBSERVE)
        return tuple(holding for row in rows if (holding := _holding(row)) is not None)

    async def reap(self) -> tuple[Ending, ...]:
        """See `ports.Target.reap`."""
        async with self._manager() as db:
            rows = await db.fetch(_OBSERVE)
            now: datetime = await db.fetchval("SELECT pg_catalog.clock_timestamp()")
            due = [holding for row in rows if (holding := _holding(row)) is not None and holding.ends_at <= now]
            await db.fetchval(_END_SESSIONS, [holding.account for holding in due])
            return tuple([await self._reap_one(db, holding) for holding in due])

    async def close(self) -> None:
        """See `ports.Target.close`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    # --- ending one account ----------------------------------------------------------------------------------------

    async def _reap_one(self, db: asyncpg.Connection, holding: Holding) -> Ending:
        """End it; one that cannot be ended keeps none of the others alive. Raises when the connection is lost."""
        try:
            return await self._end_account(db, holding.account, holding.lease)
        except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
            raise
        except (asyncpg.PostgresError, PortError) as error:
            left: int = await db.fetchval(_COUNT_SESSIONS, holding.account)
            return Ending(account=holding.account, is_gone=False, sessions_left=left, blocked_by=str(error))

    async def _end_account(self, db: asyncpg.Connection, name: str, lease: LeaseId) -> Ending:
        await db.fetchval(_END_SESSIONS, [name])
        await _run(db, _NO_LOGIN, name)
        await _drop_memberships(db, name)
        left = await _wait_for_sessions(db, name, self._clock)
        if left:
            return Ending(account=name, is_gone=False, sessions_left=left, blocked_by="sessions do not end")
        residue = {*await self._owned_everywhere(db, name), *await self._appeared(db, lease)}
        blocked = await self._clear(db, name, residue)
        if not blocked:
            blocked = await _drop_role(db, name)
        if not blocked:
            self._before.pop(lease, None)
        return Ending(
            account=name,
            is_gone=not blocked and not await _exists(db, name),
            sessions_left=0,
            residue=tuple(sorted(residue)),
            blocked_by=blocked,
        )

    async def _clear(self, db: asyncpg.Connection, name: str, residue: set[Residue]) -> str:
        """Hand over what the role owns, when that is configured and safe; return what is in the way, or nothing."""
        owned = [item for item in residue if item.is_owned and item.kind is not ResidueKind.GRANT]
        if owned and self._config.reassign_to is None:
            return f"{len(owned)} object(s) belong to it, and reassign_to is not configured"
        # code that runs with its owner's rights would gain the new owner's rights by the hand-over
        code = [item.name for item in owned if item.kind in _RUNS_AS_OWNER]
        if code:
            return f"it owns code that would run with more rights after a hand-over: {', '.join(sorted(code))}"
        databases = {item.database for item in residue if item.is_owned}
        if databases:
            await _run(db, _GRANT, name, self._config.manager, "")
        for database in sorted(databases):
            async with self._database(database) as other, other.transaction():
                if owned:
                    await _run(other, _REASSIGN, name, self._config.reassign_to)
                # only now: it would drop what the role still owned
                await _run(other, _DROP_OWNED, name)
        return ""

    async def _owned_everywhere(self, db: asyncpg.Connection, name: str) -> set[Residue]:
        out: set[Residue] = set()
        for row in await db.fetch(_DATABASES_WITH_TIES, name):
            async with self._database(row["datname"]) as other:
                out |= {
                    Residue(
                        kind=ResidueKind(item["kind"]),
                        database=row["datname"],
                        name=item["name"],
                        detail=item["detail"],
                    )
                    for item in await other.fetch(_OWNED, name)
                }
        for row in await db.fetch(_PREPARED, name):
            out.add(Residue(kind=ResidueKind.PREPARED_TRANSACTION, database=row["database"], name=row["gid"]))
        return out

    async def _appeared(self, db: asyncpg.Connection, lease: LeaseId) -> tuple[Residue, ...]:
        """What is there now and was not when the lease began, in any name: a session may act as its group roles too."""
        before = self._before.get(lease)
        if before is None:
            return ()
        return tuple(sorted(await _residue_of_others(db, self._config.database) - before))

    # --- bounds ----------------------------------------------------------------------------------------------------

    def _groups(self, privileges: Sequence[PrivilegeName]) -> list[str]:
        unknown = [name for name in privileges if name not in self._config.groups]
        if unknown:
            raise Refused(f"{self._resource}: no group role is configured for {', '.join(unknown)}; add it to `groups`")
        return sorted({group for name in privileges for group in self._config.groups[name]})

    async def _refuse_unsafe(self, db: asyncpg.Connection, groups: list[str]) -> None:
        rows = await db.fetch(_UNSAFE, groups)
        found = {row["rolname"]: row["why"] for row in rows if row["rolname"] not in self._config.unsafe_groups}
        missing = set(groups) - {row["rolname"] for row in await db.fetch(_KNOWN, groups)}
        if missing:
            raise Refused(f"{self._resource}: the database has no role {', '.join(sorted(missing))}")
        if found:
            listed = "; ".join(f"{role} {why}" for role, why in sorted(found.items()))
            raise Refused(f"{self._resource}: a lease must not get these roles: {listed}")

    # --- connections -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _manager(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the management account, with the errors of the port."""
        with _port_errors(f"{self._resource}: the database at {self._config.host}:{self._config.port}"):
            async with self._pool_lock:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        **self._connect_to(self._config.database), min_size=1, max_size=4, command_timeout=15
                    )
            async with self._pool.acquire(timeout=10) as db:
                yield db

    @asynccontextmanager
    async def _database(self, database: str) -> AsyncIterator[asyncpg.Connection]:
        with _port_errors(f"{self._resource}: the database {database}"):
            db = await asyncpg.connect(**self._connect_to(database), timeout=10, command_timeout=15)
            try:
                yield db
            finally:
                await db.close(timeout=5)

    def _connect_to(self, database: str) -> dict[str, Any]:
        config = self._config
        context: ssl.SSLContext | bool = False
        if config.tls:
            context = ssl.create_default_context(cafile=config.ca_file)
        return {
            "host": config.host,
            "port": config.port,
            "database": database,
            "user": config.manager,
            "password": config.manager_password.reveal(),
            "ssl": context,
            # a search_path of our own: nothing that a lease created can stand in front of the catalogue
            "server_settings": {
                "search_path": "pg_catalog",
                "lock_timeout": "5s",
                "statement_timeout": "15s",
                "application_name": "watchkey manager",
            },
        }


def account_name(lease: Lease) -> str:
    """`wk_alice_1f2e3d4c5b6a7988`: the person for people, the lease for programs."""
    slug = re.sub(r"[^a-z0-9]+", "_", lease.subject.partition("@")[0].lower()).strip("_")[:40].rstrip("_") or "x"
    name = f"wk_{slug}_{lease.id}"
    if not _ACCOUNT.fullmatch(name):
        raise Refused(f"lease id {lease.id!r} is not 16 hexadecimal digits")
    return name


def _millis(seconds: float) -> str:
    return f"{max(1, min(round(seconds * 1000), 2**31 - 1))}ms"


def _mark(lease: Lease) -> str:
    return json.dumps(
        {
            _MARK: 1,
            "lease": lease.id,
            "subject": lease.subject,
            "resource": lease.resource,
            "privileges": list(lease.privileges),
            "until": lease.ends_at.isoformat(),
        }
    )


def _holding(row: Mapping[str, Any]) -> Holding | None:
    """What a marked role says of itself. Without our mark it is not ours; with an unreadable end, it has ended."""
    name = row["rolname"]
    try:
        mark = json.loads(row["mark"] or "")
        if mark[_MARK] != 1 or not _ACCOUNT.fullmatch(name) or name.rpartition("_")[2] != mark["lease"]:
            return None
    except (ValueError, TypeError, KeyError):
        return None
    try:
        until = datetime.fromisoformat(mark["until"]).astimezone(UTC)
    except (ValueError, TypeError, KeyError):
        until = datetime.min.replace(tzinfo=UTC)
    return Holding(
        account=name,
        lease=LeaseId(mark["lease"]),
        subject=SubjectId(str(mark.get("subject", ""))),
        resource=ResourceId(str(mark.get("resource", ""))),
        ends_at=until,
        can_log_in=row["rolcanlogin"],
        sessions=row["sessions"],
    )


@dataclass(slots=True, kw_only=True)
class _SharedLease:
    account: str
    sessions: set[tuple[int, datetime]] = field(default_factory=set)
    """Server processes, each with its start: the number alone may be another's by the time of the end."""
    before: frozenset[Residue]


class SharedAccountTarget(PostgresTarget):
    """Sessions log in as an account that others have too. The database knows nothing of the lease.

    What ends a session is the process number that the gateway was told at its login; the account, and whatever was done
    in its name, stays. Nothing can be reaped: when the gateway is gone, its connections are gone and nothing else.
    """

    def __init__(self, config: Config, *, resource: ResourceId, clock: Clock) -> None:
        super().__init__(config, resource=resource, clock=clock)
        self._leases: dict[LeaseId, _SharedLease] = {}

    async def grant(self, lease: Lease) -> Account:
        """See `ports.Target.grant`. Refused for an account that leads out of its bounds."""
        login = self._config.accounts.get(lease.privileges[-1])
        if login is None:
            raise Refused(
                f"{self._resource}: no account is configured for {lease.privileges[-1]}; add it to `accounts`"
            )
        async with self._manager() as db:
            await self._refuse_unsafe(db, [login.name])
            if lease.id not in self._leases:
                self._leases[lease.id] = _SharedLease(account=login.name, before=await self._seen(db, login.name))
        return Account(
            name=login.name,
            keys=ScramPassword(password=login.password),
            endpoint=self.endpoint,
            is_shared=True,
            settings=self._settings(lease),
        )

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """See `ports.Target.entered`."""
        async with self._manager() as db:
            known = self._leases.get(lease)
            row = await db.fetchrow(_BACKEND, process_id)
            if row is None or (known is not None and row["usename"] != known.account):
                raise Refused(f"{self._resource}: process {process_id} is no session of this lease")
            if known is None:
                await db.fetchval(_END_PROCESSES, [process_id], [row["backend_start"]])
                raise Refused(f"{self._resource}: the lease is over")
            known.sessions.add((process_id, row["backend_start"]))

    async def extend(self, lease: Lease) -> None:
        """See `ports.Target.extend`. There is nothing that carries the end."""

    async def shut(self, leases: Sequence[LeaseId]) -> int:
        """See `ports.Target.shut`. People can still log in if they know the password; that is what sharing means."""
        known = [self._leases[lease] for lease in leases if lease in self._leases]
        async with self._manager() as db:
            return await _end_processes(db, {session for lease in known for session in lease.sessions})

    async def revoke(self, lease: LeaseId) -> Ending:
        """See `ports.Target.revoke`. `is_gone` says that the lease's sessions are; the account stays."""
        known = self._leases.get(lease)
        if known is None:
            return Ending(account="", is_gone=True, sessions_left=0)
        async with self._manager() as db:
            left = await _end_processes(db, known.sessions)
            for look in range(_LOOKS_MAX):
                if not left:
                    break
                await self._clock.sleep(min(0.25, 0.02 * (look + 1)))
                left = await _end_processes(db, known.sessions)
            residue = tuple(sorted(await self._seen(db, known.account) - known.before))
        if left:
            why = "sessions do not end"
            return Ending(account=known.account, is_gone=False, sessions_left=left, residue=residue, blocked_by=why)
        self._leases.pop(lease, None)
        return Ending(account=known.account, is_gone=True, sessions_left=0, residue=residue)

    async def residue(self, lease: LeaseId) -> tuple[Residue, ...]:
        """See `ports.Target.residue`. What others did in the account's name meanwhile is among it."""
        known = self._leases.get(lease)
        if known is None:
            return ()
        async with self._manager() as db:
            return tuple(sorted(await self._seen(db, known.account) - known.before))

    async def observe(self) -> tuple[Holding, ...]:
        """See `ports.Target.observe`. No account carries our mark."""
        return ()

    async def reap(self) -> tuple[Ending, ...]:
        """See `ports.Target.reap`. There is nothing to go by."""
        return ()

    async def _seen(self, db: asyncpg.Connection, account: str) -> frozenset[Residue]:
        """What is there in anybody's name, what the account owns, and what its next session would begin with."""
        owned = await self._owned_everywhere(db, account)
        settings = {
            Residue(
                kind=ResidueKind.ROLE_SETTING, database=row["datname"] or "all", name=f"{account}: {row['setting']}",
                is_owned=False,
            )
            for row in await db.fetch(_ROLE_SETTINGS, account)
        }  # fmt: skip
        return await _residue_of_others(db, self._config.database) | owned | settings


async def _end_processes(db: asyncpg.Connection, sessions: Collection[tuple[int, datetime]]) -> int:
    """Cancel and terminate; returns how many were still there."""
    ended: int = await db.fetchval(_END_PROCESSES, [pid for pid, _ in sessions], [start for _, start in sessions])
    return ended


class _port_errors:  # noqa: N801  reads as a clause at its place of use
    """Turn what the driver raises into the errors of the port."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError() | asyncpg.InterfaceError():
                raise Unavailable(f"{self._what} cannot be reached: {error}") from error
            case asyncpg.LockNotAvailableError() | asyncpg.TooManyConnectionsError() | asyncpg.DeadlockDetectedError():
                raise Unavailable(f"{self._what} is busy: {error}") from error
            case OSError() | TimeoutError():
                raise Unavailable(f"{self._what} cannot be reached: {error}") from error
            case asyncpg.PostgresError():
                raise Refused(f"{self._what} refused: {error} (SQLSTATE {error.sqlstate})") from error
            case _:
                return


async def _run(db: asyncpg.Connection, template: str, *values: object) -> None:
    """Let the server quote the names and literals into a statement, and run it."""
    places = ", ".join(f"${index + 1}" for index in range(len(values)))
    arguments = ", ".join(
        f"{place}::{_sql_type(value)}" for place, value in zip(places.split(", "), values, strict=True)
    )
    statement: str = await db.fetchval(f"SELECT pg_catalog.format({_quote(template)}, {arguments})", *values)
    await db.execute(statement)


def _sql_type(value: object) -> str:
    match value:
        case int():
            return "int"
        case _:
            return "text"


def _quote(template: str) -> str:
    return "'" + template.replace("'", "''") + "'"


async def _exists(db: asyncpg.Connection, name: str) -> bool:
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)", name))


async def _accounts_of(db: asyncpg.Connection, leases: Sequence[LeaseId]) -> list[str]:
    wanted = {lease for lease in leases if _LEASE.fullmatch(lease)}
    rows = await db.fetch(_OBSERVE)
    return [holding.account for row in rows if (holding := _holding(row)) is not None and holding.lease in wanted]


async def _drop_memberships(db: asyncpg.Connection, name: str) -> None:
    for row in await db.fetch(_MEMBER_OF, name):
        await _run(db, _REVOKE, row["rolname"], name)


def _membership_options(db: asyncpg.Connection) -> str:
    # from 16 on, a membership can be had without the right to SET ROLE into it
    return " WITH INHERIT TRUE, SET FALSE" if db.get_server_version().major >= 16 else ""


async def _wait_for_sessions(db: asyncpg.Connection, name: str, clock: Clock) -> int:
    for look in range(_LOOKS_MAX):
        left: int = await db.fetchval(_COUNT_SESSIONS, name)
        if not left:
            return 0
        await clock.sleep(min(0.25, 0.02 * (look + 1)))
        await db.fetchval(_END_SESSIONS, [name])
    return left


async def _drop_role(db: asyncpg.Connection, name: str) -> str:
    try:
        await _run(db, _DROP_ROLE, name)
    except asyncpg.DependentObjectsStillExistError as error:
        return f"{error}: {error.detail}"
    return ""


async def _residue_of_others(db: asyncpg.Connection, database: str) -> frozenset[Residue]:
    rows = [*await db.fetch(_SNAPSHOT)]
    if await db.fetchval("SELECT pg_catalog.to_regclass('cron.job') IS NOT NULL"):
        rows += await db.fetch("SELECT 'cron_job' AS kind, jobid::text AS name, command AS detail FROM cron.job")
    return frozenset(
        Residue(
            kind=ResidueKind(row["kind"]),
            database=database,
            name=row["name"],
            detail=row["detail"] or "",
            is_owned=False,
        )
        for row in rows
    )


_RUNS_AS_OWNER: Final = frozenset(
    {
        ResidueKind.SECURITY_DEFINER,
        ResidueKind.VIEW,
        ResidueKind.RULE,
        ResidueKind.TRIGGER,
        ResidueKind.EVENT_TRIGGER,
        ResidueKind.SUBSCRIPTION,
        ResidueKind.PREPARED_TRANSACTION,
    }
)

_BY_THE_END: Final = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout")
"""Settings that hang on how long the lease has left."""
_MAKE: Final = "CREATE ROLE %1$I NOLOGIN"
_SHAPE: Final = (
    "ALTER ROLE %1$I LOGIN NOCREATEROLE INHERIT CONNECTION LIMIT %5$s"
    " PASSWORD %2$L VALID UNTIL %3$L; COMMENT ON ROLE %1$I IS %4$L"
)
_EXTEND: Final = "ALTER ROLE %1$I VALID UNTIL %2$L; COMMENT ON ROLE %1$I IS %3$L"
_NO_LOGIN: Final = "ALTER ROLE %1$I NOLOGIN VALID UNTIL 'epoch' PASSWORD NULL"
_GRANT: Final = "GRANT %1$I TO %2$I%3$s"
_REVOKE: Final = "REVOKE %1$I FROM %2$I"
_SET: Final = "ALTER ROLE %1$I SET %2$I = %3$L"
_REASSIGN: Final = "REASSIGN OWNED BY %1$I TO %2$I"
_DROP_OWNED: Final = "DROP OWNED BY %1$I"
_DROP_ROLE: Final = "DROP ROLE IF EXISTS %1$I"

_OBSERVE: Final = r"""
SELECT r.rolname, r.rolcanlogin, pg_catalog.shobj_description(r.oid, 'pg_authid') AS mark,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid) AS sessions
FROM pg_catalog.pg_roles r WHERE r.rolname LIKE 'wk\_%'
"""
_END_SESSIONS: Final = """
SELECT count(*) FROM (
  SELECT pg_catalog.pg_cancel_backend(pid), pg_catalog.pg_terminate_backend(pid)
  FROM pg_catalog.pg_stat_activity WHERE usename = ANY($1::text[])) AS ended
"""
_BACKEND: Final = "SELECT usename, backend_start FROM pg_catalog.pg_stat_activity WHERE pid = $1"
_END_PROCESSES: Final = """
SELECT count(*) FROM (
  SELECT pg_catalog.pg_cancel_backend(a.pid), pg_catalog.pg_terminate_backend(a.pid)
  FROM pg_catalog.pg_stat_activity a
  JOIN ROWS FROM (pg_catalog.unnest($1::int[]), pg_catalog.unnest($2::timestamptz[])) AS ours (pid, started)
    ON a.pid = ours.pid AND a.backend_start = ours.started) AS ended
"""
_ROLE_SETTINGS: Final = """
SELECT d.datname, pg_catalog.unnest(s.setconfig) AS setting
FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE r.rolname = $1
"""
_COUNT_SESSIONS: Final = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = $1"
_MEMBER_OF: Final = """
SELECT g.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
JOIN pg_catalog.pg_roles r ON r.oid = m.member WHERE r.rolname = $1
"""
_DATABASES_WITH_TIES: Final = """
SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
JOIN pg_catalog.pg_database d ON d.oid = s.dbid OR (s.dbid = 0 AND d.datname = pg_catalog.current_database())
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname = $1
"""
_PREPARED: Final = "SELECT gid, database FROM pg_catalog.pg_prepared_xacts WHERE owner = $1"
_KNOWN: Final = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY($1::text[])"
_UNSAFE: Final = """
WITH RECURSIVE reach(root, oid) AS (
  SELECT rolname, oid FROM pg_catalog.pg_roles WHERE rolname = ANY($1::text[])
  UNION SELECT reach.root, m.roleid FROM reach JOIN pg_catalog.pg_auth_members m ON m.member = reach.oid)
SELECT reach.root AS rolname, pg_catalog.string_agg(CASE
    WHEN r.rolname = current_user THEN 'reaches the management account'
    WHEN r.rolsuper THEN 'reaches the superuser ' || r.rolname
    WHEN r.rolcreaterole THEN 'reaches ' || r.rolname || ', which may make roles'
    WHEN r.rolreplication THEN 'reaches ' || r.rolname || ', which may replicate'
    ELSE 'reaches ' || r.rolname END, ', ') AS why
FROM reach JOIN pg_catalog.pg_roles r ON r.oid = reach.oid
WHERE r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolname = current_user
  OR r.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files', 'pg_signal_backend')
GROUP BY reach.root
"""
_OWNED: Final = """
SELECT CASE
    WHEN s.deptype <> 'o' THEN 'grant'
    WHEN p.prosecdef THEN 'security_definer'
    WHEN c.relkind IN ('v', 'm') THEN 'view'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) THEN 'trigger'
    WHEN c.relhasrules THEN 'rule'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid
                 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) THEN 'rule'
    WHEN s.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass THEN 'event_trigger'
    WHEN s.classid = 'pg_catalog.pg_default_acl'::pg_catalog.regclass THEN 'default_privilege'
    WHEN s.classid = 'pg_catalog.pg_user_mapping'::pg_catalog.regclass THEN 'user_mapping'
    WHEN s.classid = 'pg_catalog.pg_publication'::pg_catalog.regclass THEN 'publication'
    WHEN s.classid = 'pg_catalog.pg_subscription'::pg_catalog.regclass THEN 'subscription'
    ELSE 'owned' END AS kind,
  pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid) AS name, s.classid::pg_catalog.regclass::text AS detail
FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
LEFT JOIN pg_catalog.pg_proc p ON s.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = s.objid
LEFT JOIN pg_catalog.pg_class c ON s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = s.objid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname = $1
  AND s.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
"""
_SNAPSHOT: Final = r"""
SELECT 'security_definer' AS kind, p.oid::pg_catalog.regprocedure::text AS name,
       'owner ' || pg_catalog.pg_get_userbyid(p.proowner) || ', ' || pg_catalog.md5(p.prosrc) AS detail
FROM pg_catalog.pg_proc p WHERE p.prosecdef AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
UNION ALL SELECT 'trigger', tgrelid::pg_catalog.regclass::text || '.' || tgname, tgfoid::pg_catalog.regprocedure::text
FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'event_trigger', evtname, evtevent FROM pg_catalog.pg_event_trigger
UNION ALL SELECT 'rule', ev_class::pg_catalog.regclass::text || '.' || rulename, ev_type::text
FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384
UNION ALL SELECT 'view', c.oid::pg_catalog.regclass::text, 'owner ' || pg_catalog.pg_get_userbyid(c.relowner)
FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
UNION ALL SELECT 'role', rolname, CASE WHEN rolsuper THEN 'superuser' ELSE '' END
FROM pg_catalog.pg_roles WHERE rolname NOT LIKE 'wk\_%'
UNION ALL SELECT 'membership', g.rolname || ' to ' || m.rolname, '' FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
WHERE m.rolname NOT LIKE 'wk\_%' AND g.rolname NOT LIKE 'wk\_%'
UNION ALL SELECT 'default_privilege', pg_catalog.pg_get_userbyid(defaclrole) || ' ' || defaclobjtype::text,
       defaclacl::text FROM pg_catalog.pg_default_acl
UNION ALL SELECT 'user_mapping', srvname || ' for ' || usename, '' FROM pg_catalog.pg_user_mappings
UNION ALL SELECT 'publication', pubname, '' FROM pg_catalog.pg_publication
"""
