"""Jobs run by pg_cron and by `portaldb jobs`: the same history, one at a time, until nothing is left."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from conftest import Login, MakeDatabase, Portaldb
from support import ask, command, finish, one, paragraph, until, waits_for_lock

from portaldb import jobs
from portaldb.cluster import Cluster


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database without pg_cron, as most have none."""
    return make_database(migrate=True)


def old_entries(url: str, rows: int, month: str = "2024-01") -> None:
    """Add entries that are older than the retention."""
    ask(
        url,
        "INSERT INTO public.audit_logs (action, timestamp) "
        "SELECT 'login', %s::timestamptz + n * interval '1 second' FROM generate_series(1, %s) AS n",
        f"{month}-10 00:00+00",
        rows,
    )


def add_job(url: str, name: str, statement: str, *, schedule: str = "* * * * *", repeats: bool = False) -> None:
    """Put a job into the registry."""
    ask(
        url,
        "INSERT INTO public.jobs (name, schedule, command, repeats, description) VALUES (%s, %s, %s, %s, 'x')",
        name,
        schedule,
        statement,
        repeats,
    )


def job(**changes: object) -> jobs.Job:
    """Return a job that runs at two o'clock, and last ran a minute after two."""
    at = datetime(2026, 3, 29, 2, 1, tzinfo=UTC)
    values: dict[str, object] = dict.fromkeys(
        (
            "last_finished_at", "last_result", "last_seconds", "last_calls", "last_affected", "last_note",
            "last_runner", "last_success_at",
        )
    )  # fmt: skip
    values |= {"name": "x", "schedule": "0 2 * * *", "command": "SELECT 1", "is_active": True, "last_started_at": at}
    values |= {"run_at": at, "now": at + timedelta(hours=1)}
    return jobs.Job(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, False),
        ({"now": datetime(2026, 3, 30, 1, 59, 59, tzinfo=UTC)}, False),
        ({"now": datetime(2026, 3, 30, 2, 0, 1, tzinfo=UTC)}, True),
        ({"now": datetime(2026, 6, 30, 12, tzinfo=UTC)}, True),  # it did not run for three months
        ({"run_at": None}, True),  # nor ever
        ({"is_active": False, "run_at": None}, False),
        ({"schedule": "whenever", "run_at": None}, False),
        ({"schedule": "0 2 29 2 *"}, False),  # the next is in a leap year
        ({"now": datetime(2026, 3, 30, 4, 1, tzinfo=datetime.fromisoformat("2026-01-01T00:00+02:00").tzinfo)}, True),
    ],
)
def test_due(changes: dict[str, object], due: bool) -> None:
    """A job is due once its schedule, in GMT, has come since it last ran."""
    assert job(**changes).due is due


def test_run_calls_until_nothing_is_left(url: str, portaldb: Portaldb) -> None:
    """One run drops partition after partition and deletes the boundary, each call in a transaction; it adds up."""
    old_entries(url, 30)
    old_entries(url, 20, "2024-02")
    old_entries(url, 7, "2001-01")
    ask(url, f"ALTER DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} SET portal.cleanup_limit = '3'")
    (found,) = json.loads(portaldb("jobs", "run", "cleanup-audit-logs", "--json", database=url, check=True).stdout)
    assert (found["result"], found["calls"], found["affected"]) == ("succeeded", 6, 57)
    assert ask(url, "SELECT count(*) FROM public.audit_logs") == [0]
    assert ask(url, "SELECT runner, result FROM public.job_runs") == [("portaldb jobs", "succeeded")]
    listed = json.loads(portaldb("jobs", "list", "--json", database=url, check=True).stdout)
    assert {each["name"] for each in listed if each["due"]} == {
        "cleanup-job-runs",
        "cleanup-sessions",
        "ensure-audit-partitions",
    }


