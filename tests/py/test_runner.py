"""The container runner on a real engine: what it starts, how it fails, and that it never loses track."""

import asyncio
import json
import os
import random
import secrets
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import containers
import docker
import docker.errors
import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb, clean_environment
from mcp import ClientSession, StdioServerParameters, stdio_client
from runners import LABEL, Portal, talk
from support import ask, finish, kill, one, paragraph, until

from portaldb.cluster import free_port
from portaldb.encryption import Keyring, config_context, encrypt
from portaldb.runner.reconcile import STOP_FAILED, Row, Seen, Stamp, backoff, diff
from portaldb.runner.settings import Policy, RefusedSettingsError, resolve
from portaldb.runner.watch import Watch


@pytest.fixture(scope="module")
def images() -> None:
    """Make the images of the tests."""
    containers.build()


@pytest.fixture
def portal(make_database: MakeDatabase, login: Login, images: None) -> Iterator[Portal]:
    """Give a test its database, and take its containers away."""
    del images
    url = make_database(migrate=True)
    client = docker.from_env()
    with ExitStack() as stack:
        made = Portal(url, login(url, "portal_runner"), f"t{secrets.token_hex(4)}", stack, client.api)
        yield made
    made.clear()


# On an engine --------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_runner_starts_a_container_that_speaks_and_stops_it(portal: Portal) -> None:
    """Switched on it runs, hardened, within a second of the notice; switched off it is gone; each is audited once."""
    config = portal.config(read_only=True)
    portal.set(config, enabled=False)
    process = portal.start("--resync", "60")
    until(lambda: one(portal.url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"), "it to listen")
    time.sleep(1)
    before = time.monotonic()
    portal.set(config, enabled=True)
    until(lambda: portal.state(config) not in (None, "stopped"), "the notice to wake it")
    assert time.monotonic() - before < 1
    until(lambda: portal.state(config) == "running", "the container to run")
    (container,) = portal.running(config)
    assert one(portal.url, "SELECT container_id FROM user_server_configs WHERE id = %s", config) == container
    found = portal.api.inspect_container(container)
    host = found["HostConfig"]
    assert (host["Init"], host["CapDrop"], host["NetworkMode"]) == (True, ["ALL"], "none")
    assert (host["Privileged"], host["ReadonlyRootfs"], host["RestartPolicy"]["Name"]) == (False, True, "no")
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (512 << 20, 10**9, 128)
    assert found["Config"]["OpenStdin"] and not found["Config"]["Tty"]
    hello, tools = talk(portal.api, container, ("initialize", {}), ("tools/list", {}))
    assert talk(portal.api, container, ("tools/list", {})) == [tools], "who spoke first has gone, and it goes on"
    assert hello["serverInfo"]["name"] == "small" and [each["name"] for each in tools["tools"]] == ["length"]
    portal.set(config, enabled=False)
    until(lambda: portal.state(config) == "stopped", "the container to stop")
    assert portal.containers() == []
    assert portal.audited(config) == ["container_started", "container_stopped"]
    process.terminate()
    done = finish(process)
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.docker
def test_runner_says_why_what_cannot_run_does_not(portal: Portal, portaldb: Portaldb) -> None:
    """A missing image, one that ends at once, one without a program, settings not allowed: each has its reason."""
    missing, broken, bare = map(portal.config, (containers.MISSING, containers.BROKEN, containers.BARE))
    greedy = portal.config(network="host")
    elsewhere = portal.config(network="bridge")
    portal.once()
    portal.once()  # sees that the broken one has ended
    assert [portal.state(each) for each in (missing, broken, bare, greedy, elsewhere)] == ["error"] * 5
    assert portal.notes(missing)[0] == "ImagePullFailed" and portal.notes(missing)[2:] == (1, True)
    assert portal.notes(broken) == ("Exited", "it ended with exit code 3", 1, True)
    assert portal.notes(bare)[0] == "Exited" and portal.notes(bare)[1].endswith(("126", "127")), "as a shell has it"
    assert portal.notes(greedy)[0] == portal.notes(elsewhere)[0] == "Refused" and portal.notes(greedy)[3] is None
    portal.once()
    assert portal.notes(broken)[2] == 1, "nothing is tried before its time"
    ask(portal.url, "UPDATE container_status SET next_retry_at = now()")
    portal.once()
    portal.once()
    reason, _, times, to_come = portal.notes(broken)
    assert (reason, times, to_come) == ("CrashLoop", 2, True)
    wait = "SELECT extract(EPOCH FROM next_retry_at - now()) FROM container_status WHERE config_id = %s"
    assert 5 < one(portal.url, wait, broken) <= 10
    assert portal.audited(broken) == ["container_started", "container_failed"] * 2
    done = portaldb("runner", "status", "--json", database=portal.login)
    assert done.returncode == 1 and json.loads(done.stdout)["states"] == {"error": 5}
    portal.once("--allow-network", "bridge")
    assert portal.state(elsewhere) == "running"


@pytest.mark.docker
def test_runner_adopts_what_a_killed_one_left(portal: Portal) -> None:
    """After SIGKILL the next runner takes the same container over; nothing is started or audited again."""
    config = portal.config()
    process = portal.start()
    until(lambda: portal.state(config) == "running", "the container to run")
    before = portal.running(config)
    kill(process)
    ask(portal.url, "UPDATE user_server_configs SET container_state = 'creating', container_id = NULL")
    portal.once()
    assert (portal.state(config), portal.running(config)) == ("running", before)
    ask(portal.url, "DELETE FROM container_status")
    portal.once()
    assert portal.running(config) == before and len(portal.containers()) == 1


@pytest.mark.docker
def test_runner_removes_what_no_row_wants_and_nothing_else(portal: Portal) -> None:
    """The container of a user who is erased goes; of one who is deactivated too; a stranger's stays."""
    gone, shut_out, stays = portal.user(), portal.user(), portal.user()
    configs = [portal.config(user=each) for each in (gone, shut_out, stays)]
    stranger = portal.api.create_container(containers.IMAGE, stdin_open=True, labels={LABEL: f"{portal.instance}x"})
    portal.stack.callback(portal.api.remove_container, stranger["Id"], force=True)
    portal.api.start(stranger["Id"])
    portal.once()
    assert len(portal.running()) == 3
    admin = portal.user()
    ask(portal.url, "UPDATE users SET role = 'super_admin' WHERE id = %s", admin)
    with psycopg.connect(portal.url, options="-c role=portal_app") as connection:
        connection.execute("SELECT set_app_context(%s)", [admin])
        connection.execute("SELECT erase_user(%s)", [gone])
    ask(portal.url, "UPDATE users SET is_active = false WHERE id = %s", shut_out)
    portal.once()
    assert portal.containers() == portal.containers(configs[2]) != []
    assert portal.state(configs[1]) == "stopped"
    assert portal.audited(configs[0]) == portal.audited(configs[1]) == ["container_started", "container_stopped"]
    assert portal.api.inspect_container(stranger["Id"])["State"]["Running"]
    portal.once("--drain")
    assert portal.containers() == [] and portal.state(configs[2]) == "stopped"


@pytest.mark.docker
def test_runner_delivers_a_secret_that_is_found_nowhere(
    portal: Portal,
    tmp_path: Path,
    portaldb: Portaldb,
    pg_dump: Any,  # noqa: ANN401 - a fixture's function
) -> None:
    """The server reads it; inspect, logs, the engine's folder, a dump and the runner's words do not hold it."""
    keys, canary = tmp_path / "keys.json", f"canary-{secrets.token_hex(8)}"
    portaldb("keys", "generate", "--keys", str(keys), check=True)
    config = portal.config(read_only=True, logs=True)
    keep_secret(portal, config, json.dumps({"token": canary}), keys)
    said = portal.once()
    assert portal.notes(config)[0] == "DecryptFailed", "without keys"
    ask(portal.url, "UPDATE container_status SET next_retry_at = now()")
    said += portal.once("--keys", str(keys))
    (container,) = portal.running(config)
    (answer,) = talk(portal.api, container, ("tools/call", {}))
    assert answer["content"][0]["text"] == str(len(json.dumps({"token": canary}))), "the server has read it"
    assert len(portal.containers()) == 1, "the holder is gone"
    places = {
        "inspect": json.dumps(portal.api.inspect_container(container)),
        "volumes": json.dumps(portal.api.volumes()),
        "logs": portal.api.logs(container).decode(),
        "dump": pg_dump(portal.url),
        "the runner": said,
    }
    assert [name for name, text in places.items() if canary in text] == []
    assert holding(Path(portal.api.info()["DockerRootDir"]), canary) == []
    # Encrypted anew, it is the same secret; another one is not.
    for changed in (False, True):
        text = json.dumps({"token": canary, "changed": True} if changed else {"token": canary})
        keep_secret(portal, config, text, keys)
        portal.once("--keys", str(keys))
        portal.once("--keys", str(keys))
        assert (portal.running(config) == [container]) is not changed and portal.state(config) == "running"
    portal.set(config, enabled=False)
    portal.once()
    assert portal.containers() == []
    assert not (portal.api.volumes(filters={"label": f"{LABEL}={portal.instance}"})["Volumes"] or ())


def keep_secret(portal: Portal, config: str, text: str, keys: Path) -> None:
    """Give a configuration its secret, encrypted for its place."""
    place = ask(portal.url, "SELECT user_id, server_id FROM user_server_configs WHERE id = %s", config)[0]
    value = encrypt(text, Keyring.load(keys), context=config_context(*place))
    ask(portal.url, "UPDATE user_server_configs SET encrypted_config = %s WHERE id = %s", value, config)


def holding(root: Path, canary: str) -> list[Path]:
    """Return the files on the disk of that folder that hold a text; what is mounted there is not on it."""
    disk, found = root.stat().st_dev, []
    for each in (Path(folder, name) for folder, _, names in os.walk(root) for name in names):
        with suppress(OSError):  # others' containers come and go
            facts = each.lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_dev == disk and canary.encode() in each.read_bytes():
                found.append(each)
    return found


@pytest.mark.docker
def test_runner_replaces_once_what_changed_or_is_asked_to(portal: Portal) -> None:
    """A restart and another setting each give one new container, and nothing else does."""
    config = portal.config()
    portal.once()
    first = portal.running(config)
    portal.once()
    assert portal.running(config) == first
    ask(portal.url, "UPDATE user_server_configs SET restart_requested_at = now() WHERE id = %s", config)
    portal.once()
    second = portal.running(config)
    portal.once()
    assert portal.running(config) == second != first and len(portal.containers()) == 1
    ask(portal.url, "UPDATE user_server_configs SET config_metadata = %s", '{"container": {"env": {"LEVEL": "low"}}}')
    portal.once()
    (third,) = portal.running(config)
    assert [third] != second and "LEVEL=low" in portal.api.inspect_container(third)["Config"]["Env"]
    portal.api.remove_container(third, force=True)
    portal.once()
    assert portal.state(config) == "running" and portal.running(config) != [third], "removed by others, made anew"


@pytest.mark.docker
def test_runners_beside_each_other_start_nothing_twice(portal: Portal) -> None:
    """Two runners, eight rows: one container each, one audit entry each; one dies, the other goes on."""
    first, second = (portal.start("--resync", "1", "--lease", "2") for _ in range(2))
    configs = [portal.config() for _ in range(8)]
    until(lambda: {portal.state(each) for each in configs} == {"running"}, "all to run")
    assert len(portal.containers()) == 8
    assert [portal.audited(each) for each in configs] == [["container_started"]] * 8
    for each in configs[:4]:
        portal.set(each, enabled=False)
    kill(first)
    until(lambda: {portal.state(each) for each in configs[:4]} == {"stopped"}, "the other to take over")
    assert sorted(portal.running()) == sorted(id for each in configs[4:] for id in portal.running(each))
    second.terminate()
    assert finish(second).returncode == 0
    assert one(portal.url, "SELECT count(*) FROM container_status WHERE lease_until > now()") == 0
    assert len(portal.running()) == 4, "containers stay"


@pytest.mark.docker
@pytest.mark.parametrize(("kills", "rows"), [(8, 10), pytest.param(50, 30, marks=pytest.mark.soak)])
def test_runner_that_is_killed_again_and_again_loses_track_of_nothing(
    portal: Portal, portaldb: Portaldb, tmp_path: Path, seed: int, kills: int, rows: int
) -> None:
    """Kills at random moments while rows flip at random, half of them with a secret; then quiet: all agree."""
    keys, chance = tmp_path / "keys.json", random.Random(seed)  # noqa: S311 - a choice that can be made again
    portaldb("keys", "generate", "--keys", str(keys), check=True)
    configs = [portal.config() for _ in range(rows)]
    secret = configs[: rows // 2]
    for each in secret:
        keep_secret(portal, each, '{"token": "x"}', keys)
    options = ("--resync", "0.5", "--lease", "1", "--keys", str(keys))
    flips = 0
    for _ in range(kills):
        process = portal.start(*options)
        assert process.stderr and "connected" in process.stderr.readline()
        end = time.monotonic() + chance.random() * 3
        while time.monotonic() < end:
            portal.set(chance.choice(configs), enabled=chance.random() < 0.6)
            flips += 1
            time.sleep(0.1)
        kill(process)
    before = time.monotonic()
    process = portal.start(*options)
    assert process.stderr and "connected" in process.stderr.readline()
    wanted = set(ask(portal.url, "SELECT id::text FROM user_server_configs WHERE enabled"))

    def agree() -> bool:
        states = {each: portal.state(each) for each in configs}
        return all(state in (("running",) if each in wanted else ("stopped", None)) for each, state in states.items())

    until(agree, "the table to say what is wanted", 120)
    quiet = time.monotonic() - before
    process.terminate()
    assert finish(process).returncode == 0
    portal.once("--keys", str(keys))  # sweeps at once what is swept every minute
    labelled = sorted(each["Labels"][f"{LABEL}.config"] for each in portal.containers())
    assert labelled == sorted(wanted) and len(portal.running()) == len(wanted)
    ids = set(ask(portal.url, "SELECT container_id FROM user_server_configs WHERE enabled"))
    assert ids == set(portal.running())
    volumes = portal.api.volumes(filters={"label": f"{LABEL}={portal.instance}"})["Volumes"] or ()
    assert {each["Labels"][f"{LABEL}.config"] for each in volumes} == wanted & set(secret)
    assert one(portal.url, "SELECT count(*) FROM container_status WHERE lease_until > now()") == 0
    query = "SELECT details ->> 'container_id' FROM audit_logs WHERE action = %s"
    for action in ("container_started", "container_stopped"):
        told = ask(portal.url, query, action)
        assert len(told) == len(set(told)), f"{action} twice of one container"
    started = len(ask(portal.url, query, "container_started"))
    print(f"{kills} kills, {flips} flips, {started} starts; all agreed {quiet:.1f} s after the last")  # noqa: T201


@pytest.mark.docker
def test_runner_finds_by_itself_what_no_notice_told(portal: Portal) -> None:
    """With the triggers off nothing is told; the next look sees it all the same. A server elsewhere is not started."""
    config, elsewhere = portal.config(), portal.config()
    portal.set(config, enabled=False)
    remote = """UPDATE mcp_servers SET metadata = '{"kind": "remote"}' WHERE id = (
        SELECT server_id FROM user_server_configs WHERE id = %s)"""
    ask(portal.url, remote, elsewhere)
    portal.start("--resync", "2")
    until(lambda: one(portal.url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"), "it to listen")
    with psycopg.connect(portal.url, autocommit=True) as silent:
        silent.execute("SET session_replication_role = replica")
        silent.execute("UPDATE user_server_configs SET enabled = true WHERE id = %s", [config])
    until(lambda: portal.state(config) == "running", "the next look")
    assert len(portal.containers()) == 1 and portal.state(elsewhere) in (None, "stopped")


@pytest.mark.docker
def test_runner_says_that_it_was_memory(portal: Portal) -> None:
    """What takes more than it may is OOMKilled."""
    config = portal.config(containers.GREEDY, memory_mb=16)
    portal.start("--resync", "1")
    until(lambda: portal.state(config) == "error", "it to be ended")
    assert portal.notes(config)[:2] == ("OOMKilled", "it took more memory than it may")


@pytest.mark.docker
def test_image_is_pulled_once_however_many_rows_want_it(portal: Portal) -> None:
    """Of a registry that has it not yet it is ImagePullFailed, in its own time; then one pull is for all."""
    with containers.registry() as registry:
        registry.has = False
        configs = [portal.config(registry.image) for _ in range(5)]
        try:
            portal.start("--resync", "0.5")
            until(lambda: {portal.state(each) for each in configs} == {"error"}, "the failure of each")
            assert {portal.notes(each)[0] for each in configs} == {"ImagePullFailed"}
            registry.has = True
            until(lambda: {portal.state(each) for each in configs} == {"running"}, "the next attempt")
            assert registry.taken == 1 and len(portal.running()) == 5
        finally:
            portal.clear()
            with suppress(docker.errors.APIError):
                portal.api.remove_image(registry.image, force=True)


@pytest.mark.docker
def test_attach_is_a_local_server_to_a_real_client(portal: Portal, portaldb: Portaldb) -> None:
    """The MCP SDK's client initialises, lists the tools and calls one; twice, for the container outlives who speaks."""
    config = portal.config()
    portal.once()
    argv = ["-m", "portaldb", "runner", "attach", config[:13]]
    environment = clean_environment() | {"DATABASE_URL": portal.login}
    server = StdioServerParameters(command=sys.executable, args=argv, env=environment, cwd=ROOT)

    async def speak() -> tuple[str, list[str]]:
        async with (
            stdio_client(server) as (read, write),
            ClientSession(read, write, read_timeout_seconds=20) as session,
        ):
            hello = await session.initialize()
            return hello.server_info.name, [tool.name for tool in (await session.list_tools()).tools]

    for _ in range(2):
        assert asyncio.run(speak()) == ("small", ["length"])
    line = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}) + "\n"
    done = portaldb("runner", "attach", config, database=portal.login, stdin=line)
    assert done.returncode == 0 and json.loads(done.stdout)["id"] == 7, "what was asked last is answered yet"
    for unknown in ("no-such-row", ""):
        done = portaldb("runner", "attach", unknown, database=portal.login)
        assert done.returncode == (2 if unknown else 0), "one row is told by nothing"
    portal.set(config, enabled=False)
    portal.once()
    assert "has no container: it is 'stopped'" in paragraph(
        portaldb("runner", "attach", config, database=portal.login), 4
    )


@pytest.mark.docker
def test_logs_are_there_where_the_server_keeps_them(portal: Portal, portaldb: Portaldb) -> None:
    """What a container said last can be read, after its end too; of one that keeps no log that is told."""
    kept, silent = portal.config(containers.BROKEN, logs=True), portal.config()
    portal.once()
    portal.once()
    assert portal.state(kept) == "error"
    done = portaldb("runner", "logs", kept, "--tail", "1", database=portal.login)
    assert (done.returncode, done.stdout) == (0, "it is broken\n")
    assert "cannot be reached" in paragraph(portaldb("runner", "logs", silent, database=portal.login), 4)


@pytest.mark.docker
def test_runner_shows_itself(portal: Portal) -> None:
    """Health and counters over HTTP, and a log of JSON lines."""
    portal.config()
    broken = portal.config(containers.MISSING)
    port = free_port()
    process = portal.start("--listen", f":{port}", "--json", "--resync", "1")
    until(lambda: portal.state(broken) == "error" and len(portal.running()) == 1, "both to be seen to")

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    until(lambda: 'rows{state="running"} 1' in get("/metrics"), "a look at what became of it")
    text = get("/metrics")
    assert get("/healthz") == "ok\n" and 'portaldb_runner_rows{state="error"} 1' in text
    assert 'events_total{event="state",state="error",reason="ImagePullFailed"} 1' in text
    assert "portaldb_runner_containers 1\n" in text and "portaldb_runner_waiting_seconds 0\n" in text
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/")
    process.terminate()
    lines = [json.loads(line) for line in finish(process).stderr.splitlines()]
    assert {"connected", "start", "state", "ended"} <= {line["event"] for line in lines}
    assert all({"time", "level", "event"} <= line.keys() for line in lines)


def test_health_is_lost_with_the_sight_of_the_engine() -> None:
    """No look for longer than patience has it is no health."""
    assert Watch(60).ill() is None
    assert "could not look" in (Watch(-1).ill() or "")


# Without one ---------------------------------------------------------------------------------------------


def row(**changes: Any) -> Row:  # noqa: ANN401 - fields of several types
    """Return a row that wants a container and has none."""
    zero = UUID(int=0)
    usual: dict[str, Any] = {
        **{"id": zero, "user_id": zero, "server_id": zero, "wanted": True, "image": "x", "server_settings": None},
        **{"user_settings": None, "config_digest": None, "restart_requested_at": None, "state": None},
        **{"container_id": None, "reason": None, "message": None, "restart_count": 0, "generation_wanted": None},
        **{"generation_seen": None, "due_in": None, "age": 1.0, "restart_served": None},
    }
    return Row(**(usual | changes))


WANTED = row().stamp.generation

EARLIER, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
STARTED = EARLIER.isoformat()
RUNNING = {"state": "running", "container_id": "c"}
FAILED = {"state": "error", "due_in": 3.0, "generation_wanted": WANTED, "reason": "Exited"}
STUCK = FAILED | {"reason": STOP_FAILED, "container_id": "c"}


@pytest.mark.parametrize(
    ("changes", "there", "verb"),
    [
        ({}, None, "start"),
        ({"state": "running", "container_id": "c"}, "running", None),
        ({"state": "creating"}, "running", "adopt"),
        ({"state": "running", "container_id": "c", "restart_count": 2, "age": 61.0}, "running", "steady"),
        ({"state": "running", "container_id": "c", "image": "y"}, "running", "replace"),
        ({"state": "running", "container_id": "c", "config_digest": "new"}, "running", "replace"),
        ({"state": "running", "container_id": "c"}, "ended", "fail"),
        ({"state": "running", "container_id": "c"}, None, "start"),
        ({"state": "error", "due_in": 3.0, "generation_wanted": WANTED}, "ended", None),
        ({"state": "error", "due_in": -1.0, "generation_wanted": WANTED}, "ended", "start"),
        ({"state": "error", "due_in": 3.0, "generation_wanted": "other"}, "ended", "start"),
        ({"wanted": False, "state": "running"}, "running", "stop"),
        ({"wanted": False, "state": "error"}, None, "settle"),
        ({"wanted": False, "state": "stopped"}, None, None),
        ({"server_settings": '{"privileged": true}'}, None, "refuse"),
        # A restart: another value than that which was acted on last, by the row or by the container.
        ({**RUNNING, "restart_requested_at": LATER}, "running", "replace"),
        ({**RUNNING, "restart_requested_at": LATER, "restart_served": EARLIER}, "running", "replace"),
        ({**RUNNING, "restart_requested_at": EARLIER, "restart_served": LATER}, "running", None),
        ({**RUNNING, "restart_requested_at": LATER, "restart_served": LATER}, "running", None),
        ({**RUNNING, "restart_requested_at": None, "restart_served": LATER}, "running", None),
        ({**FAILED, "restart_requested_at": LATER, "restart_served": EARLIER}, "ended", "start"),
        ({**FAILED, "restart_requested_at": LATER, "restart_served": LATER}, "ended", None),
        # What would not be stopped is not asked every time, but what became right is seen.
        ({**STUCK, "wanted": False}, "running", None),
        ({**STUCK, "wanted": False, "due_in": -1.0}, "running", "stop"),
        ({**STUCK, "image": "y"}, "running", "replace"),
        ({**STUCK, "restart_requested_at": LATER}, "running", None),
        (STUCK, "running", "adopt"),
    ],
)
def test_diff_is_what_a_row_needs(changes: dict[str, Any], there: str | None, verb: str | None) -> None:
    """What is wanted and what is there say what is to be done."""
    seen = (
        [Seen("c", UUID(int=0), replace(row().stamp, restart=STARTED), there == "running", there == "ended")]
        if there
        else []
    )
    assert [each.verb for each in diff([row(**changes)], seen, Policy())] == ([verb] if verb else [])


def test_diff_removes_what_no_row_is_there_for() -> None:
    """A container without a row is removed; a holder is left to the sweep."""
    seen = [Seen("c", UUID(int=1), Stamp(), True, False), Seen("h", UUID(int=2), Stamp(), True, False, holder=True)]
    assert [(each.verb, each.config_id.int) for each in diff([], seen, Policy())] == [("remove", 1)]


def test_backoff_doubles_from_5_seconds_to_5_minutes() -> None:
    """However many failures there are."""
    assert [backoff(each) for each in (1, 2, 3, 6, 7, 8, 10**9)] == [5, 10, 20, 160, 300, 300, 300]


@pytest.mark.parametrize(
    ("server", "user", "policy"),
    [
        ({"privileged": True}, None, Policy()),
        ({"binds": ["/:/host"]}, None, Policy()),
        ({"network": "host"}, None, Policy(networks=("host",))),
        ({"network": "bridge"}, None, Policy()),
        ({"network": "container:x"}, None, Policy(networks=("container:x",))),
        ({"capabilities": ["SYS_ADMIN"]}, None, Policy(capabilities=("CHOWN",))),
        ({"memory_mb": 1024}, None, Policy()),
        ({"env": {"A=B": "x"}}, None, Policy()),
        (None, {"network": "bridge"}, Policy(networks=("bridge",))),
        (None, {"command": ["sh"]}, Policy()),
        (None, [], Policy()),
        (None, None, Policy(images=("registry.example/*",))),
        (None, None, Policy(digests=True)),
    ],
)
def test_settings_that_nobody_allowed_are_refused(server: object, user: object, policy: Policy) -> None:
    """No privileged mode, no host path, no host network, no capability outside the list, no other image."""
    texts = [None if each is None else json.dumps(each) for each in (server, user)]
    with pytest.raises(RefusedSettingsError):
        resolve("img:1", texts[0], texts[1], policy)


def test_settings_of_a_user_only_narrow() -> None:
    """A user takes away from what the server is given, and adds to its environment."""
    found = resolve("img", '{"memory_mb": 100, "env": {"A": "1"}}', '{"memory_mb": 400, "env": {"B": "2"}}', Policy())
    assert (found.memory_mb, found.env, found.network) == (100, {"A": "1", "B": "2"}, "none")
