"""`portaldb audit`: the trail as a file, whole or not at all, of any size; and as it grows."""

import csv
import io
import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb, clean_environment
from support import ask, command, finish, one, paragraph, until

from portaldb import audit
from portaldb.errors import UsageError

ADA = "00000000-0000-0000-0000-0000000000ad"


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database with a small trail, in partitions old, of today and by default."""
    url = make_database(migrate=True)
    ask(
        url,
        "INSERT INTO public.users (id, azure_oid, email, role) "
        f"VALUES ('{ADA}', 'oid-of-ada', 'ada@example.org', 'standard_user'); "
        "INSERT INTO public.audit_logs (user_id, action, resource_type, resource_id, details, ip_address, user_agent, "
        f"timestamp) VALUES ('{ADA}', 'login', NULL, NULL, '{{\"n\": 1}}', '192.0.2.1', "
        "E'line\\nbreak, \"quote\", € and \\u001b[31m', now()), "
        f"(NULL, 'logout', 'session', '{ADA}', '{{\"big\": 123456789012345678901234567890.5}}', NULL, NULL, "
        "'2024-01-15 00:00+00'), "
        "(NULL, 'login', 'session', NULL, NULL, NULL, NULL, '1999-01-01 00:00+00'), "
        "(NULL, 'login', 'server', NULL, NULL, NULL, NULL, 'infinity')",
    )
    return url


def export(portaldb: Portaldb, url: str, *options: str) -> list[dict[str, object]]:
    """Return what is exported as JSON Lines."""
    done = portaldb("audit", "export", *options, database=url, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_export_is_the_whole_trail_in_order(url: str, portaldb: Portaldb) -> None:
    """Every entry of every partition, by time in UTC; numbers and texts as they are."""
    found = export(portaldb, url)
    assert [each["timestamp"] for each in found[:2]] == ["1999-01-01T00:00:00+00:00", "2024-01-15T00:00:00+00:00"]
    assert [each["timestamp"] for each in found[3:]] == ["infinity"]
    assert tuple(found[0]) == audit.COLUMNS
    assert found[2]["user_agent"] == 'line\nbreak, "quote", € and \x1b[31m'
    assert "123456789012345678901234567890.5" in portaldb("audit", "export", database=url, check=True).stdout


def test_csv_says_the_same(url: str, portaldb: Portaldb) -> None:
    """As CSV, with a heading; NULL is empty."""
    done = portaldb("audit", "export", "--format", "csv", database=url, check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    lines = export(portaldb, url)
    for row, entry in zip(rows, lines, strict=True):
        details = entry.pop("details")
        assert (json.loads(row.pop("details") or "null")) == details
        assert row == {name: "" if value is None else value for name, value in entry.items()}


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--user", "ada@example.org"], 1),
        (["--user", "oid-of-ada"], 1),
        (["--user", ADA], 1),
        (["--action", "login"], 3),
        (["--resource", "session"], 2),
        (["--resource", ADA], 1),
        (["--resource", f"session:{ADA}"], 1),
        (["--resource", f"server:{ADA}"], 0),
        (["--since", "2024-01-15"], 3),
        (["--until", "2024-01-15"], 1),
        (["--since", "2024-01-15T01:00+01:00", "--until", "2024-01-15T00:00:00.000001Z"], 1),
        (["--since", "1h", "--until", "3000-01-01"], 1),
        (["--action", "login", "--user", ADA, "--since", "1d"], 1),
    ],
)
def test_filters(url: str, portaldb: Portaldb, options: list[str], count: int) -> None:
    """Each filter leaves out what it says, and they go together; `until` is not reached."""
    assert len(export(portaldb, url, *options)) == count


@pytest.mark.parametrize("text", ["yesterday", "5 minutes", "99999999999d", "", "-1d"])
def test_no_moment_is_refused(text: str) -> None:
    """What is no moment is told with those that are."""
    with pytest.raises(UsageError, match="12h"):
        audit.moment(text)


def test_unknown_user_is_refused(url: str, portaldb: Portaldb) -> None:
    """A misspelt address is no empty export."""
    assert "no user" in paragraph(portaldb("audit", "export", "--user", "eda@example.org", database=url), 2)


def test_file_is_whole_and_its_owners(url: str, portaldb: Portaldb, tmp_path: Path) -> None:
    """The file is there at the end, readable by its owner alone; one that is there is left alone without --force."""
    path = tmp_path / "trail.jsonl"
    portaldb("audit", "export", "--output", str(path), database=url, check=True)
    assert len(path.read_text().splitlines()) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    assert "--force" in paragraph(portaldb("audit", "export", "--output", str(path), database=url), 4)
    assert path.read_text() == "mine"
    portaldb("audit", "export", "--output", str(path), "--force", "--action", "logout", database=url, check=True)
    assert len(path.read_text().splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["trail.jsonl"]
    paragraph(portaldb("audit", "export", "--output", str(tmp_path / "no" / "folder"), database=url), 10)


def test_killed_export_leaves_no_file_of_that_name(url: str, tmp_path: Path) -> None:
    """An export that is interrupted leaves nothing, one that is killed nothing of that name; an older file stays."""
    path = tmp_path / "trail.jsonl"
    path.write_text("older")
    fill(url, 60_000)
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        with command("audit", "export", "--output", str(path), "--force", database=url) as process:
            until(lambda: any(each.stat().st_size for each in tmp_path.glob(".*.part")), "it to write")
            process.send_signal(number)
            assert finish(process).returncode == code
        assert path.read_text() == "older"
        assert bool(list(tmp_path.glob(".*.part"))) == (number == signal.SIGKILL)


def test_full_disk_is_told(url: str) -> None:
    """Standard output that takes nothing more is an error and not a short export."""
    fill(url, 5_000)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "portaldb", "audit", "export"],
            env=clean_environment() | {"DATABASE_URL": url},
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
    assert done.returncode == 10
    assert "entries of" not in done.stderr


def fill(url: str, rows: int) -> None:
    """Add many entries of today."""
    ask(
        url,
        "INSERT INTO public.audit_logs (action, details, user_agent) "
        "SELECT 'login', jsonb_build_object('n', n), repeat('x', 400) FROM generate_series(1, %s) AS n",
        rows,
    )


def test_memory_does_not_grow_with_the_trail(url: str, tmp_path: Path) -> None:
    """Sixty times as many entries are exported in the same memory."""

    def peak() -> int:
        code = (
            "import resource, sys; from portaldb.__main__ import main\n"
            "try: main()\nexcept SystemExit as e: code = e.code\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "audit", "export", "--output", str(tmp_path / "x"), "--force"],
            env=clean_environment() | {"DATABASE_URL": url},
            capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
        return int(done.stderr.splitlines()[-1])

    fill(url, 1_000)
    small = peak()
    fill(url, 60_000)
    assert peak() < small + 8_000, "kilobytes; the file has 40 MB"


def test_who_may_export(url: str, portaldb: Portaldb, login: Login) -> None:
    """Members of the owner and of portal_backup with BYPASSRLS read all; others are refused, never given a part."""
    assert len(export(portaldb, login(url, "mcp_admin"))) == 4
    assert len(export(portaldb, login(url, "portal_backup"))) == 4
    for role in ("portal_app", "portal_api", "portal_monitor", "portal_maintenance", "pg_read_all_data"):
        paragraph(portaldb("audit", "export", database=login(url, role)), 8)


def test_tail_shows_the_last_and_follows(url: str, portaldb: Portaldb) -> None:
    """The last entries, then those that come, once each: one that commits late too, whose time has passed by then."""
    ask(url, "INSERT INTO public.audit_logs (action, user_agent) VALUES ('user_created', E'bell\\u0007')")
    shown = portaldb("audit", "tail", "-n", "2", "--until", "3000-01-01", database=url, check=True).stdout
    assert len(shown.splitlines()) == 2
    assert "user_created" in shown.splitlines()[1]
    assert "\x07" not in shown
    with (
        psycopg.connect(url) as late,
        command(
            "audit", "tail", "-n", "1", "-f", "--every", "0.1", "--json", "--until", "3000-01-01", database=url
        ) as process,
    ):
        assert process.stdout
        late.execute("INSERT INTO public.audit_logs (action) VALUES ('team_created')")
        assert json.loads(process.stdout.readline())["action"] == "user_created"
        ask(url, "INSERT INTO public.audit_logs (action) VALUES ('logout')")
        assert json.loads(process.stdout.readline())["action"] == "logout"
        late.commit()
        assert json.loads(process.stdout.readline())["action"] == "team_created"
        ask(url, "INSERT INTO public.audit_logs (action) VALUES ('login')")
        assert json.loads(process.stdout.readline())["action"] == "login"
        process.send_signal(signal.SIGINT)
        assert finish(process).returncode == 0
    assert one(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portaldb audit tail'") == 0
