"""The container engine behind one small protocol, and Docker as the first that has it."""

import json
import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO, Protocol
from uuid import UUID

from portaldb.errors import EnvironmentMissingError
from portaldb.runner import holder
from portaldb.runner.reconcile import STOP_FAILED, Seen, Stamp
from portaldb.runner.settings import Spec

LABEL = "portaldb.runner"
CONFIG_FOLDER = "/run/portal"
CONFIG_FILE = "config.json"
_HEAD = 8


class EngineGoneError(Exception):
    """The engine does not answer; nothing is known of any container."""


class EngineFailedError(Exception):
    """The engine refused; `reason` is a word for the row, the message what it said."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason


@dataclass(frozen=True)
class Verdict:
    """How a container ended."""

    exit_code: int
    out_of_memory: bool


class Engine(Protocol):
    """What the runner asks of an engine. Each call may raise EngineGoneError or EngineFailedError."""

    def seen(self, config_id: UUID | None = None) -> list[Seen]:
        """Return our containers, of all configurations or of one."""
        ...

    def fetch(self, image: str, beat: Callable[[str], None]) -> None:
        """See to it that the image is there; `beat` is told how it goes."""
        ...

    def secret(self, container_id: str) -> str | None:
        """Return the secret that a running container was given in a file; None where it was not."""
        ...

    def start(self, config_id: UUID, stamp: Stamp, spec: Spec, secret: str | None) -> str:
        """Start the container of a configuration and return its id; one that runs already is taken over."""
        ...

    def remove(self, container_id: str, grace: int) -> bool:
        """Stop a container and remove it with what it held; False where it was gone already."""
        ...

    def verdict(self, container_id: str) -> Verdict:
        """Return how a container ended."""
        ...

    def sweep(self, holders: Iterable[Seen], kept: Callable[[], set[UUID]]) -> None:
        """Remove holders that were seen, and volumes, but for the configurations that `kept` tells then."""
        ...

    def ends(self) -> Iterator[None]:
        """Yield whenever a container of ours ends, while the engine tells it: it may miss some, and stop."""
        ...

    def logs(self, container_id: str, tail: int | None, follow: bool) -> Iterator[bytes]:
        """Yield what a container has said, from so many lines before the end on, and what it says yet."""
        ...

    def attach(self, container_id: str, stdin: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Pass `stdin` on to a container and yield what it answers, on 1 or 2, until both are silent."""
        ...


