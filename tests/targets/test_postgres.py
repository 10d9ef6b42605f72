"""What the role of a lease is and is not, on a real server; what needs none is tested without."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.conftest import server
from tests.live.house import ORDERS, RealClock, target_config
from tests.model.test_lease import READ, WRITE, allow, lease
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import SubjectId
from watchkey.model.lease import LeaseId
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.targets.postgres import _ACCOUNT, PostgresTarget, _holding, account_name

__all__ = ["server"]
CLOCK = RealClock()


def on(server: PostgresServer, work: Callable[[PostgresTarget], Coroutine[Any, Any, None]], **changes: Any) -> None:
    async def run() -> None:
        target = PostgresTarget(target_config(server, **changes), resource=ORDERS, clock=CLOCK)
        try:
            await work(target)
            for holding in await target.observe():
                await target.revoke(holding.lease)
        finally:
            await target.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("subject", "slug"),
    [
        ("alice@example.com", "alice"), ("Anne-Marie.O'Neil@example.com", "anne_marie_o_neil"),
        ("李雷@example.com", "x"),
        ("issuer|12345", "issuer_12345"),
        ("a" * 300, "a" * 40), ('x"; DROP ROLE y; --', "x_drop_role_y"), ("", "x"),
    ],
)  # fmt: skip
def test_accounts_are_named_for_people_with_safe_characters(subject: str, slug: str) -> None:
    named = lease(subject=SubjectId(subject), grounds=(allow(subject=subject),))
    assert account_name(named) == f"wk_{slug}_0123456789abcdef"


@given(st.text(max_size=80))
def test_every_subject_has_an_account_name_that_postgresql_takes(subject: str) -> None:
    name = account_name(lease(subject=SubjectId(subject), grounds=(allow(subject=subject),)))
    assert _ACCOUNT.fullmatch(name)
    assert len(name.encode()) <= 63


@pytest.mark.parametrize("bad", ["", "0123456789ABCDEF", "0123", "0123456789abcdef0", "'; DROP ROLE x; --"])
def test_a_lease_id_is_sixteen_hexadecimal_digits(bad: str) -> None:
    with pytest.raises(Refused):
        account_name(lease(id=LeaseId(bad)))


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("wk_a_0123456789abcdef", None), ("wk_a_0123456789abcdef", "a comment"), ("wk_a_0123456789abcdef", "[]"),
        ("wk_a_0123456789abcdef", '{"watchkey": 2, "lease": "0123456789abcdef"}'),
        ("wk_a_0123456789abcdef", '{"watchkey": 1, "lease": "ffffffffffffffff"}'),
        ("wk_a_0123456789abcdef", '{"watchkey": 1}'),
        ("postgres", '{"watchkey": 1, "lease": "postgres"}'), ("wk_a", '{"watchkey": 1, "lease": "a"}'),
    ],
)  # fmt: skip
def test_a_role_without_our_whole_mark_is_not_ours(name: str, mark: str | None) -> None:
    assert _holding({"rolname": name, "mark": mark, "rolcanlogin": True, "sessions": 0}) is None


def test_the_role_is_small_and_carries_its_limits(server: PostgresServer) -> None:
    async def work(target: PostgresTarget) -> None:
        now = CLOCK.now()
        account = await target.grant(lease(now, length=timedelta(minutes=5)))
        attributes = server.sql(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolconnlimit,"
            " rolvaliduntil FROM pg_roles WHERE rolname = :'name'",
            name=account.name,
        ).split("|")
        assert attributes[:7] == ["f", "f", "f", "f", "f", "t", "20"]
        assert attributes[7].startswith(f"{now + timedelta(minutes=5):%Y-%m-%d %H:%M}")
        settings = server.sql("SELECT unnest(rolconfig) FROM pg_roles WHERE rolname = :'name'", name=account.name)
        values = dict(setting.split("=") for setting in settings.splitlines())
        assert values["client_connection_check_interval"] == "1s"
        assert [values[f"tcp_keepalives_{name}"] for name in ("idle", "interval", "count")] == ["4s", "1s", "3"]
        for name in ("idle_in_transaction_session_timeout", "idle_session_timeout", "statement_timeout"):
            assert 0 < int(values[name].removesuffix("ms")) <= 300_000
        kept = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = :'name'", name=account.name)
        assert kept == account.keys.verifier

    on(server, work)


def test_a_renewal_counts_for_sessions_that_begin_after_it(server: PostgresServer) -> None:
    async def work(target: PostgresTarget) -> None:
        now = CLOCK.now()
        account = await target.grant(lease(now, length=timedelta(minutes=5)))
        await target.extend(lease(now, length=timedelta(hours=2)))
        settings = server.sql("SELECT unnest(rolconfig) FROM pg_roles WHERE rolname = :'name'", name=account.name)
        values = dict(setting.split("=") for setting in settings.splitlines())
        for name in ("idle_session_timeout", "statement_timeout"):
            assert 7_100_000 < int(values[name].removesuffix("ms")) <= 7_200_000
        assert values["client_connection_check_interval"] == "1s"

    on(server, work)


def test_exactly_the_groups_of_the_privileges_and_a_new_grant_takes_back_the_rest(server: PostgresServer) -> None:
    async def groups(account: str) -> str:
        return server.sql(
            "SELECT string_agg(roleid::regrole::text, ',' ORDER BY 1) FROM pg_auth_members"
            " WHERE member = :'name'::regrole",
            name=account,
        )

    async def work(target: PostgresTarget) -> None:
        now = CLOCK.now()
        both = (allow(READ, now), allow(WRITE, now))
        account = await target.grant(lease(now, privileges=(READ, WRITE), grounds=both))
        assert await groups(account.name) == "orders_read,orders_write"
        await target.grant(lease(now))
        assert await groups(account.name) == "orders_read"

    on(server, work)


def test_a_privilege_without_a_group_and_a_group_without_a_role_are_refused(server: PostgresServer) -> None:
    async def unmapped(target: PostgresTarget) -> None:
        with pytest.raises(Refused, match="no group role is configured for read"):
            await target.grant(lease(CLOCK.now()))

    on(server, unmapped, groups={})

    async def missing(target: PostgresTarget) -> None:
        with pytest.raises(Refused, match="the database has no role nowhere"):
            await target.grant(lease(CLOCK.now()))
        assert await target.observe() == ()

    on(server, missing, groups={"read": ["nowhere"]})


def test_a_server_that_cannot_be_reached_is_unavailable_and_a_wrong_password_is_told(server: PostgresServer) -> None:
    async def work() -> None:
        for changes, error in (({"port": 1}, Unavailable), ({"manager": "nobody"}, Refused)):
            target = PostgresTarget(target_config(server, **changes), resource=ORDERS, clock=CLOCK)
            with pytest.raises(error, match="orders-db"):
                await target.observe()
            await target.close()

    asyncio.run(work())


def test_the_password_of_the_manager_does_not_show(server: PostgresServer) -> None:
    assert "'manager'" not in repr(target_config(server).manager_password)


def test_a_role_that_owns_things_in_another_database_is_found_there(server: PostgresServer) -> None:
    server.sql("CREATE DATABASE elsewhere")
    server.sql("GRANT CREATE ON SCHEMA public TO PUBLIC", "elsewhere")
    try:

        async def work(target: PostgresTarget) -> None:
            granted = lease(CLOCK.now())
            account = await target.grant(granted)
            server.sql(f"SET ROLE {account.name}; CREATE TABLE left_over ()", "elsewhere")
            ending = await target.revoke(granted.id)
            assert not ending.is_gone
            assert [(item.database, item.name) for item in ending.residue if item.is_owned] == [
                ("elsewhere", "table public.left_over")
            ]
            server.sql("DROP TABLE left_over", "elsewhere")
            assert (await target.revoke(granted.id)).is_gone

        on(server, work)
    finally:
        server.sql("DROP DATABASE elsewhere")
