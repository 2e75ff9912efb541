"""What `plan` says of a statement is what a real server does: its locks, its rewrites, its scans.

Each statement runs in a transaction on tables with rows. pg_locks is read before the rollback, a rewrite shows as
another file of the table, a scan in the transaction's own statistics; then they are held against effects().
"""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from conftest import ROOT, drop_database
from psycopg import conninfo, sql

from portaldb import lint, squawk
from portaldb.locks import BLOCKS, UNKNOWN, dispatch, effects, of_tree, series
from portaldb.source import UnparsableError, split

STRENGTH = list(BLOCKS)

SCHEMA = """
CREATE EXTENSION "uuid-ossp";
CREATE ROLE {role};
CREATE SCHEMA elsewhere;
CREATE DOMAIN small AS int CONSTRAINT small_check CHECK (VALUE < 1000000);
CREATE DOMAIN plain AS int;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b int);
CREATE TYPE single AS (id int);

CREATE TABLE users (
    id int CONSTRAINT users_pkey PRIMARY KEY,
    email varchar(50) NOT NULL,
    role text DEFAULT 'x',
    age int,
    score numeric(8, 2),
    born timestamptz DEFAULT now(),
    d plain
);
INSERT INTO users SELECT i, 'u' || i, 'x', 1, 1 FROM generate_series(1, 200) i;
ALTER TABLE users ADD CONSTRAINT users_age_check CHECK (age > 0) NOT VALID;
CREATE INDEX users_email ON users (email);
CREATE UNIQUE INDEX users_unique ON users (id, email);

CREATE TABLE sessions (id int PRIMARY KEY, user_id int CONSTRAINT sessions_fkey REFERENCES users, token text);
INSERT INTO sessions SELECT i, i FROM generate_series(1, 100) i;
CREATE TABLE loose (id int, user_id int, CONSTRAINT loose_fkey FOREIGN KEY (user_id) REFERENCES users NOT VALID);
ALTER TABLE loose DROP CONSTRAINT loose_fkey;
ALTER TABLE loose ADD CONSTRAINT loose_fkey FOREIGN KEY (user_id) REFERENCES users NOT VALID;
INSERT INTO loose SELECT i, i FROM generate_series(1, 100) i;

CREATE TABLE logs (at int NOT NULL, what text, user_id int) PARTITION BY RANGE (at);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (100);
CREATE TABLE logs_default PARTITION OF logs DEFAULT;
INSERT INTO logs SELECT i, 'x' FROM generate_series(1, 200) i;
CREATE TABLE logs_3 (at int NOT NULL, what text, user_id int);
INSERT INTO logs_3 VALUES (1001, 'x');

CREATE TABLE parent (a int);
CREATE TABLE child (a int);
CREATE TABLE heir () INHERITS (parent);

CREATE VIEW adults AS SELECT id, born FROM users WHERE d > 17;
CREATE MATERIALIZED VIEW mat AS SELECT id, born FROM users;
CREATE UNIQUE INDEX mat_id ON mat (id);
CREATE SEQUENCE seq;
CREATE TABLE counted (id int);
INSERT INTO counted SELECT generate_series(1, 100);

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION steady() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY users_all ON users USING (true);
CREATE RULE sessions_rule AS ON DELETE TO sessions DO ALSO NOTHING;
CREATE STATISTICS stats ON id, age FROM users;
ANALYZE;
"""