def test_run_tells_a_failure(url: str, portaldb: Portaldb) -> None:
    """A job that fails is in the history with its error; earlier calls stay, and the exit code says so."""
    ask(url, "CREATE TABLE public.steps (n int); GRANT SELECT, INSERT ON public.steps TO portal_maintenance")
    ask(
        url,
        "CREATE FUNCTION public.step() RETURNS integer LANGUAGE sql AS "
        "'INSERT INTO public.steps VALUES (1); SELECT 1 / (2 - count(*))::int FROM public.steps'; "
        "GRANT EXECUTE ON FUNCTION public.step() TO portal_maintenance",
    )
    add_job(url, "step", "SELECT public.step()", repeats=True)
    done = portaldb("jobs", "run", "step", database=url)
    assert done.returncode == 1
    assert "division by zero" in done.stdout
    assert ask(url, "SELECT result, calls, note FROM public.job_runs") == [("failed", 2, "division by zero")]
    assert portaldb("jobs", "list", database=url).returncode == 1


def test_unknown_job_is_named(url: str, portaldb: Portaldb) -> None:
    """What is no job is refused, with those that are."""
    assert "cleanup-sessions" in paragraph(portaldb("jobs", "run", "cleanup", database=url), 2)


def test_login_without_the_role_is_told(url: str, portaldb: Portaldb, login: Login) -> None:
    """A service's login runs nothing."""
    assert "portal_maintenance" in paragraph(portaldb("jobs", "run", "--due", database=login(url, "portal_app")), 8)


