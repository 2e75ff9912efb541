"""What an on-call person sees: all of it as portal_monitor, none of it a tenant's, and each alarm with what to type."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import yaml
from conftest import ROOT, Login, MakeDatabase, Portaldb
from psycopg import conninfo
from psycopg.rows import dict_row
from support import ask, one, paragraph

from portaldb import monitor


@pytest.fixture
def database(make_database: MakeDatabase) -> str:
    """Make a database with a user, a container that failed, and an entry that found no partition."""
    url = make_database(migrate=True)
    ask(
        url,
        """
        INSERT INTO public.users (id, azure_oid, email) VALUES
            ('00000000-0000-4000-8000-00000000000a', 'canary-oid', 'canary@example.org');
        INSERT INTO public.user_server_configs (user_id, server_id, enabled, container_id, container_state)
        SELECT u.id, s.id, true, 'canary-id', 'error' FROM public.users AS u, public.mcp_servers AS s LIMIT 1;
        INSERT INTO public.container_status (config_id, reason, message)
        SELECT c.id, 'ImagePullFailed', 'canary-message' FROM public.user_server_configs AS c;
        INSERT INTO public.audit_logs (user_id, action, timestamp)
        VALUES ('00000000-0000-4000-8000-00000000000a', 'login', now() + interval '5 years');
        INSERT INTO public.job_runs (job, result, note, finished_at, runner)
        VALUES ('cleanup-sessions', 'failed', 'canary-note', now(), 'pg_cron');
        """,
    )
    return url


def nightly(*, result: str | None, well: int, is_active: bool = True, schedule: str = "0 2 * * *") -> dict[str, Any]:
    """Return a job of two in the night, at noon, as the registry tells it: well until so many hours ago."""
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    return {
        "name": "nightly",
        "schedule": schedule,
        "is_active": is_active,
        "last_result": result,
        "well_until": now - timedelta(hours=well),
        "now": now,
    }


def test_monitor_shows_as_portal_monitor_what_is_wrong_and_no_tenant(
    database: str, login: Login, portaldb: Portaldb
) -> None:
    """States, reasons and counts; no address, id, or message of anybody."""
    watcher = login(database, "portal_monitor")
    told = portaldb("monitor", "--json", database=watcher, check=True).stdout
    assert "canary" not in told
    found = json.loads(told)
    assert found["containers"] == [{"state": "error", "reason": "ImagePullFailed", "count": 1}]
    assert found["runway"]["rows_in_default"] == 1
    assert {"server", "connections", "partitions", "tables"} <= {name for name in found if found[name]}
    alarms = " ".join(each["what"] + each["do"] for each in found["alarms"])
    assert "1 audit entries found no partition" in alarms
    assert "portaldb runner status" in alarms
    assert "The job cleanup-sessions failed" in alarms
    shown = portaldb("monitor", database=watcher, check=True).stdout
    assert "ImagePullFailed" in shown
    assert "canary" not in shown
    assert portaldb("monitor", "--check", database=watcher).returncode == 1


def test_monitor_shows_what_it_can_to_whom_it_can(database: str, login: Login, portaldb: Portaldb) -> None:
    """A service's login reads no monitoring view; a database without migrations has none."""
    found = json.loads(portaldb("monitor", "--json", database=login(database, "portal_app"), check=True).stdout)
    assert found["connections"] is None
    assert found["server"]["version"].startswith(("15", "17"))
    stranger = login(database)
    paragraph(portaldb("monitor", "--once", database=stranger), 8)


@pytest.mark.parametrize(
    ("section", "rows", "told"),
    [
        ("jobs", [nightly(result="failed", well=20)], "nightly failed"),
        ("jobs", [nightly(result="lost", well=20)], "nightly was cut short"),
        ("jobs", [nightly(result="succeeded", well=47)], "due at 2026-11-29 02:00 GMT and once more since"),
        ("jobs", [nightly(result="unfinished", well=47)], "due at 2026-11-29 02:00"),
        ("jobs", [nightly(result=None, well=33)], None),  # was due once, and may be about to
        ("jobs", [nightly(result=None, well=47, is_active=False)], None),
        ("jobs", [nightly(result=None, well=47, schedule="whenever")], None),
        ("runway", {"days_left": 3, "rows_in_default": 0}, "last 3 days"),
        ("runway", {"days_left": 90, "rows_in_default": 0}, None),
        (
            "connections",
            {
                "connections": 85,
                "connection_limit": 100,
                "server_connections": 85,
                "server_limit": 200,
                "longest_transaction_seconds": 7200.0,
                "longest_idle_in_transaction_seconds": 600.0,
            },
            "85 of the database's 100 connections|for 120 minutes|nothing for 10 minutes",
        ),
        ("containers", [{"state": "running", "count": 4}], None),
        ("tables", [{"table_name": "t", "table_bytes": 2**30, "dead_bytes": 2**29 + 2**28}], "768 MB of t"),
        ("tables", [{"table_name": "t", "table_bytes": 2**20, "dead_bytes": 2**20}], None),
        ("indexes", [{"index_name": "i", "is_valid": False}], "i was not finished"),
    ],
)
def test_alarm_is_told_where_it_is_due(section: str, rows: Any, told: str | None) -> None:  # noqa: ANN401 - a section
    """Each limit, on both sides."""
    found = monitor.alarms({section: rows})
    if told is None:
        assert not found
    else:
        assert all(each.do for each in found)
        for part in told.split("|"):
            assert any(part in each.what for each in found)


