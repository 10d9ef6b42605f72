"""Ways out of the account, each tried on a real server: none leads to another identity or leaves a trace unreported.

The catalogues are compared before and after; what a lease left behind must be in the report.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tests.live.house import ALICE, LiveHouse
from tests.live.test_sessions_end import accounts, may_set_role, until
from watchkey.model.lease import LeaseState
from watchkey.simulator.postgres_server import PostgresServer

CATALOGUES = """
SELECT 'role ' || a::text FROM pg_authid a
UNION ALL SELECT 'member ' || m::text FROM pg_auth_members m
UNION ALL SELECT 'setting ' || s::text FROM pg_db_role_setting s
UNION ALL SELECT 'database ' || oid || datdba::regrole || coalesce(datacl, acldefault('d', datdba))::text
  FROM pg_database
UNION ALL SELECT 'tablespace ' || t::text FROM pg_tablespace t
UNION ALL SELECT 'shared comment ' || d::text FROM pg_shdescription d
UNION ALL SELECT 'parameter ' || p::text FROM pg_parameter_acl p
UNION ALL SELECT 'subscription ' || subname FROM pg_subscription
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'function ' || oid::regprocedure || ' ' || p::text FROM pg_proc p
UNION ALL SELECT 'relation ' || oid::regclass || ' ' || relkind::text || relowner::regrole || coalesce(relacl::text, '')
  FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'column ' || attrelid::regclass || attname || attacl::text FROM pg_attribute WHERE attacl IS NOT NULL