STATEMENTS = """
CREATE TABLE fresh (id int PRIMARY KEY)
CREATE TABLE fresh (id int, user_id int REFERENCES users (id))
CREATE TABLE fresh (id int, user_id int, FOREIGN KEY (user_id) REFERENCES users (id))
CREATE TABLE fresh (LIKE users INCLUDING ALL)
CREATE TABLE fresh () INHERITS (parent)
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (300) TO (400)
CREATE TABLE fresh AS SELECT * FROM users
CREATE TABLE fresh AS SELECT * FROM users WITH NO DATA
CREATE TEMP TABLE fresh AS TABLE users
SELECT * INTO fresh FROM users
CREATE MATERIALIZED VIEW fresh AS SELECT * FROM users
CREATE VIEW fresh AS SELECT users.email FROM users JOIN sessions ON sessions.user_id = users.id
CREATE OR REPLACE VIEW adults AS SELECT id, born FROM users WHERE d > 20
CREATE INDEX fresh ON users (age)
CREATE UNIQUE INDEX fresh ON users (email)
CREATE INDEX fresh ON logs (what)
CREATE INDEX fresh ON ONLY logs (what)
CREATE SEQUENCE fresh
CREATE SEQUENCE fresh OWNED BY counted.id
CREATE STATISTICS fresh ON email, age FROM users
ALTER SEQUENCE seq INCREMENT 2
ALTER SEQUENCE seq OWNED BY counted.id
ALTER TABLE users ADD COLUMN fresh int
ALTER TABLE users ADD COLUMN fresh int DEFAULT 1
ALTER TABLE users ADD COLUMN fresh int NOT NULL DEFAULT 1
ALTER TABLE users ADD COLUMN fresh timestamptz DEFAULT now()
ALTER TABLE users ADD COLUMN fresh timestamptz DEFAULT clock_timestamp()
ALTER TABLE users ADD COLUMN fresh uuid DEFAULT uuid_generate_v4()
ALTER TABLE users ADD COLUMN fresh uuid DEFAULT gen_random_uuid()
ALTER TABLE users ADD COLUMN fresh serial
ALTER TABLE users ADD COLUMN fresh int GENERATED ALWAYS AS IDENTITY
ALTER TABLE users ADD COLUMN fresh int GENERATED ALWAYS AS (id + 1) STORED
ALTER TABLE users ADD COLUMN fresh int CONSTRAINT positive CHECK (fresh > 0)
ALTER TABLE users ADD COLUMN fresh int UNIQUE
ALTER TABLE users ADD COLUMN fresh small
ALTER TABLE users ADD COLUMN fresh plain
ALTER TABLE users ADD COLUMN fresh mood
ALTER TABLE users ADD COLUMN fresh int DEFAULT steady()
ALTER TABLE users ADD COLUMN fresh text[] DEFAULT '{}', ADD COLUMN fresher jsonb NOT NULL DEFAULT '{}'
ALTER TABLE counted ADD COLUMN user_id int REFERENCES users (id)
ALTER TABLE counted ADD COLUMN user_id int DEFAULT 1 REFERENCES users (id)
ALTER TABLE logs ADD COLUMN fresh int
ALTER TABLE users DROP COLUMN score
ALTER TABLE users ALTER COLUMN email DROP NOT NULL
ALTER TABLE users ALTER COLUMN age SET NOT NULL
ALTER TABLE users ALTER COLUMN age SET DEFAULT 5
ALTER TABLE users ALTER COLUMN age DROP DEFAULT
ALTER TABLE users ALTER COLUMN age SET STATISTICS 500
ALTER TABLE users ALTER COLUMN age SET (n_distinct = 5)
ALTER TABLE users ALTER COLUMN age RESET (n_distinct)
ALTER TABLE users ALTER COLUMN role SET STORAGE EXTENDED
ALTER TABLE users ALTER COLUMN role SET COMPRESSION pglz
ALTER TABLE users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY
ALTER TABLE users ALTER COLUMN email TYPE varchar(100)
ALTER TABLE users ALTER COLUMN email TYPE text
ALTER TABLE users ALTER COLUMN email TYPE varchar(20)
ALTER TABLE users ALTER COLUMN age TYPE bigint
ALTER TABLE users ALTER COLUMN age TYPE bigint USING age::bigint
ALTER TABLE users ALTER COLUMN role TYPE text USING lower(role)
ALTER TABLE users ALTER COLUMN score TYPE numeric(10, 2)
ALTER TABLE users ADD CONSTRAINT fresh CHECK (id > 0)
ALTER TABLE users ADD CONSTRAINT fresh CHECK (id > 0) NOT VALID
ALTER TABLE users ADD CONSTRAINT fresh UNIQUE (email)
ALTER TABLE users ADD CONSTRAINT fresh UNIQUE USING INDEX users_unique
ALTER TABLE counted ADD CONSTRAINT fresh PRIMARY KEY (id)
ALTER TABLE users ADD CONSTRAINT fresh EXCLUDE USING btree (email WITH =)
ALTER TABLE counted ADD CONSTRAINT fresh FOREIGN KEY (id) REFERENCES users (id)
ALTER TABLE counted ADD CONSTRAINT fresh FOREIGN KEY (id) REFERENCES users (id) NOT VALID
ALTER TABLE users VALIDATE CONSTRAINT users_age_check
ALTER TABLE loose VALIDATE CONSTRAINT loose_fkey
ALTER TABLE sessions DROP CONSTRAINT sessions_fkey
ALTER TABLE sessions ALTER CONSTRAINT sessions_fkey DEFERRABLE
ALTER TABLE users DROP CONSTRAINT users_age_check
ALTER TABLE users SET (fillfactor = 70)
ALTER TABLE users SET (autovacuum_enabled = false, parallel_workers = 2)
ALTER TABLE users SET (user_catalog_table = true)
ALTER TABLE users RESET (fillfactor)
ALTER TABLE users ENABLE ROW LEVEL SECURITY
ALTER TABLE users FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY
ALTER TABLE users NO FORCE ROW LEVEL SECURITY
ALTER TABLE users OWNER TO {role}
ALTER TABLE users RENAME TO people
ALTER TABLE users RENAME COLUMN age TO years
ALTER TABLE users RENAME CONSTRAINT users_age_check TO fresh
ALTER TABLE counted SET SCHEMA elsewhere
ALTER TABLE users DISABLE TRIGGER users_touch
ALTER TABLE users ENABLE TRIGGER ALL
ALTER TABLE users ENABLE ALWAYS TRIGGER users_touch
ALTER TABLE users REPLICA IDENTITY FULL
ALTER TABLE users CLUSTER ON users_email
ALTER TABLE users SET WITHOUT CLUSTER
ALTER TABLE counted SET UNLOGGED
ALTER TABLE child INHERIT parent
ALTER TABLE heir NO INHERIT parent
ALTER TABLE logs ATTACH PARTITION logs_3 FOR VALUES FROM (1000) TO (1100)
ALTER TABLE logs DETACH PARTITION logs_1
ALTER TABLE counted OF single
ALTER TABLE sessions DISABLE RULE sessions_rule
ALTER INDEX users_email RENAME TO fresh
ALTER INDEX users_email SET (fillfactor = 50)
ALTER VIEW adults SET (security_invoker = true)
ALTER VIEW adults RENAME TO grown
ALTER TYPE pair ADD ATTRIBUTE c int
ALTER TYPE mood ADD VALUE 'odd'
ALTER DOMAIN plain ADD CONSTRAINT fresh CHECK (VALUE > 0)
ALTER DOMAIN plain ADD CONSTRAINT fresh CHECK (VALUE > 0) NOT VALID
ALTER DOMAIN plain SET DEFAULT 1
CREATE POLICY fresh ON users USING (EXISTS (SELECT FROM sessions WHERE sessions.user_id = users.id))
ALTER POLICY users_all ON users USING (false)
ALTER POLICY users_all ON users RENAME TO fresh
DROP POLICY users_all ON users
CREATE TRIGGER fresh BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch()
ALTER TRIGGER users_touch ON users RENAME TO fresh
DROP TRIGGER users_touch ON users
CREATE RULE fresh AS ON INSERT TO sessions DO ALSO NOTHING
DROP RULE sessions_rule ON sessions
DROP TABLE counted
DROP TABLE sessions
DROP TABLE logs_1
DROP VIEW adults
DROP MATERIALIZED VIEW mat
DROP INDEX users_email
DROP SEQUENCE seq
DROP FUNCTION steady()
DROP SCHEMA elsewhere
DROP TYPE mood
COMMENT ON TABLE users IS 'x'
COMMENT ON COLUMN users.id IS 'x'
COMMENT ON CONSTRAINT users_age_check ON users IS 'x'
COMMENT ON POLICY users_all ON users IS 'x'
COMMENT ON TRIGGER users_touch ON users IS 'x'
COMMENT ON INDEX users_email IS 'x'
COMMENT ON VIEW adults IS 'x'
COMMENT ON FUNCTION steady() IS 'x'
GRANT SELECT ON users TO {role}
GRANT UPDATE (email) ON users TO {role}
REVOKE ALL ON users FROM PUBLIC
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}
CREATE FUNCTION fresh() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM users; END
CREATE FUNCTION fresh() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users'
CREATE FUNCTION fresh() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM users); END'
CREATE PUBLICATION fresh FOR TABLE users
INSERT INTO counted VALUES (1)
INSERT INTO counted SELECT id FROM users
UPDATE counted SET id = 1
UPDATE counted SET id = 1 WHERE id = 2
UPDATE counted SET id = 1 FROM users WHERE users.id = counted.id
DELETE FROM counted
DELETE FROM counted USING users WHERE users.id = counted.id
WITH gone AS (DELETE FROM counted RETURNING id) INSERT INTO child SELECT id FROM gone
MERGE INTO counted USING users ON users.id = counted.id WHEN MATCHED THEN DELETE
SELECT * FROM users
SELECT u.id FROM users u JOIN counted ON true FOR UPDATE OF u
SELECT * FROM users FOR SHARE
TRUNCATE counted
TRUNCATE users, sessions, loose
LOCK TABLE users IN SHARE MODE
LOCK TABLE users IN ROW EXCLUSIVE MODE
LOCK TABLE users
REFRESH MATERIALIZED VIEW mat
REFRESH MATERIALIZED VIEW CONCURRENTLY mat
CLUSTER users USING users_email
REINDEX TABLE users
REINDEX INDEX users_email
ANALYZE users
COPY counted FROM '/dev/null'
DO $$ BEGIN UPDATE counted SET id = 1; PERFORM 1 FROM users; END $$
DO $$ DECLARE n int; BEGIN n := (SELECT count(*) FROM users); EXECUTE 'LOCK TABLE counted'; END $$
DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM users LOOP DELETE FROM counted WHERE id = r.id; END LOOP; END $$
"""

