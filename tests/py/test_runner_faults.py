"""The runner when what it stands on fails: it recovers by itself, and says what happened."""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import containers
import docker
import pytest
from conftest import Login, MakeDatabase, Portaldb
from engines import private_engine, proxy
from psycopg import conninfo
from runners import LABEL, Portal
from support import ask, finish, until

from portaldb.cluster import Cluster

MakePortal = Callable[[str | None], Portal]


@pytest.fixture
def make_portal(make_database: MakeDatabase, login: Login) -> Iterator[MakePortal]:
    """Make a portal before an engine: that of this machine, or of a URL."""
    with ExitStack() as stack:

        def make(engine: str | None = None) -> Portal:
            url = make_database(migrate=True)
            client = docker.DockerClient(base_url=engine, timeout=90) if engine else docker.from_env()
            containers.build(client.api)
            environment = {"DOCKER_HOST": engine} if engine else {}
            made = Portal(url, login(url, "portal_runner"), f"t{secrets.token_hex(4)}", stack, client.api, environment)
            if not engine:  # another ends with what is in it
                stack.callback(made.clear)
            return made

        yield make


def agrees(portal: Portal, *configs: str) -> Callable[[], bool]:
    """Return a condition: these run, one container each, the table names it, and there is no other."""

    def agree() -> bool:
        ids = ask(portal.url, "SELECT container_id FROM user_server_configs WHERE container_state = 'running'")
        return len(ids) == len(configs) == len(portal.containers()) and set(ids) == set(portal.running())

    return agree


@pytest.mark.docker
def test_stop_that_is_refused_is_said_and_tried_again_later(make_portal: MakePortal) -> None:
    """Not twice a second; the row says StopFailed, and the container is one stop in the trail at the end."""
    with proxy() as before:
        portal = make_portal(None)
        portal.environment["DOCKER_HOST"] = before.url
        config = portal.config()
        process = portal.start("--resync", "0.5")
        until(agrees(portal, config), "the container to run")
        (container,) = portal.running()
        before.refuse = ("/stop", 500, "cannot stop")
        portal.set(config, enabled=False)
        until(lambda: portal.state(config) == "error", "the refusal to be seen")
        assert portal.notes(config) == ("StopFailed", "cannot stop", 1, True)
        time.sleep(3)
        assert len(before.refused) == 1, before.refused
        # Wanted again, it is right as it is.
        portal.set(config, enabled=True)
        until(lambda: portal.state(config) == "running", "it to be seen running")
        assert portal.running() == [container]
        ask(portal.url, "UPDATE user_server_configs SET restart_requested_at = now() WHERE id = %s", config)
        until(lambda: portal.state(config) == "error", "the next refusal to be seen")
        before.refuse = None
        until(lambda: portal.state(config) == "running" and portal.running() != [container], "the restart to be had")
        until(agrees(portal, config), "one container")
        assert portal.audited(config) == [
            *("container_started", "container_failed", "container_failed", "container_stopped", "container_started")
        ]
        process.terminate()
        assert finish(process).returncode == 0


@pytest.mark.docker
def test_name_that_a_stranger_has_is_said_and_theirs_is_left_alone(make_portal: MakePortal) -> None:
    """A 409 of a container without our labels is NameTaken; when it is gone, ours starts by itself."""
    portal = make_portal(None)
    config = portal.config()
    name = f"portaldb-{portal.instance}-{config.replace('-', '')}"
    stranger = portal.api.create_container(containers.IMAGE, name=name)["Id"]
    portal.stack.callback(lambda: portal.api.containers(all=True))
    try:
        portal.start("--resync", "0.5")
        until(lambda: portal.state(config) == "error", "the conflict to be seen")
        assert portal.notes(config)[0] == "NameTaken"
        assert portal.api.inspect_container(stranger)["Id"] == stranger
    finally:
        portal.api.remove_container(stranger, force=True)
    until(agrees(portal, config), "it to start when the name is free")


