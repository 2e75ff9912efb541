"""A primary and a streaming standby on one machine: what reads works on both, what writes says where, and promotion."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from conftest import Portaldb
from support import ask, one, paragraph, until

from portaldb import database
from portaldb.cluster import Cluster
from portaldb.errors import RefusedError
from portaldb.programs import run


@dataclass
class Pair:
    """Two servers of which one follows the other."""

    primary: Cluster
    standby: Cluster

    def url(self, attributes: str, login: str = "user=postgres") -> str:
        """Return the URL of both, which finds the one with these attributes."""
        hosts = f"host={self.standby.socket},{self.primary.socket}"
        if "password" in login:
            hosts = "host=127.0.0.1,127.0.0.1"  # where a password counts
        ports = f"port={self.standby.port},{self.primary.port}"
        return f"{hosts} {ports} dbname=mcp_portal {login} target_session_attrs={attributes}"


@pytest.fixture
def pair(portaldb: Portaldb) -> Iterator[Pair]:
    """Make a primary with the database, and a copy that follows it."""
    primary = Cluster.create_throwaway()
    base = Path(tempfile.mkdtemp(prefix="standby-"))
    base.chmod(0o755)
    (base / "run").mkdir()
    for path in (base, base / "run"):
        os.chown(path, primary.uid, -1)
    follower = replace(primary, base=base, socket=base / "run")
    try:
        portaldb("init", database=primary.url(), check=True)
        portaldb("migrate", database=primary.url(), check=True)
        ask(primary.url(), "INSERT INTO public.users (azure_oid, email) VALUES ('a', 'a@example.org')")
        ask(primary.url(), "CREATE ROLE watcher LOGIN PASSWORD 'secret' IN ROLE portal_monitor")
        where = ("-h", primary.socket, "-p", str(primary.port), "-U", "postgres")
        program = primary.programs / "pg_basebackup"
        run("copying", program, *where, "-D", follower.data, "-R", "-c", "fast", "-X", "stream", uid=primary.uid)
        follower = follower.start()
        yield Pair(primary, follower)
    finally:
        follower.destroy()
        primary.destroy()


def follows(pair: Pair) -> bool:
    """Say whether the standby has all that the primary has written."""
    written = one(pair.primary.url(), "SELECT pg_current_wal_insert_lsn()::text")
    return bool(one(pair.standby.url(), "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written))


READING: tuple[tuple[str, ...], ...] = (
    ("status", "--check", "--json"),
    ("drift", "--json"),
    ("plan", "--json"),
    ("runner", "status", "--json"),
)

WRITING: tuple[tuple[str, ...], ...] = (
    ("migrate",),
    ("rollback", "--steps", "1", "--yes"),
    ("init",),
    ("verify", "--live"),
    ("user", "promote", "a@example.org"),
    ("baseline", "--yes"),
)


def test_standby_reads_and_says_where_to_write_and_carries_on_when_promoted(
    pair: Pair, portaldb: Portaldb, tmp_path: Path
) -> None:
    """Status, drift and monitor answer as the primary does; a backup comes from the standby; then it is the primary."""
    until(lambda: follows(pair), "the standby to follow")
    reads, writes = pair.url("standby"), pair.url("read-write")
    for words in READING:
        there = json.loads(portaldb(*words, database=reads, check=True).stdout)
        assert there == json.loads(portaldb(*words, database=writes, check=True).stdout), words
    watcher = pair.url("standby", "user=watcher password=secret")
    seen = json.loads(portaldb("monitor", "--json", database=watcher, check=True).stdout)
    assert seen["server"]["standby"]
    assert seen["runway"]["days_left"] > 0
    assert not json.loads(portaldb("monitor", "--json", database=writes, check=True).stdout)["server"]["standby"]
    assert portaldb("doctor", database=reads).returncode in (0, 1)

    made = json.loads(portaldb("backup", "--folder", str(tmp_path), "--json", database=reads, check=True).stdout)
    assert made["rows"] > 100
    for verb in [*WRITING, ("restore", made["dump"], "--clean", "--yes")]:
        said = paragraph(portaldb(*verb, database=reads), 4)
        assert "standby" in said, verb
        assert "primary" in said, verb
    with (
        pytest.raises(RefusedError, match="primary"),
        psycopg.connect(reads) as connection,
        database.translated("writing"),
    ):
        connection.execute("DELETE FROM public.users")
    # A read-only copy of the same name would be a poor place for a drill, and the primary is a good one
    portaldb("backup", "verify", str(tmp_path), database=writes, check=True)

    jobs = one(pair.primary.url(), "SELECT count(*) FROM cron.job")
    ask(pair.primary.url(), "INSERT INTO public.jobs VALUES ('tick', '* * * * *', 'SELECT 1', 'Every minute.')")
    ask(pair.primary.url(), "SET ROLE mcp_admin; SELECT public.sync_cron_jobs()")
    until(lambda: follows(pair), "the standby to follow")
    pair.primary.stop(fast=False)
    # No server is writable now, and the message says so
    assert "Could not connect" in paragraph(portaldb("status", database=writes), 3)
    ask(pair.standby.url(), "SELECT pg_promote()")
    assert not json.loads(portaldb("monitor", "--json", database=writes, check=True).stdout)["server"]["standby"]
    portaldb("rollback", "--steps", "1", "--yes", database=writes, check=True)
    portaldb("migrate", database=writes, check=True)
    portaldb("status", "--check", database=writes, check=True)
    assert one(pair.standby.url(), "SELECT count(*) FROM cron.job") == jobs + 1
    with psycopg.connect(pair.standby.url(), autocommit=True) as connection:
        connection.execute("SET ROLE portal_maintenance")
        connection.execute("SELECT public.ensure_audit_partitions(6)")
    until(
        lambda: one(
            pair.standby.url(),
            "SELECT count(*) FROM cron.job_run_details JOIN cron.job USING (jobid) "
            "WHERE jobname = 'tick' AND status = 'succeeded'",
        ),
        "pg_cron to run a job where nothing ran before the promotion",
        150,
    )


def test_multi_host_url_is_described_and_read(pair: Pair, portaldb: Portaldb) -> None:
    """A URL with two hosts works in both forms, in any order, for what writes too."""
    hosts = f"{pair.standby.socket}:{pair.standby.port},{pair.primary.socket}:{pair.primary.port}".replace("/", "%2F")
    url = f"postgresql://postgres@{hosts}/mcp_portal?target_session_attrs=primary"
    portaldb("status", "--check", database=url, check=True)
    assert "Nothing to do" in portaldb("migrate", database=url, check=True).stdout
    portaldb("init", database=url, check=True)