class Docker:
    """A Docker engine, as the environment names it (DOCKER_HOST and so on)."""

    def __init__(self, instance: str = "", timeout: int = 30) -> None:
        """Take the name by which this database's containers are told from others'."""
        try:
            import docker
        except ImportError:
            raise EnvironmentMissingError(
                "The runner needs the Docker SDK: pip install 'mcp-portal-database[runner]'"
            ) from None
        self._instance, self._errors = instance, docker.errors
        with self._translated():
            self._client: Any = docker.from_env(timeout=timeout)

    @contextmanager
    def _translated(self, reason: str = "EngineError") -> Iterator[None]:
        from requests.exceptions import RequestException

        try:
            yield
        except self._errors.ImageNotFound as error:
            raise EngineFailedError("ImagePullFailed", _said(error)) from None
        except self._errors.APIError as error:
            raise EngineFailedError(reason, _said(error)) from None
        except (self._errors.DockerException, RequestException, OSError) as error:
            raise EngineGoneError(" ".join(str(error).split())[:300]) from None

    def _labels(self, config_id: UUID, role: str, stamp: Stamp | None = None) -> dict[str, str]:
        named = {"config": str(config_id), "role": role, **asdict(stamp or Stamp())}
        return {LABEL: self._instance} | {f"{LABEL}.{name}": value for name, value in named.items()}

    def _name(self, config_id: UUID, role: str = "") -> str:
        return f"portaldb-{self._instance}-{config_id.hex}{role}"

    def seen(self, config_id: UUID | None = None) -> list[Seen]:  # noqa: D102 - as the protocol says
        labels = [f"{LABEL}={self._instance}"] + ([f"{LABEL}.config={config_id}"] if config_id else [])
        api = self._client.api
        asked = {"all": "1", "filters": json.dumps({"label": labels})}
        with self._translated():
            # Not api.containers(): of ten thousand it would keep all that is told.
            answer = api.get(f"{api.base_url}/v{api.api_version}/containers/json", params=asked, timeout=api.timeout)
            answer.raise_for_status()
            return [each for each in answer.json(object_hook=_seen) if isinstance(each, Seen)]

    def fetch(self, image: str, beat: Callable[[str], None]) -> None:  # noqa: D102
        with self._translated():
            try:
                self._client.api.inspect_image(image)
                return
            except self._errors.ImageNotFound:
                pass
        name, _, digest = image.partition("@")
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        with self._translated("ImagePullFailed"):
            # Not images.pull, which hides what goes wrong in the stream.
            for line in self._client.api.pull(repository, tag=digest or tag, stream=True, decode=True):
                if "error" in line:
                    raise EngineFailedError("ImagePullFailed", str(line["error"])[:500])
                beat(str(line.get("status", "")))

    def secret(self, container_id: str) -> str | None:  # noqa: D102
        with self._translated():
            try:
                chunks, _ = self._client.api.get_archive(container_id, f"{CONFIG_FOLDER}/{CONFIG_FILE}")
            except self._errors.NotFound:
                return None
            return holder.untar(b"".join(chunks), CONFIG_FILE)

    def start(self, config_id: UUID, stamp: Stamp, spec: Spec, secret: str | None) -> str:  # noqa: D102
        from docker.types import LogConfig

        environment, mounts, held = dict(spec.env), [], None
        with self._translated():
            try:
                if secret is not None and spec.config_as == "file":
                    environment["PORTAL_CONFIG_FILE"] = f"{CONFIG_FOLDER}/{CONFIG_FILE}"
                    mounts = [self._memory(config_id, read_only=True)]
                    held = self._hold(config_id, secret)
                elif secret is not None:
                    environment |= _as_environment(secret)
                made = self._create(
                    self._name(config_id),
                    spec.image,
                    self._labels(config_id, "server", stamp),
                    command=list(spec.command) if spec.command is not None else None,
                    # A stdio server without an open stdin exits at once, and without `detach`, when the first that
                    # spoke with it goes.
                    stdin_open=True,
                    detach=True,
                    environment=environment,
                    user=spec.user,
                    host={
                        "init": True,
                        "cap_add": list(spec.capabilities),
                        "nano_cpus": int(spec.cpus * 1e9),
                        "mem_limit": f"{spec.memory_mb}m",
                        "memswap_limit": f"{spec.memory_mb}m",
                        "pids_limit": spec.pids,
                        "read_only": spec.read_only,
                        "tmpfs": dict.fromkeys(spec.tmpfs, "size=64m"),
                        "network_mode": spec.network,
                        # Or the engine fights the runner.
                        "restart_policy": {"Name": "no"},
                        # What a server says is its users', and a log of it would lie on the host's disk.
                        "log_config": LogConfig(type="json-file", config={"max-size": "1m", "max-file": "2"})
                        if spec.logs
                        else LogConfig(type="none"),
                        "mounts": mounts,
                    },
                )
                self._client.api.start(made)
            finally:
                if held:
                    self._discard(held)
        return made

    def _create(self, name: str, image: str, labels: dict[str, str], host: dict[str, Any], **settings: object) -> str:
        """Create a container, in place of one of ours that has the name; one that is the same and runs is kept."""
        api = self._client.api
        host = api.create_host_config(security_opt=["no-new-privileges:true"], cap_drop=["ALL"], **host)
        for last in (False, True):
            try:
                return str(api.create_container(image, name=name, labels=labels, host_config=host, **settings)["Id"])
            except self._errors.APIError as error:
                if error.status_code != 409 or last:  # noqa: PLR2004 - HTTP's conflict
                    raise
            there = api.inspect_container(name)
            has = there["Config"]["Labels"] or {}
            if has.get(LABEL) != self._instance:
                raise EngineFailedError("NameTaken", f"a container that is not ours is named {name}")
            # An image has labels of its own.
            if there["State"]["Running"] and has.items() >= labels.items():
                return str(there["Id"])
            self._discard(there["Id"])
        raise AssertionError  # the second round returns or raises

    def _memory(self, config_id: UUID, *, read_only: bool) -> dict[str, Any]:
        """Return the mount of a volume that is memory while a container uses it; made with the first that does."""
        from docker.types import DriverConfig, Mount

        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0755,nosuid,nodev,noexec"}
        mount: dict[str, Any] = Mount(
            CONFIG_FOLDER,
            self._name(config_id, "-config"),
            read_only=read_only,
            labels=self._labels(config_id, "volume"),
            driver_config=DriverConfig("local", options),
        )
        return mount

    def _hold(self, config_id: UUID, secret: str) -> str:
        """Write the secret into the volume and return the container that holds it until the server's does.

        Into a `tmpfs=` path of a container that does not run, the engine would write on the host's disk.
        """
        self._require_holder()
        api, mounts = self._client.api, [self._memory(config_id, read_only=False)]
        host = {"network_mode": "none", "read_only": True, "mem_limit": "8m", "mounts": mounts}
        name, labels = self._name(config_id, "-holder"), self._labels(config_id, "holder")
        made = self._create(name, holder.NAME, labels, host, command=["/hold"])
        api.start(made)
        api.put_archive(made, CONFIG_FOLDER, holder.tar(CONFIG_FILE, secret.encode(), 0o444))
        return made

    def _require_holder(self) -> None:
        try:
            self._client.api.inspect_image(holder.NAME)
        except self._errors.ImageNotFound:
            machine = self._client.api.info()["Architecture"]
            try:
                layer = holder.image(machine)
            except KeyError:
                raise EngineFailedError("EngineError", f"secrets cannot be delivered on a {machine} engine") from None
            repository, tag = holder.NAME.split(":")
            self._client.api.import_image_from_data(layer, repository=repository, tag=tag)

    def _discard(self, name: str) -> bool:
        try:
            self._client.api.remove_container(name, force=True)
        except self._errors.NotFound:
            return False
        except self._errors.APIError as error:
            if error.status_code != 409:  # noqa: PLR2004 - somebody else is removing it
                raise
            return False
        return True

    def remove(self, container_id: str, grace: int) -> bool:  # noqa: D102
        with self._translated(STOP_FAILED):
            try:
                there = self._client.api.inspect_container(container_id)
                self._client.api.stop(container_id, timeout=grace)
            except self._errors.NotFound:
                return False
            removed = self._discard(container_id)
            config = there["Config"]["Labels"].get(f"{LABEL}.config")
            with suppress(self._errors.APIError, ValueError):
                self._client.api.remove_volume(self._name(UUID(config), "-config"))
            return removed

    def verdict(self, container_id: str) -> Verdict:  # noqa: D102
        with self._translated():
            state = self._client.api.inspect_container(container_id)["State"]
        return Verdict(int(state["ExitCode"]), bool(state["OOMKilled"]))

    def sweep(self, holders: Iterable[Seen], kept: Callable[[], set[UUID]]) -> None:  # noqa: D102
        api = self._client.api
        with self._translated():
            volumes = api.volumes(filters={"label": f"{LABEL}={self._instance}"})["Volumes"] or ()
            # Whose start is under way is asked after what is there was: what a later one makes is not in the list.
            keep = kept()
            for each in holders:
                if each.config_id not in keep:
                    self._discard(each.id)
            for volume in volumes:
                if UUID(volume["Labels"][f"{LABEL}.config"]) not in keep:
                    # One in use is refused with 409.
                    with suppress(self._errors.APIError):
                        api.remove_volume(volume["Name"])

    def ends(self) -> Iterator[None]:  # noqa: D102
        wanted = {"type": "container", "event": "die", "label": f"{LABEL}={self._instance}"}
        with self._translated():
            for _ in self._client.api.events(filters=wanted):
                yield

    def logs(self, container_id: str, tail: int | None, follow: bool) -> Iterator[bytes]:  # noqa: D102
        with self._translated("NoLog"):
            kept = "all" if tail is None else tail
            yield from self._client.api.logs(container_id, stream=True, follow=follow, tail=kept)

    def attach(self, container_id: str, stdin: BinaryIO) -> Iterator[tuple[int, bytes]]:  # noqa: D102
        with self._translated("NotRunning"):
            there = self._client.api.inspect_container(container_id)
            if not there["State"]["Running"]:
                raise EngineFailedError("NotRunning", "the container does not run")
            both = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            held = self._client.api.attach_socket(container_id, params=both)
            yield from _converse(getattr(held, "_sock", held), stdin)


