"""`portaldb verify` that does not get to its end: what it leaves behind, and that the next run removes it."""

import psycopg
from conftest import Portaldb, drop_database
from psycopg import conninfo
from support import ask, command, finish, kill, one, paragraph, until

from portaldb.cluster import Cluster
from portaldb.verify import run

THROWAWAYS = "SELECT datname::text FROM pg_database WHERE datname ~ '^portaldb_verify' ORDER BY 1"
THERE = "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^portaldb_verify'"
UNDER_WAY = f"{THERE} AND application_name = 'portaldb verify' AND state = 'active'"


def hear(said: list[str]) -> run.Say:
    """Give a run somebody who notes what it says."""

    def say(line: str, *, passing: bool = False) -> None:
        said.append(line)

    return say


def left_behind(server: str) -> str:
    """Kill a run midway, and return the name of the database that it leaves behind."""
    before = set(ask(server, THROWAWAYS))
    with command("verify", database=server) as process:
        until(lambda: one(server, UNDER_WAY), "the matrix to be under way")
        kill(process)
    until(lambda: not one(server, THERE), "the server to end the session")
    (left,) = set(ask(server, THROWAWAYS)) - before
    return str(left)


def test_verify_killed_is_cleaned_up_by_the_next(server: str) -> None:
    """What kill -9 leaves behind goes with the next run, which says so."""
    left = left_behind(server)
    said: list[str] = []
    with run.throwaway(server, [], hear(said)) as target:
        assert ask(server, THROWAWAYS) == [conninfo.conninfo_to_dict(target)["dbname"]]
    assert any(left in line for line in said)
    assert not ask(server, THROWAWAYS)


def test_verify_drops_nothing_but_what_a_run_left_behind(server: str) -> None:
    """A database of such a name that we did not make, one that is in use, one of a run under way: all stay."""
    foreign, used = "portaldb_verify_0123456789ab", "portaldb_verify_ba9876543210"
    try:
        for name in (foreign, used):
            ask(server, f"CREATE DATABASE {name}")
        ask(server, f"COMMENT ON DATABASE {used} IS '{run.MADE_BY}'")
        with (
            psycopg.connect(conninfo.make_conninfo(server, dbname=used)),
            run.throwaway(server, [], hear([])) as target,
        ):
            under_way = str(conninfo.conninfo_to_dict(target)["dbname"])
            with run.throwaway(server, [], hear([])):
                assert {foreign, used, under_way} <= set(ask(server, THROWAWAYS))
        with run.throwaway(server, [], hear([])):
            assert foreign in ask(server, THROWAWAYS)
            assert used not in ask(server, THROWAWAYS)
    finally:
        for name in (foreign, used):
            drop_database(server, name)


def test_verify_server_stopped_midway_is_told(portaldb: Portaldb) -> None:
    """A server that goes away is named in one paragraph, and after its return the next run cleans up."""
    cluster = Cluster.create_throwaway()
    try:
        server = cluster.url("postgres")
        with command("verify", database=server) as process:
            until(lambda: one(server, UNDER_WAY), "the matrix to be under way")
            cluster.stop()
            assert "connection was lost while trying who reaches what" in paragraph(finish(process), 3)
        cluster.start()
        assert len(ask(server, THROWAWAYS)) == 1
        with run.throwaway(server, [], hear([])):
            assert len(ask(server, THROWAWAYS)) == 1
    finally:
        cluster.destroy()