@contextmanager
def reader_of(url: str, relation: str) -> Iterator[None]:
    """Keep a transaction open that has read a relation, as a report or a dump does."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SELECT count(*) FROM {relation}".encode())
        yield


def test_lock_that_is_not_had_is_left_to_the_next_run(url: str, portaldb: Portaldb) -> None:
    """While somebody reads the trail nothing is dropped and nothing fails; the next run does it."""
    old_entries(url, 5)
    with reader_of(url, "public.audit_logs"):
        (found,) = json.loads(portaldb("jobs", "run", "cleanup-audit-logs", "--json", database=url, check=True).stdout)
        assert (found["result"], found["calls"], found["affected"]) == ("unfinished", 5, 0)
        assert found["note"] == "a lock was not had in time"
        assert one(url, "SELECT count(*) FROM public.audit_logs") == 5
    (found,) = json.loads(portaldb("jobs", "run", "cleanup-audit-logs", "--json", database=url, check=True).stdout)
    assert (found["result"], found["affected"]) == ("succeeded", 5)


def test_partition_is_made_beside_writers_and_waits_for_readers(url: str) -> None:
    """A partition is made while a transaction is open that has written; one that has read keeps it from nothing else.

    Who reads the trail reads the default partition with it, which a new one is taken out of.
    """
    made = "SELECT to_regclass('public.audit_logs_2040_01') IS NOT NULL"
    make = "SELECT public.ensure_audit_partitions(0, '2040-01-15')"
    with psycopg.connect(url) as other:
        other.execute("INSERT INTO public.audit_logs (action) VALUES ('login')")
        assert one(url, make) == 1
        assert one(url, made)
        other.execute("INSERT INTO public.audit_logs (action) VALUES ('logout')")
        other.commit()
        ask(url, "SET ROLE mcp_admin; DROP TABLE public.audit_logs_2040_01")
        other.execute("SELECT count(*) FROM public.audit_logs")
        assert one(url, make) == 0
        assert not one(url, made)
        ask(url, "INSERT INTO public.audit_logs (action) VALUES ('login')")
    assert one(url, make) == 1


def test_job_runs_once_at_a_time(url: str, portaldb: Portaldb) -> None:
    """A job that is being run is left alone by a second runner, and its own run goes on."""
    ask(url, "CREATE TABLE public.gate (); GRANT SELECT ON public.gate TO portal_maintenance")
    add_job(url, "slow", "SELECT count(*) FROM public.gate")
    with psycopg.connect(url) as gate:
        gate.execute("LOCK TABLE public.gate")
        with command("jobs", "run", "slow", database=url) as first:
            until(waits_for_lock(url, "portaldb jobs"), "the first run to wait")
            assert one(url, "SELECT last_result FROM public.job_status WHERE name = 'slow'") == "running"
            done = portaldb("jobs", "run", "slow", database=url, check=True)
            assert "being run elsewhere" in done.stdout
            gate.rollback()
            assert finish(first).returncode == 0
    assert ask(url, "SELECT result FROM public.job_runs WHERE job = 'slow'") == ["succeeded"]


def test_run_that_was_killed_is_lost_and_the_next_one_runs(url: str, portaldb: Portaldb) -> None:
    """The server ends the run of a client that died; the next run says that it was lost."""
    ask(url, "CREATE TABLE public.gate (); GRANT SELECT ON public.gate TO portal_maintenance")
    add_job(url, "slow", "SELECT count(*) FROM public.gate")
    with psycopg.connect(url) as gate:
        gate.execute("LOCK TABLE public.gate")
        with command("jobs", "run", "slow", database=url):
            until(waits_for_lock(url, "portaldb jobs"), "the run to wait")
            ask(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portaldb jobs' "
                "AND datname = current_database()",
            )
    portaldb("jobs", "run", "slow", database=url, check=True)
    found = ask(url, "SELECT result FROM public.job_runs WHERE job = 'slow' ORDER BY started_at")
    assert found == ["lost", "succeeded"]


def test_due_runs_each_job_once(url: str, portaldb: Portaldb) -> None:
    """What is due is run once, and not again before its schedule comes."""
    add_job(url, "yearly", "SELECT 1", schedule="0 0 1 1 *")
    first = json.loads(portaldb("jobs", "run", "--due", "--json", database=url, check=True).stdout)
    assert {each["job"] for each in first} >= {"yearly", "cleanup-audit-logs", "ensure-audit-partitions"}
    second = json.loads(portaldb("jobs", "run", "--due", "--json", database=url, check=True).stdout)
    assert "yearly" not in {each["job"] for each in second}
    ask(url, "UPDATE public.job_runs SET started_at = started_at - interval '2 years' WHERE job = 'yearly'")
    third = json.loads(portaldb("jobs", "run", "--due", "--json", database=url, check=True).stdout)
    assert "yearly" in {each["job"] for each in third}
    # A clock that was a century ahead has left a run behind: it keeps nothing from running
    ask(
        url,
        "INSERT INTO public.job_runs (job, started_at, result, runner) "
        "VALUES ('yearly', now() + interval '100 years', 'succeeded', 'x'); "
        "UPDATE public.job_runs SET started_at = started_at - interval '2 years' WHERE started_at < now()",
    )
    fourth = json.loads(portaldb("jobs", "run", "--due", "--json", database=url, check=True).stdout)
    assert "yearly" in {each["job"] for each in fourth}


def test_daemon_runs_what_comes_due_and_hands_over(url: str, portaldb: Portaldb) -> None:
    """Of two daemons one works; when it is told to end it ends, and the other takes over."""
    ran: Callable[[str], Callable[[], bool]] = lambda name: (  # noqa: E731 - a condition for `until`
        lambda: one(url, "SELECT count(*) FROM public.job_runs WHERE job = %s AND result = 'succeeded'", name) > 0
    )
    with command("jobs", "run", "--daemon", "--every", "0.2", "--json", database=url) as first:
        until(ran("cleanup-sessions"), "the first to run the jobs")
        with command("jobs", "run", "--daemon", "--every", "0.2", database=url) as second:
            assert "another runner is at work" in (second.stderr.readline() if second.stderr else "")
            busy = portaldb("jobs", "run", "--due", database=url, check=True)
            assert "Another runner is at work" in busy.stdout
            first.send_signal(signal.SIGTERM)
            done = finish(first)
            assert done.returncode == 0
            assert {json.loads(line)["result"] for line in done.stdout.splitlines()} == {"succeeded"}
            add_job(url, "late", "SELECT 1")
            until(ran("late"), "the second to take over")
            # Its connection is lost, and it comes back
            ask(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portaldb jobs' "
                "AND datname = current_database()",
            )
            add_job(url, "later", "SELECT 1")
            until(ran("later"), "it to connect again")
            second.send_signal(signal.SIGINT)
            assert finish(second).returncode == 0


def test_sync_without_pg_cron_says_what_to_do(url: str, portaldb: Portaldb) -> None:
    """Where pg_cron is not, sync refuses and names the daemon."""
    assert "jobs run --daemon" in paragraph(portaldb("jobs", "sync", database=url), 4)


@pytest.fixture
def with_cron(portaldb: Portaldb) -> Iterator[str]:
    """Make a server for pg_cron alone, whose scheduler ends for good when its database is dropped beneath it.

    The jobs of the registry are off: at a quarter of an hour they would do the work of the test's.
    """
    cluster = Cluster.create_throwaway()
    try:
        url = cluster.url()
        portaldb("init", database=url, check=True)
        portaldb("migrate", database=url, check=True)
        ask(url, "UPDATE public.jobs SET is_active = false")
        portaldb("jobs", "sync", database=url, check=True)
        yield url
    finally:
        cluster.destroy()


def test_pg_cron_runs_a_job_and_fails_one(with_cron: str, portaldb: Portaldb) -> None:
    """pg_cron runs a job call by call and commits between; one that fails is in both histories; both are pruned."""
    url = with_cron
    ask(
        url,
        "INSERT INTO public.users (azure_oid, email, role) VALUES ('a', 'a@example.org', 'standard_user'); "
        "INSERT INTO public.user_sessions (user_id, session_token, expires_at) "
        "SELECT u.id, 't' || n, '2001-01-01' FROM public.users AS u, generate_series(1, 250000) AS n",
    )
    old_entries(url, 9)
    add_job(url, "sessions", "SELECT public.cleanup_expired_sessions()", repeats=True)
    add_job(url, "trail", "SELECT public.cleanup_old_audit_logs()", repeats=True)
    add_job(url, "broken", "SELECT 1 / 0")
    assert "3 jobs changed" in portaldb("jobs", "sync", database=url, check=True).stdout
    assert "already" in portaldb("jobs", "sync", database=url, check=True).stdout
    finished = "SELECT count(DISTINCT job) FROM public.job_runs WHERE job = ANY (%s) AND finished_at IS NOT NULL"
    until(lambda: one(url, finished, ["sessions", "trail", "broken"]) == 3, "pg_cron to run all three", 150)
    ask(url, "UPDATE public.jobs SET is_active = false WHERE name = ANY (%s)", ["sessions", "trail", "broken"])
    portaldb("jobs", "sync", database=url, check=True)
    runs = "SELECT DISTINCT ON (job) job, result, calls, affected, note, runner FROM public.job_runs "
    assert ask(url, runs + "WHERE job = ANY (%s) ORDER BY job, started_at", ["sessions", "trail", "broken"]) == [
        ("broken", "failed", 1, 0, "division by zero", "pg_cron"),
        ("sessions", "succeeded", 4, 250000, None, "pg_cron"),
        ("trail", "succeeded", 2, 9, None, "pg_cron"),
    ]
    told = "SELECT DISTINCT status FROM cron.job_run_details WHERE command LIKE %s AND status <> 'running'"
    until(lambda: ask(url, told, "%broken%") == ["failed"], "pg_cron's own history of the failure")
    until(lambda: ask(url, told, "%sessions%") == ["succeeded"], "pg_cron's own history of the success")
    # Both histories are pruned, as portal_maintenance
    ask(url, "UPDATE cron.job_run_details SET start_time = '2001-01-01', end_time = '2001-01-01'")
    ask(url, "UPDATE public.job_runs SET started_at = started_at - interval '1 year' WHERE job = 'trail'")
    ask(url, "INSERT INTO public.job_runs (job, runner) VALUES ('trail', 'x')")
    portaldb("jobs", "run", "cleanup-job-runs", database=url, check=True)
    assert one(url, "SELECT count(*) FROM cron.job_run_details WHERE start_time = '2001-01-01'") == 0
    assert one(url, "SELECT count(*) FROM public.job_runs WHERE job = 'trail'") == 1