@pytest.mark.docker
def test_container_that_is_killed_from_outside_comes_back(make_portal: MakePortal) -> None:
    """The engine's event wakes the runner, long before it would look by itself; the reason is there to read."""
    portal = make_portal(None)
    config = portal.config()
    portal.start("--resync", "300")
    until(agrees(portal, config), "it to run")
    time.sleep(1)
    (container,) = portal.running()
    portal.api.kill(container)
    until(lambda: portal.state(config) == "error", "the end to be seen", 5)
    assert portal.notes(config) == ("Exited", "it ended with exit code 137", 1, True)
    until(agrees(portal, config), "it to run again")
    assert portal.audited(config) == ["container_started", "container_failed", "container_started"]


@pytest.mark.docker
def test_database_that_restarts_is_met_again(portaldb: Portaldb) -> None:
    """Containers go on meanwhile; what was switched on afterwards starts, and nothing is started twice."""
    containers.build()
    cluster = Cluster.create_throwaway(durable=True)
    with ExitStack() as stack:
        stack.callback(cluster.destroy)
        url = cluster.url()
        portaldb("init", database=url, check=True)
        portaldb("migrate", database=url, check=True)
        ask(url, "CREATE ROLE runner LOGIN PASSWORD 'x'")
        ask(url, "GRANT portal_runner TO runner")
        login = conninfo.make_conninfo(url, user="runner", password="x", host="127.0.0.1")
        portal = Portal(url, login, f"t{secrets.token_hex(4)}", stack, docker.from_env().api)
        stack.callback(portal.clear)
        first = [portal.config() for _ in range(2)]
        process = portal.start("--resync", "1")
        until(agrees(portal, *first), "the first to run")
        running = portal.running()
        for fast in (True, False):
            second = portal.config()  # under way when the server goes
            cluster.stop(fast=fast)
            time.sleep(1)
            assert set(running) <= set(portal.running()), "what runs goes on"
            cluster.start()
            first.append(second)
            until(agrees(portal, *first), "the runner to go on")
        assert set(running) <= set(portal.running()) and process.poll() is None
        process.terminate()
        done = finish(process)
        assert "disconnected" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.docker
def test_engine_that_restarts_or_pauses_is_met_again(make_portal: MakePortal) -> None:
    """Its containers end with it and are started anew; 20 s of silence lose nothing and start nothing twice."""
    with private_engine() as engine:
        portal = make_portal(engine.url)
        configs = [portal.config() for _ in range(3)]
        process = portal.start("--resync", "1", "--lease", "5")
        until(agrees(portal, *configs), "all to run")
        # Paused, with work that comes meanwhile
        engine.send(signal.SIGSTOP)
        configs.append(portal.config())
        portal.set(configs[0], enabled=False)
        time.sleep(20)
        engine.send(signal.SIGCONT)
        until(agrees(portal, *configs[1:]), "the work to be done afterwards")
        until(lambda: portal.state(configs[0]) == "stopped", "the table to say so")
        # Restarted: with it end its containers.
        engine.stop()
        time.sleep(2)
        engine.start()
        until(agrees(portal, *configs[1:]), "all to run again", 60)
        assert process.poll() is None
        process.terminate()
        done = finish(process)
        assert "disconnected" in done.stderr and "Traceback" not in done.stderr
        assert len({each["Labels"][f"{LABEL}.config"] for each in portal.containers()}) == 3


@pytest.mark.docker
def test_engine_whose_disk_is_full_is_said_and_gone_on_with(make_portal: MakePortal) -> None:
    """The row says what the engine says; with space again it starts by itself."""
    with private_engine(disk_mb=48) as engine:
        portal = make_portal(engine.url)
        runs = portal.config()
        process = portal.start("--resync", "1")
        until(agrees(portal, runs), "the first to run")
        filler = engine.root / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        config = portal.config()
        until(lambda: portal.state(config) == "error", "the full disk to be told")
        reason, said, _, to_come = portal.notes(config)
        assert reason == "EngineError" and "no space left on device" in said and to_come
        assert portal.state(runs) == "running"
        filler.unlink()
        until(agrees(portal, runs, config), "it to start when there is space", 60)
        process.terminate()
        assert finish(process).returncode == 0