CASES = [line for line in STATEMENTS.strip().splitlines() if line]

OUTSIDE = {
    "CREATE INDEX CONCURRENTLY fresh ON users (age)": "users",
    "DROP INDEX CONCURRENTLY users_email": "users",
    "REINDEX INDEX CONCURRENTLY users_email": "users",
    "REINDEX TABLE CONCURRENTLY users": "users",
    "ALTER TABLE logs DETACH PARTITION logs_1 CONCURRENTLY": "logs",
    "VACUUM users": "users",
    "VACUUM (FULL) users": "users",
}
"""What PostgreSQL refuses inside a transaction, with the table that it waits for."""


Relation = tuple[str, str, int]
"""A relation's name, kind and file."""


@pytest.fixture(scope="module")
def database(server: str) -> Iterator[str]:
    """Make the tables once: every statement is rolled back."""
    name = f"test_locks_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = conninfo.make_conninfo(server, dbname=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA.replace("{role}", name).encode())
    yield url
    drop_database(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def relations(connection: psycopg.Connection[Any]) -> dict[int, Relation]:
    """Return every relation of ours by its oid."""
    rows = connection.execute(
        "SELECT c.oid, c.oid::regclass::text, relkind, relfilenode FROM pg_class AS c "
        "WHERE relnamespace::regnamespace::text IN ('public', 'elsewhere')"
    )
    return {oid: (name, kind, file) for oid, name, kind, file in rows}


def locks(
    connection: psycopg.Connection[Any], pid: int, known: dict[int, Relation], *, granted: bool = True
) -> dict[str, str]:
    """Return the strongest lock that a backend has, or waits for, on each relation that was there before."""
    rows = connection.execute(
        "SELECT relation, upper(regexp_replace(regexp_replace(mode, 'Lock$', ''), '([a-z])([A-Z])', '\\1 \\2', 'g')) "
        "FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND granted = %s",
        [pid, granted],
    ).fetchall()
    found: dict[str, str] = {}
    for oid, lock in rows:
        if oid in known:
            name = known[oid][0]
            found[name] = max(found.get(name, ""), lock, key=STRENGTH.index)
    return found


PARTITIONS = {"logs_1": "logs", "logs_default": "logs", "heir": "parent"}
"""What is locked like its parent, which the statement names."""

QUERIES = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COPY", "DO")
"""Where the planner decides what is scanned, and readers and writers go on."""


@pytest.mark.parametrize("statement", CASES)
def test_locks_are_those_of_the_server(statement: str, database: str) -> None:
    """Every lock, rewrite and scan on tables that were there is told, and none that is not."""
    role = conninfo.conninfo_to_dict(database)["dbname"]
    statement = statement.replace("{role}", str(role))
    told = effects(statement)
    with psycopg.connect(database) as connection:
        before = relations(connection)
        connection.rollback()
        connection.execute(statement.encode())
        held = locks(connection, connection.info.backend_pid, before)
        after = relations(connection)
        scanned = {
            before[oid][0]
            for (oid,) in connection.execute("SELECT relid FROM pg_stat_xact_user_tables WHERE seq_scan > 0")
            if oid in before
        }
        connection.rollback()
    kinds = {name: kind for name, kind, _ in before.values()}
    rewritten = {name for oid, (name, _, file) in before.items() if after.get(oid, ("", "", file))[2] != file}
    assert told, "silence"
    named = {effect.relation: effect for effect in told if effect.relation}
    unnamed = {effect.lock for effect in told if not effect.relation}
    for name, lock in held.items():
        effect = named.get(name) or named.get(PARTITIONS.get(name, ""))
        if effect and effect.lock == lock:
            continue
        # An index is locked with its table, and what a statement does not name is told without a name.
        assert kinds[name] == "i" or lock in unnamed, f"{name}: the server takes {lock}, told {told}"
    for name, effect in named.items():
        if name not in kinds or not effect.lock:
            continue  # made here
        assert held.get(name) == effect.lock, f"{name}: told {effect.lock}, the server takes {held.get(name)}"
        if kinds[name] not in "rm" or statement.startswith(QUERIES) or effect.lock == "ACCESS SHARE":
            continue
        if effect.certain:
            assert effect.rewrites == (name in rewritten), f"{name}: rewritten {name in rewritten}, told {effect}"
            assert effect.rewrites or effect.scans == (name in scanned), f"{name}: scanned {scanned}, told {effect}"
        else:
            # 'May': never less than what happened.
            assert effect.rewrites or name not in rewritten, f"{name}: rewritten, told {effect}"
            assert effect.rewrites or effect.scans or name not in scanned, f"{name}: scanned, told {effect}"


@pytest.mark.parametrize("statement", OUTSIDE)
def test_locks_outside_a_transaction_are_those_of_the_server(statement: str, database: str) -> None:
    """The lock that the server waits for, behind a transaction that lets readers in alone, is the one told."""
    table = OUTSIDE[statement]
    told = effects(statement)
    expected = next((each.lock for each in told if each.relation == table), "") or told[-1].lock
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as runner:
        known = relations(holder)
        holder.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.Identifier(table)))
        thread = threading.Thread(target=ends, args=(runner, statement))
        thread.start()
        wanted: dict[str, str] = {}
        deadline = time.monotonic() + 20
        while not wanted and time.monotonic() < deadline:
            wanted = locks(holder, runner.info.backend_pid, known, granted=False)
        runner.cancel_safe()
        thread.join(30)
        assert not thread.is_alive()
    assert wanted == {table: expected}