def test_doctor_finds_what_is_planted_and_says_what_to_type(
    database: str, login: Login, portaldb: Portaldb, server: str
) -> None:
    """A setting, an extension, a grant, a role, a migration; and a healthy database is healthy."""
    ask(
        database,
        "SELECT set_config('portal.audit_retention', pg_current_xact_id()::text, true); DELETE FROM public.audit_logs",
    )
    ask(database, "UPDATE public.user_server_configs SET container_state = 'stopped'")
    ask(server, "ALTER ROLE portal_app CREATEDB")
    name = conninfo.conninfo_to_dict(database)["dbname"]
    ask(database, "DROP EXTENSION pg_stat_statements; GRANT SELECT ON public.users TO portal_monitor")
    ask(server, f"ALTER DATABASE {name} SET password_encryption = 'md5'; GRANT CONNECT ON DATABASE {name} TO PUBLIC")
    try:
        done = portaldb("doctor", "--json", database=login(database, "portal_monitor"))
        assert done.returncode == 1
        told = " | ".join(
            f"{each['about']} {each['what']} {each['do']}" for each in json.loads(done.stdout)["findings"]
        )
        for part in (
            "portal_app has CREATEDB. ALTER ROLE portal_app NOCREATEDB;",
            "extension pg_stat_statements is missing. portaldb init",
            "kept as md5",
            "may connect to the database. portaldb init",
        ):
            assert part in told
    finally:
        ask(server, "ALTER ROLE portal_app NOCREATEDB")
    ask(database, "REVOKE SELECT ON public.users FROM portal_monitor")
    ask(server, f"ALTER DATABASE {name} RESET password_encryption")
    portaldb("init", database=database, check=True)
    ask(database, "DELETE FROM public.job_runs")
    # a throwaway server is quick because it survives no crash, which is what the doctor says of it
    findings = json.loads(portaldb("doctor", "--json", database=database).stdout)["findings"]
    left = {each["what"] for each in findings if "No pg_dump" not in each["what"]}
    assert left <= {"fsync is off.", "full_page_writes is off."}


def test_every_query_of_the_exporter_runs_as_portal_monitor(database: str, login: Login) -> None:
    """It gives the labels and values that it names, and the dashboard asks for metrics that there are."""
    collector = yaml.safe_load((ROOT / "deploy/sql_exporter.yaml").read_text())
    names = set()
    with psycopg.connect(login(database, "portal_monitor"), row_factory=dict_row) as connection:
        for metric in collector["metrics"]:
            names.add(metric["metric_name"])
            with connection.transaction():
                cursor = connection.execute(metric["query"].encode())
                assert cursor.description is not None
                columns = {column.name for column in cursor.description}
                assert columns == {*metric.get("key_labels", []), *metric["values"]}, metric["metric_name"]
                for row in cursor.fetchall():
                    assert "canary" not in str(row)
                    assert all(isinstance(row[value], float | None) for value in metric["values"])
                    assert all(isinstance(row[label], str) for label in metric.get("key_labels", []))
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    asked = {
        match
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for match in re.findall(r"mcp_portal_\w+", target["expr"])
    }
    assert asked == names


def test_only_portal_monitor_reads_the_views(database: str) -> None:
    """No service, no runner, no job."""
    views = ask(
        database, "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'v' AND relname LIKE 'monitor\\_%'"
    )
    assert len(views) == 10
    for view in views:
        may = [
            role
            for role in ("portal_app", "portal_runner", "portal_maintenance", "portal_monitor", "portal_api")
            if one(database, "SELECT has_table_privilege(%s, %s, 'SELECT')", role, view)
        ]
        assert may == ["portal_monitor"]