UNION ALL SELECT 'type ' || oid::regtype || typowner::regrole || coalesce(typacl::text, '') FROM pg_type
UNION ALL SELECT 'default ' || d::text FROM pg_default_acl d
UNION ALL SELECT 'initial ' || d::text FROM pg_init_privs d
UNION ALL SELECT 'schema ' || nspname || ' ' || nspowner::regrole || coalesce(nspacl::text, '') FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_t%'
UNION ALL SELECT 'trigger ' || t::text FROM pg_trigger t
UNION ALL SELECT 'event trigger ' || t::text FROM pg_event_trigger t
UNION ALL SELECT 'rule ' || oid || rulename FROM pg_rewrite
UNION ALL SELECT 'row policy ' || polname FROM pg_policy
UNION ALL SELECT 'wrapper ' || w::text FROM pg_foreign_data_wrapper w
UNION ALL SELECT 'server ' || w::text FROM pg_foreign_server w
UNION ALL SELECT 'mapping ' || w::text FROM pg_user_mapping w
UNION ALL SELECT 'language ' || w::text FROM pg_language w
UNION ALL SELECT 'cast ' || w::text FROM pg_cast w
UNION ALL SELECT 'operator ' || oid || oprowner::regrole FROM pg_operator
UNION ALL SELECT 'publication ' || w::text FROM pg_publication w
UNION ALL SELECT 'large object ' || w::text FROM pg_largeobject_metadata w
UNION ALL SELECT 'extension ' || extname FROM pg_extension
ORDER BY 1
"""


@pytest.fixture
def alice(house: LiveHouse) -> Iterator[psycopg.Connection[Any]]:
    house.watch.allow(ALICE, "read", "write")
    with closing(psycopg.connect(house.dsn(ALICE), autocommit=True)) as db:
        yield db


def catalogues(server: PostgresServer) -> list[str]:
    return server.sql(CATALOGUES, "orders").splitlines()


REFUSED = [
    "SET SESSION AUTHORIZATION postgres",
    "SET ROLE postgres",
    "SET ROLE watchkey_manager",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "DO $$ BEGIN EXECUTE 'set role ' || 'postgres'; END $$",
    "COPY orders TO PROGRAM 'id'",
    "COPY orders FROM PROGRAM 'id'",
    "COPY orders TO '/tmp/watchkey-escape'",
    "COPY orders FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/watchkey-escape')",
    "SELECT lo_import('/etc/passwd')",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION file_fdw",
    "SELECT dblink_connect('dbname=orders user=postgres')",
    "CREATE ROLE mine LOGIN",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER LOGIN",
    "ALTER ROLE orders_read LOGIN",
    "ALTER ROLE watchkey_manager PASSWORD 'x'",
    "GRANT orders_write TO orders_read",
    "GRANT postgres TO CURRENT_USER",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "COMMENT ON ROLE orders_read IS 'x'",
    "DO $$ BEGIN EXECUTE format('COMMENT ON ROLE %I IS %L', current_user, '{}'); END $$",
    "SELECT * FROM secrets",
    "SELECT * FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'watchkey_manager' LIMIT 1",
    "SELECT pg_reload_conf()",
    "ALTER SYSTEM SET log_statement = 'none'",
    "SET log_statement = 'none'",
    "CREATE LANGUAGE plpython3u",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'system'",
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION pg_notify()",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=orders' PUBLICATION p",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "ALTER DATABASE orders SET role = 'postgres'",
    "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE SCHEMA mine",
    "DROP TABLE orders",
    "SET SESSION AUTHORIZATION watchkey_manager",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER REPLICATION",
    "ALTER ROLE CURRENT_USER CREATEDB",
    "ALTER ROLE CURRENT_USER RENAME TO postgres2",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE postgres SET role = postgres', 'orders_read'); END $$",
    "ALTER ROLE ALL SET search_path = mine",
    "ALTER ROLE CURRENT_USER SET session_preload_libraries = 'x'",
    "ALTER ROLE CURRENT_USER SET log_statement = 'none'",
    "ALTER ROLE CURRENT_USER SET session_replication_role = 'replica'",
    "SET session_replication_role = 'replica'",
    "SET lo_compat_privileges = on",
    "LOAD '/tmp/watchkey-escape.so'",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT pg_ls_logdir()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_physical_replication_slot('s')",
    "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
    "SELECT pg_promote()",
    "SELECT pg_replication_origin_create('x')",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "CREATE DATABASE mine",
    "ALTER DATABASE orders OWNER TO CURRENT_USER",
    "ALTER DATABASE orders SET search_path = mine",
    "CREATE TABLESPACE mine LOCATION '/tmp'",
    "ALTER TABLE orders OWNER TO CURRENT_USER",
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT 1",
    "CREATE POLICY p ON orders USING (true)",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'postgres')",
    "IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public",
    "SELECT dblink_exec('dbname=orders user=postgres', 'SELECT 1')",
    "CREATE CAST (text AS oid) WITH INOUT AS IMPLICIT",
    "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION int4in(internal))",
    "CREATE ACCESS METHOD m TYPE TABLE HANDLER heap_tableam_handler",
    "UPDATE pg_authid SET rolsuper = true",
    "UPDATE pg_catalog.pg_auth_members SET admin_option = true",
    "INSERT INTO pg_db_role_setting VALUES (0, 0, '{role=postgres}')",
    "DELETE FROM pg_shdescription",
    "ALTER FUNCTION pg_read_file(text) OWNER TO CURRENT_USER",
    "CREATE OR REPLACE FUNCTION pg_catalog.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO CURRENT_USER",
    "GRANT SELECT ON secrets TO CURRENT_USER",
    "GRANT SET ON PARAMETER log_statement TO CURRENT_USER",
    "REVOKE orders_read FROM watchkey_manager",
    "REASSIGN OWNED BY postgres TO CURRENT_USER",
    "DROP OWNED BY watchkey_manager",
    "DROP ROLE watchkey_manager",
    "SECURITY LABEL ON ROLE CURRENT_USER IS 'x'",
    "SELECT cron.schedule('* * * * *', 'SELECT 1')",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY secrets TO STDOUT",
    "SELECT lo_export(1, '/tmp/watchkey-escape')",
    "SELECT query_to_xml('TABLE secrets', true, true, '')",
    "SELECT database_to_xml(true, true, '') FROM secrets",
    "EXPLAIN ANALYZE SELECT * FROM secrets",
    "PREPARE p AS SELECT * FROM secrets; EXECUTE p",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM secrets",
    "CREATE TABLE mine AS SELECT * FROM secrets",
]


WITHOUT_EFFECT = [
    "DROP OWNED BY orders_read",
    "REASSIGN OWNED BY orders_read TO CURRENT_USER",
    "GRANT ALL ON DATABASE orders TO CURRENT_USER",
    "VACUUM pg_authid",
    "REVOKE ALL ON orders FROM orders_read",
]
"""PostgreSQL warns at most, and does nothing."""


@pytest.mark.every_server
def test_what_must_be_refused_is_refused_and_nothing_stays(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    before = catalogues(server)
    for statement in REFUSED:
        try:
            alice.execute(statement)
        except psycopg.Error:
            pass
        else:
            pytest.fail(f"it was let through: {statement}")
        assert alice.execute("SELECT session_user = current_user").fetchone() == (True,), statement
    for statement in WITHOUT_EFFECT:
        alice.execute(statement)
    assert catalogues(server) == before


@pytest.mark.parametrize(
    "statement",
    [
        "RESET ROLE", "RESET SESSION AUTHORIZATION", "RESET ALL", "DISCARD ALL", "SET ROLE NONE",
        "SET SESSION AUTHORIZATION DEFAULT", "SELECT set_config('role', 'none', false)",
        "DO $$ BEGIN EXECUTE 'reset ' || 'role'; END $$",
        "BEGIN; SET LOCAL ROLE orders_read; ROLLBACK",
        "SET ROLE orders_write; RESET ROLE",
    ],
)  # fmt: skip
def test_going_back_leads_to_the_persons_own_account_and_no_further(
    alice: psycopg.Connection[Any], server: PostgresServer, statement: str
) -> None:
    if "ROLE orders" in statement and not may_set_role(server):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            alice.execute(statement)
        alice.execute("ROLLBACK")
    else:
        alice.execute(statement)
    ((session, current),) = alice.execute("SELECT session_user, current_user").fetchall()
    assert session == current
    assert session.startswith("wk_alice_")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        alice.execute("SELECT * FROM secrets")


def end_of_lease(house: LiveHouse) -> None:
    house.watch.take(ALICE)
    house.sync_guard()


@pytest.mark.every_server
def test_a_function_left_behind_is_reported_and_keeps_the_dead_role_from_going(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    (name,) = alice.execute("SELECT session_user").fetchone() or ("",)
    alice.execute(
        "CREATE FUNCTION public.peek() RETURNS SETOF orders LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM orders'"
    )
    alice.execute("GRANT EXECUTE ON FUNCTION public.peek() TO PUBLIC")
    end_of_lease(house)
    try:
        assert until(lambda: bool(house.noted("lease.stuck")))
        note = house.noted("lease.stuck")[-1]
        assert any("security_definer in orders: function public.peek()" in item for item in note.fields["residue"])
        (held,) = house.guard.held
        assert held.state is LeaseState.STUCK
        # the role that is left can do nothing: no login, no rights, so the function reads nothing either
        assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = :'name'", name=name) == "f"
        with pytest.raises(RuntimeError, match="permission denied for table orders"):
            server.sql("SET ROLE orders_read; SELECT * FROM peek()", "orders")
    finally:
        server.sql("DROP FUNCTION public.peek()", "orders")
    # once a person has cleared it, the retry that never ends takes the role away
    assert until(lambda: accounts(server) == "")
    assert until(lambda: bool(house.noted("lease.ended")))


@pytest.mark.every_server
def test_what_was_made_in_a_groups_name_is_reported_too(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    if not may_set_role(server):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            alice.execute("SET ROLE orders_write")
        return
    alice.execute("SET ROLE orders_write")
    alice.execute(
        "CREATE FUNCTION public.back_door() RETURNS SETOF orders LANGUAGE sql SECURITY DEFINER AS 'TABLE orders'"
    )
    end_of_lease(house)
    try:
        assert until(lambda: bool(house.noted("lease.ended")))
        residue = house.noted("lease.ended")[-1].fields["residue"]
        assert any(
            "security_definer in orders: public.back_door()" in item and "not its own" in item for item in residue
        )
    finally:
        server.sql("DROP FUNCTION public.back_door()", "orders")


@pytest.mark.every_server
def test_plain_leftovers_go_to_who_is_configured_but_code_never_does(
    open_house: Callable[..., LiveHouse], server: PostgresServer
) -> None:
    server.sql(
        "CREATE ROLE leftovers NOLOGIN; GRANT leftovers TO watchkey_manager;GRANT CREATE ON SCHEMA public TO leftovers",
        "orders",
    )
    house = open_house(reassign_to="leftovers")
    house.watch.allow(ALICE, "read", "write")
    try:
        with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
            db.execute("CREATE TABLE public.scratch (i int)")
            end_of_lease(house)
            assert until(lambda: accounts(server) == "")
        assert server.sql("SELECT relowner::regrole FROM pg_class WHERE relname = 'scratch'", "orders") == "leftovers"
        house.watch.allow(ALICE, "read", "write")
        with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
            db.execute("CREATE VIEW public.window AS SELECT * FROM orders")
            end_of_lease(house)
            assert until(lambda: bool(house.noted("lease.stuck")))
        assert "would run with more rights" in house.noted("lease.stuck")[-1].fields["blocked_by"]
        assert server.sql("SELECT relowner::regrole FROM pg_class WHERE relname = 'window'", "orders").startswith(
            "wk_alice"
        )
        server.sql("DROP VIEW public.window", "orders")
        assert until(lambda: accounts(server) == "")
    finally:
        server.sql(
            "DROP VIEW IF EXISTS public.window; DROP TABLE IF EXISTS public.scratch; DROP OWNED BY leftovers", "orders"
        )
        server.sql("DROP ROLE leftovers")


@pytest.mark.every_server
def test_a_prepared_transaction_is_reported_as_what_it_is(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    alice.execute("BEGIN")
    alice.execute("INSERT INTO orders (what) VALUES ('prepared to stay')")
    alice.execute("PREPARE TRANSACTION 'sleeper'")
    end_of_lease(house)
    try:
        assert until(lambda: bool(house.noted("lease.stuck")))
        assert any(
            "prepared_transaction in orders: sleeper" in item
            for item in house.noted("lease.stuck")[-1].fields["residue"]
        )
    finally:
        server.sql("ROLLBACK PREPARED 'sleeper'", "orders")
    assert until(lambda: accounts(server) == "")


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ("CREATE ROLE bad NOLOGIN SUPERUSER", "reaches the superuser bad"),
        ("CREATE ROLE bad NOLOGIN CREATEROLE", "may make roles"),
        ("CREATE ROLE bad NOLOGIN IN ROLE pg_execute_server_program", "reaches pg_execute_server_program"),
        ("CREATE ROLE bad NOLOGIN IN ROLE watchkey_manager", "reaches the management account"),
    ],
)
def test_a_group_that_leads_out_is_never_granted(
    open_house: Callable[..., LiveHouse], server: PostgresServer, group: str, why: str
) -> None:
    server.sql(group)
    try:
        house = open_house(groups={"read": ["orders_read", "bad"], "write": ["orders_write"]})
        house.watch.allow(ALICE, "read")
        with pytest.raises(psycopg.OperationalError, match="cannot be prepared for you"):
            psycopg.connect(house.dsn(ALICE))
        assert why in house.noted("lease.not_granted")[-1].fields["error"]
        assert until(lambda: accounts(server) == "")
    finally:
        server.sql("DROP ROLE bad")


@pytest.mark.every_server
def test_a_password_of_ones_own_ends_with_the_lease(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    (name,) = alice.execute("SELECT session_user").fetchone() or ("",)
    alice.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    around = psycopg.connect(
        f"host=127.0.0.1 port={server.port} dbname=orders user={name} password=mine", autocommit=True
    )
    end_of_lease(house)
    assert until(lambda: accounts(server) == "")
    with pytest.raises(psycopg.OperationalError):
        around.execute("SELECT 1")
    around.close()


OWN: dict[str, str] = {
    "security_definer": "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "view": "CREATE MATERIALIZED VIEW public.v AS SELECT 1",
    "trigger": "CREATE TABLE public.t (i int); CREATE TRIGGER z BEFORE UPDATE ON public.t"
    " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "rule": "CREATE TABLE public.r (i int); CREATE RULE z AS ON DELETE TO public.r DO ALSO NOTHING",
    "owned": "CREATE SEQUENCE public.s; CREATE TYPE public.e AS ENUM ('a'); SELECT lo_create(0)",
    "default_privilege": "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO orders_read",
}
"""By the kind that must be reported, what a lease may do in its own name."""
OTHERS: dict[str, str] = {
    "security_definer": "CREATE FUNCTION public.g() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 2'",
    "role": "CREATE ROLE intruder LOGIN",
    "membership": "GRANT orders_write TO intruder",
    "default_privilege": "ALTER DEFAULT PRIVILEGES FOR ROLE intruder GRANT SELECT ON TABLES TO PUBLIC",
    "trigger": "CREATE TRIGGER y BEFORE UPDATE ON orders FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "rule": "CREATE RULE y AS ON DELETE TO orders WHERE false DO ALSO NOTHING",
    "view": "CREATE VIEW public.w AS SELECT * FROM secrets",
    "event_trigger": "CREATE FUNCTION public.h() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    " CREATE EVENT TRIGGER y ON sql_drop EXECUTE FUNCTION public.h()",
    "publication": "CREATE PUBLICATION y FOR TABLE orders",
    "user_mapping": "CREATE FOREIGN DATA WRAPPER y; CREATE SERVER y FOREIGN DATA WRAPPER y;"
    " CREATE USER MAPPING FOR intruder SERVER y",
}
"""By the kind, what somebody with more rights could have been led to do meanwhile."""
UNDO = """
DROP EVENT TRIGGER y; DROP PUBLICATION y; DROP FOREIGN DATA WRAPPER y CASCADE; DROP VIEW public.w;
DROP RULE y ON orders;
DROP TRIGGER y ON orders; DROP FUNCTION public.g(), public.h(); DROP OWNED BY intruder; DROP ROLE intruder;
"""


@pytest.mark.every_server
def test_everything_that_a_lease_leaves_behind_is_reported(
    alice: psycopg.Connection[Any], house: LiveHouse, server: PostgresServer
) -> None:
    (name,) = alice.execute("SELECT session_user").fetchone() or ("",)
    for statements in OWN.values():
        alice.execute(statements)
    server.sql(";".join(OTHERS.values()), "orders")
    try:
        end_of_lease(house)
        assert until(lambda: bool(house.noted("lease.stuck")))
        residue = house.noted("lease.stuck")[-1].fields["residue"]
        own = {item.split(" ")[0] for item in residue if "not its own" not in item}
        others = {item.split(" ")[0] for item in residue if "not its own" in item}
        assert own >= OWN.keys()
        assert others >= OTHERS.keys()
        assert sum("large object" in item for item in residue) == 1
        # and an operator who asks the target alone is told of what the role owns
        (found,) = house.call(house.target.observe())
        assert {item.kind for item in house.call(house.target.residue(found.lease))} >= OWN.keys()
    finally:
        server.sql(f"DROP OWNED BY {name}; {UNDO}", "orders")
    assert until(lambda: accounts(server) == "")