def ends(connection: psycopg.Connection[Any], statement: str) -> None:
    """Run a statement until it is cancelled."""
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'users'); END $$", "put together at run time"),
        ("DO $$ BEGIN PERFORM public.anything(); END $$", "public.anything()"),
        ("DO LANGUAGE plperl $$ 1 $$", "plperl"),
        ("SELECT public.anything(1)", "public.anything()"),
        ("UPDATE users SET age = anything(age)", "anything()"),
        ("CALL public.anything()", "public.anything()"),
        ("EXECUTE prepared", "prepared"),
        ("CREATE EXTENSION pgcrypto", "pgcrypto"),
        ("ALTER EXTENSION pgcrypto UPDATE", "pgcrypto"),
    ],
)
def test_locks_of_code_are_said_to_be_unknown(statement: str, said: str) -> None:
    """What cannot be read from a statement is told as unknown, with its reason."""
    assert any(each.lock == UNKNOWN and each.blocks == "unknown" and said in each.why for each in effects(statement))


def test_locks_of_every_command_are_told() -> None:
    """Every statement of this tree, and every kind of lock, comes out with a reason; none is silent."""
    for path in lint.sql_files([folder for folder in lint.default_paths() if folder.name != "sql"]):
        for statement in split(path.read_text(encoding="utf-8")):
            told = effects(statement.text)
            assert told, statement.text
            assert all(each.why and each.blocks in BLOCKS.values() for each in told)
            assert not any("has no rule here" in each.why for each in told), statement.text