def _seen(listed: dict[str, Any]) -> Any:  # noqa: ANN401 - what is no container stays as it is
    try:
        named, state = listed["Labels"], listed["State"]
        return Seen(
            listed["Id"],
            UUID(named[f"{LABEL}.config"]),
            Stamp(*(named.get(f"{LABEL}.{each.name}", "") for each in fields(Stamp))),
            state in ("running", "paused", "restarting"),
            state in ("exited", "dead"),
            named[f"{LABEL}.role"] == "holder",
        )
    except (KeyError, TypeError, ValueError):
        return listed


def _converse(connection: socket.socket, stdin: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of an attached container, with a thread that writes, as neither may wait for the other."""
    connection.settimeout(None)
    ended = threading.Event()

    def write() -> None:
        with suppress(OSError):
            while given := os.read(stdin.fileno(), 1 << 16):
                connection.sendall(given)
        ended.set()

    threading.Thread(target=write, daemon=True).start()
    read = b""
    while True:
        over = ended.is_set()
        if not select.select([connection], [], [], 1.0)[0]:
            if over:
                return
            continue
        came = connection.recv(1 << 16)
        if not came:
            raise EngineFailedError("NotRunning", "the container has ended")
        read += came
        # Docker's frames: the stream, three bytes of nothing, the length.
        while len(read) >= _HEAD and len(read) >= (end := _HEAD + int.from_bytes(read[4:_HEAD], "big")):
            yield read[0], read[_HEAD:end]
            read = read[end:]


def _said(error: Any) -> str:  # noqa: ANN401 - the SDK has no types
    return " ".join(str(error.explanation or error).split())[:500]


def _as_environment(secret: str) -> dict[str, str]:
    try:
        found = json.loads(secret)
    except ValueError:
        found = None
    # The engine quotes what it cannot take, so what it could not is found here.
    good = isinstance(found, dict) and all(
        re.fullmatch(r"[A-Za-z_]\w*", name) and isinstance(each, str) and "\0" not in each
        for name, each in found.items()
    )
    if not good:
        raise EngineFailedError("BadConfig", "a configuration for the environment is a JSON object of texts by name")
    return {str(name): str(value) for name, value in (found or {}).items()}
