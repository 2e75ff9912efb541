"""The private cluster: made in a moment, never root's, and mended after whatever befell it."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portaldb import cluster as clusters
from portaldb import layout, programs
from portaldb.cluster import Cluster
from portaldb.errors import EnvironmentMissingError, PortalError, RefusedError
from portaldb.machine import Machine, fit, settings_of

GB = 2**30
SPEC = settings_of((layout.sql_root() / "deploy/postgresql.conf").read_text())


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand in a checkout of its own, which the cluster's user can enter."""
    root = Path("/tmp") / f"checkout-{os.getpid()}-{time.monotonic_ns()}"
    root.mkdir(mode=0o755)
    (root / "deploy").symlink_to(layout.sql_root() / "deploy")
    monkeypatch.setattr(layout, "sql_root", lambda: root)

    def run_unsynced(doing: str, *argv: str | Path, uid: int, seconds: float = 120) -> str:
        # No test pulls the plug, and a disk that others use makes each cluster wait long for its sync
        unsynced = ["--no-sync"] if Path(argv[0]).name == "initdb" else []
        return programs.run(doing, *argv, *unsynced, uid=uid, seconds=seconds)

    monkeypatch.setattr(clusters, "run", run_unsynced)
    yield root
    if found := clusters.find():
        found.destroy()
    shutil.rmtree(root)