def test_locks_of_every_kind_of_command_are_told() -> None:
    """PostgreSQL's other commands are told too, those that no migration of ours has used yet."""
    lines = (ROOT / "tests" / "py" / "data" / "commands.sql").read_text(encoding="utf-8").splitlines()
    for command in lines[1:]:
        told = effects(command)
        assert told, command
        assert not any("has no rule here" in each.why or "not in our rules" in each.why for each in told), command


def test_locks_of_a_command_without_a_rule_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that a later PostgreSQL brings is not taken for harmless."""
    monkeypatch.delitem(dispatch.HANDLERS, "LockStmt")
    assert [each.lock for each in effects("LOCK TABLE users")] == [UNKNOWN]


def test_locks_of_a_subcommand_without_a_rule_are_the_strongest() -> None:
    """Nor is an ALTER TABLE that we do not know."""
    tree = {"AlterTableStmt": {"relation": {"relname": "t"}, "cmds": [{"AlterTableCmd": {"subtype": "AT_Later"}}]}}
    [told] = of_tree(tree)
    assert (told.lock, told.rewrites, told.certain) == ("ACCESS EXCLUSIVE", True, False)


def test_locks_of_text_that_is_no_sql_are_an_error() -> None:
    """A text that the parser does not know has no effects to tell."""
    with pytest.raises(UnparsableError):
        effects("ALTER TABEL users")


def test_series_blocks_nobody_on_its_own_tables() -> None:
    """A table made earlier in the run has no readers to keep waiting; one that was there has."""
    text = "CREATE TABLE a.t (id int); CREATE INDEX ON a.t (id); CREATE INDEX ON a.u (id); ALTER TABLE a.t ADD x int"
    told = series(each.tree for each in split(text))
    assert [[each.blocks for each in row] for row in told] == [[""], [""], ["writes"], [""]]
    assert [row[0].lock for row in told][1] == "SHARE"


def test_effects_name_relations_as_the_server_reads_them() -> None:
    """A name that must be quoted is quoted; to_regclass() takes it."""
    assert [each.relation for each in effects('LOCK TABLE "Odd".t, "a""b", plain')] == ['"Odd".t', '"a""b"', "plain"]


def test_effects_of_one_relation_are_one() -> None:
    """Several subcommands make one effect with the strongest lock and all that is done."""
    [told] = effects("ALTER TABLE t SET (fillfactor = 50), ADD CHECK (a > 0) NOT VALID, ADD b int DEFAULT random()")
    assert told.lock == "ACCESS EXCLUSIVE"
    assert told.rewrites
    assert not told.scans
    assert "fillfactor" in told.why
    assert "random()" in told.why


def test_rules_named_are_squawk_s() -> None:
    """Where an effect names a rule of squawk's, squawk has something to say about that statement."""
    wanted = {
        "CREATE INDEX i ON t (a)": "require-concurrent-index-creation",
        "DROP INDEX i": "require-concurrent-index-deletion",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)": "constraint-missing-not-valid",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)": "disallowed-unique-constraint",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (a)": "adding-foreign-key-constraint",
        "ALTER TABLE t ALTER a SET NOT NULL": "adding-not-nullable-field",
        "ALTER TABLE t ALTER a TYPE bigint": "changing-column-type",
        "ALTER TABLE t ADD a int NOT NULL": "adding-required-field",
        "ALTER TABLE t ADD a uuid DEFAULT gen_random_uuid()": "adding-field-with-default",
        "ALTER TABLE t DROP a": "ban-drop-column",
        "ALTER TABLE t RENAME a TO b": "renaming-column",
        "ALTER TABLE t RENAME TO u": "renaming-table",
        "ALTER TABLE t DETACH PARTITION p": "require-concurrent-partition-detach",
        "DROP TABLE t": "ban-drop-table",
        "TRUNCATE t CASCADE": "ban-truncate-cascade",
        "REINDEX TABLE t": "require-concurrent-reindex",
        "ALTER TABLE t ALTER a DROP NOT NULL": "ban-drop-not-null",
        "ALTER TABLE t DROP CONSTRAINT a": "ban-drop-constraint",
        "ALTER TABLE t SET SCHEMA a": "ban-set-schema",
        "ALTER TABLE t ADD a serial": "prefer-identity",
        "ALTER TABLE t ADD a int GENERATED ALWAYS AS (1) STORED": "adding-field-with-default",
        "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 1)": "ban-alter-domain-with-add-constraint",
        "DROP VIEW v": "ban-drop-view",
    }
    for statement, rule in wanted.items():
        assert rule in {each.rule for each in effects(statement)}, statement
        assert rule in {each.rule for each in squawk.findings(f"{statement};\n", in_transaction=False)}, statement