def ask(cluster: Cluster, query: str = "SELECT 1", user: str = "postgres") -> object:
    """Ask the cluster's server for one value."""
    with psycopg.connect(cluster.url("postgres", user)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_machine_of_the_spec_keeps_every_value() -> None:
    """8 GB and 8 cores are what the spec's values are made for."""
    assert fit(SPEC, Machine(8 * GB, 8, 100 * GB)) == []


def test_smaller_machine_gets_its_share_and_the_reason() -> None:
    """A quarter of the machine gets a quarter of each value, and the words for the screen."""
    fitted = {one.name: one for one in fit(SPEC, Machine(2 * GB, 2, 8 * GB))}
    assert {name: one.fits for name, one in fitted.items()} == {
        "shared_buffers": "512MB",
        "effective_cache_size": "1536MB",
        "maintenance_work_mem": "128MB",
        "min_wal_size": "256MB",
        "max_wal_size": "1024MB",
        "max_parallel_workers": "2",
        "max_parallel_workers_per_gather": "1",
    }
    assert fitted["shared_buffers"].asked == "2GB"
    assert fitted["shared_buffers"].why == "a quarter of 2.0 GB of memory"


def test_tuning_values_are_the_specs() -> None:
    """deploy/postgresql.conf says what the spec's heading 'Performance Tuning' says."""
    assert {name: SPEC[name] for name in list(SPEC)[:14]} == {
        "shared_buffers": "2GB",
        "effective_cache_size": "6GB",
        "maintenance_work_mem": "512MB",
        "checkpoint_completion_target": "0.9",
        "wal_buffers": "16MB",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "work_mem": "10MB",
        "min_wal_size": "1GB",
        "max_wal_size": "4GB",
        "max_worker_processes": "8",
        "max_parallel_workers_per_gather": "4",
        "max_parallel_workers": "8",
    }


def test_server_runs_with_the_settings_and_without_root(checkout: Path) -> None:
    """What the spec asks is what the server says, but for what it was told was lowered; root runs nothing."""
    told: list[str] = []
    cluster = clusters.start(told.append)
    pid = cluster.pid()
    assert pid is not None
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    lowered = {name for name in SPEC if any(f"{name} " in sentence for sentence in told)}
    for name, asked in SPEC.items():
        shown = str(ask(cluster, f"SELECT current_setting('{name}')"))
        assert (shown.removesuffix("B") == asked.removesuffix("B")) == (name not in lowered), name
    assert ask(cluster, "SHOW data_checksums") == "on"
    assert ask(cluster, "SHOW listen_addresses") == "127.0.0.1"


def test_second_start_changes_nothing(checkout: Path) -> None:
    """A cluster that runs is left alone: same process, same files."""
    first = clusters.start()
    before = (first.pid(), (checkout / ".portaldb/cluster.json").read_text())
    told: list[str] = []
    second = clusters.start(told.append)
    assert (second.pid(), (checkout / ".portaldb/cluster.json").read_text()) == before
    assert told == []


def test_stop_keeps_the_data_and_the_port(checkout: Path) -> None:
    """What was there is there again, at the same place."""
    first = clusters.start()
    ask(first, "SELECT pg_catalog.lo_create(4242)")
    assert clusters.default_url() == first.url()
    assert clusters.stop()
    assert clusters.default_url() is None
    assert not clusters.stop()
    second = clusters.start()
    assert second == first
    assert ask(second, "SELECT oid FROM pg_largeobject_metadata") == 4242


def test_reset_leaves_an_empty_cluster(checkout: Path) -> None:
    """Everything is gone, and a server runs."""
    ask(clusters.start(), "SELECT pg_catalog.lo_create(4242)")
    assert ask(clusters.reset(), "SELECT count(*) FROM pg_largeobject_metadata") == 0


def test_killed_server_recovers(checkout: Path) -> None:
    """SIGKILL leaves postmaster.pid and the socket behind; the next start clears them and nothing is lost."""
    first = clusters.start()
    ask(first, "SELECT pg_catalog.lo_create(4242)")
    pid = first.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while first.pid() is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (first.data / "postmaster.pid").exists()
    assert clusters.default_url() is None
    assert ask(clusters.start(), "SELECT oid FROM pg_largeobject_metadata") == 4242


def test_stale_pid_of_another_program_is_no_server(checkout: Path) -> None:
    """After a reboot the number in postmaster.pid may be any program's: ours is not running."""
    first = clusters.start()
    lines = (first.data / "postmaster.pid").read_text().splitlines()
    clusters.stop()
    sleeper = (
        subprocess.Popen(["sleep", "60"], user=first.uid) if os.geteuid() == 0 else subprocess.Popen(["sleep", "60"])
    )
    try:
        lines[0] = str(sleeper.pid)
        for left in (first.data / "postmaster.pid", first.socket / f".s.PGSQL.{first.port}.lock"):
            left.write_text("\n".join(lines) + "\n")
            left.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(left, first.uid, -1)
        assert first.pid() is None
        assert ask(clusters.start()) == 1
        assert sleeper.poll() is None, "the other program lives on"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_taken_port_is_replaced_and_told(checkout: Path) -> None:
    """Another program on our port costs us the port and nothing else."""
    first = clusters.start()
    clusters.stop()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        told: list[str] = []
        second = clusters.start(told.append)
        assert second.port != first.port
        assert any(str(first.port) in sentence and str(second.port) in sentence for sentence in told)
        assert ask(second) == 1
    assert clusters.find() == second


def test_start_killed_at_any_moment_is_finished_by_the_next(checkout: Path) -> None:
    """A start that is killed, from the first file on, leaves nothing that stops the next one."""
    script = (
        "import sys; from pathlib import Path; from portaldb import cluster, layout; "
        "layout.sql_root = lambda: Path(sys.argv[1]); cluster.start()"
    )
    for delay in (0.1, 0.3, 0.5, 0.8):
        started = subprocess.Popen([sys.executable, "-c", script, str(checkout)], cwd=Path(__file__).parents[2])
        time.sleep(delay)
        started.kill()
        started.wait()
        cluster = clusters.start()
        assert ask(cluster) == 1
        cluster.destroy()
        (checkout / ".portaldb/cluster.json").unlink()


def test_two_starts_at_once_make_one_cluster(checkout: Path) -> None:
    """The second waits for the first and finds a server that runs."""
    script = (
        "import sys; from pathlib import Path; from portaldb import cluster, layout; "
        "layout.sql_root = lambda: Path(sys.argv[1]); print(cluster.start().pid())"
    )
    argv = [sys.executable, "-c", script, str(checkout)]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert [process.returncode for process in running] == [0, 0, 0]


def test_moved_checkout_keeps_its_cluster(checkout: Path) -> None:
    """A checkout that is moved while its server is stopped takes its data along."""
    ask(clusters.start(), "SELECT pg_catalog.lo_create(4242)")
    clusters.stop()
    before = checkout / ".portaldb"
    aside = checkout / ".portaldb.aside"
    before.rename(aside)
    assert clusters.find() is None
    aside.rename(before)
    assert ask(clusters.start(), "SELECT oid FROM pg_largeobject_metadata") == 4242


def test_changed_settings_file_counts_at_the_next_start(checkout: Path) -> None:
    """deploy/postgresql.conf is read at every start; one's own file is kept and wins."""
    cluster = clusters.start()
    clusters.stop()
    (checkout / "deploy").unlink()
    (checkout / "deploy").mkdir()
    (checkout / "deploy/postgresql.conf").write_text(
        (Path(__file__).parents[2] / "deploy/postgresql.conf").read_text() + "work_mem = 11MB\nrandom_page_cost = 2\n"
    )
    (cluster.data / "conf.d/90-yours.conf").write_text("random_page_cost = 3\n")
    assert ask(clusters.start(), "SHOW work_mem") == "11MB"
    assert ask(clusters.start(), "SHOW random_page_cost") == "3"


def test_setting_that_the_server_refuses_is_shown(checkout: Path) -> None:
    """A start that fails says what the server's log says, and what to do."""
    cluster = clusters.start()
    clusters.stop()
    (cluster.data / "conf.d/90-yours.conf").write_text("work_memory = 1\n")
    with pytest.raises(PortalError, match=r"(?s)work_memory.*90-yours\.conf.*Mend what the log names"):
        clusters.start()


def test_missing_programs_are_named(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without PostgreSQL, and after the version that made the cluster was removed, the message says what to install."""
    monkeypatch.setattr(programs, "_KNOWN", tmp_path)
    monkeypatch.setattr("portaldb.programs.shutil.which", lambda _name: None)
    with pytest.raises(EnvironmentMissingError, match=r"No PostgreSQL server of version 15.*scripts/up"):
        clusters.start()
    with pytest.raises(EnvironmentMissingError, match=r"made by PostgreSQL 12.*postgresql-12-cron"):
        programs.find_programs(12)


def test_socket_path_too_long_goes_elsewhere(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes at most: a deep checkout's socket, or its whole cluster, lies elsewhere."""
    deep = checkout / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "deploy").symlink_to(Path(__file__).parents[2] / "deploy")
    monkeypatch.setattr(layout, "sql_root", lambda: deep)
    cluster = clusters.start()
    assert len(str(cluster.socket / f".s.PGSQL.{cluster.port}")) <= clusters.SOCKET_PATH_BYTES
    assert ask(cluster) == 1
    cluster.destroy()
    assert not cluster.socket.exists()


def test_foreign_socket_folder_is_refused(checkout: Path, tmp_path: Path) -> None:
    """A folder that others can write to could hold another's socket."""
    cluster = clusters.start()
    clusters.stop()
    cluster.socket.chmod(0o777)
    with pytest.raises(RefusedError, match="could pose as the server"):
        clusters.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root stands where the cluster's user cannot go")
def test_checkout_closed_to_the_cluster_user(checkout: Path) -> None:
    """A checkout under root's own folder (mode 0700) has its cluster elsewhere, and says so."""
    checkout.chmod(0o700)
    told: list[str] = []
    cluster = clusters.start(told.append)
    assert cluster.base.parent == Path("/var/lib/portaldb")
    assert any(str(cluster.base) in sentence and "cannot enter" in sentence for sentence in told)
    assert ask(cluster) == 1
    assert clusters.default_url() == cluster.url()
    # Forgotten, it is found again
    clusters.stop()
    (checkout / ".portaldb/cluster.json").unlink()
    told.clear()
    assert clusters.start(told.append).base == cluster.base
    assert any("Found a cluster" in sentence for sentence in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_logins_are_who_they_are(cluster: Cluster) -> None:
    """Root may be any role over the socket; another user none; over the network nobody without a password."""
    assert ask(cluster, "SELECT current_user") == "postgres"
    nobody = pwd.getpwnam("nobody").pw_uid
    psql = cluster.programs / "psql"
    refused = subprocess.run(
        [psql, cluster.url("postgres"), "-c", "SELECT 1"],
        capture_output=True, text=True, check=False, cwd="/", user=nobody,
    )  # fmt: skip
    assert refused.returncode != 0
    assert 'Peer authentication failed for user "postgres"' in refused.stderr
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres", passfile="/dev/null")


def test_find_reads_nonsense_as_none(checkout: Path) -> None:
    """A state file that cannot be read is no cluster; the next start makes or finds one."""
    (checkout / ".portaldb").mkdir()
    for nonsense in ("", "{", "[]", json.dumps({"port": "x"})):
        (checkout / ".portaldb/cluster.json").write_text(nonsense)
        assert clusters.find() is None
        assert clusters.default_url() is None


def test_importing_it_is_cheap() -> None:
    """Every command asks for the default URL, so asking must cost nothing noticeable."""
    code = "import sys; import portaldb.cluster; sys.exit('psycopg' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_told_whose_it_is(checkout: Path) -> None:
    """Who may not look into the cluster's folder reads whose it is, and no traceback."""
    clusters.start()
    script = (
        "import sys; from pathlib import Path; from portaldb import dev, layout, errors\n"
        "layout.sql_root = lambda: Path(sys.argv[1])\n"
        "for ask in (dev.report, dev.stop, dev.url, lambda: dev.start(print)):\n"
        "    try: ask()\n"
        "    except errors.RightsError as error: print(error)"
    )
    package = checkout / "package"
    shutil.copytree(Path(clusters.__file__).parent, package / "portaldb")
    said = subprocess.run(
        [shutil.which("python3", path="/usr/bin") or sys.executable, "-c", script, str(checkout)],
        capture_output=True, text=True, check=False, user=pwd.getpwnam("nobody").pw_uid, cwd=package,
    )  # fmt: skip
    assert said.stdout.count("belongs to the user root") == 4, said.stdout + said.stderr
