"""Engines for the runner's tests alone: a private dockerd that may be stopped, killed or filled; a lying proxy."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import docker
import docker.errors
import pytest


@dataclass
class Engine:
    """A dockerd with folders, a socket and a containerd of its own, and no network."""

    base: Path
    root: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Where it listens, as DOCKER_HOST has it."""
        return f"unix://{self.base}/docker.sock"

    def client(self) -> docker.DockerClient:
        """Return a client of it."""
        return docker.DockerClient(base_url=self.url, timeout=60)

    def start(self) -> "Engine":
        """Start it and wait until it answers."""
        options = {
            "--host": self.url,
            "--data-root": self.root,
            "--exec-root": self.base / "exec",
            "--pidfile": self.base / "pid",
            "--bridge": "none",
        }
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                # A network of its own: with no bridge to make, it removes docker0, which is another's.
                ["unshare", "--net", "dockerd", *map(str, chain.from_iterable(options.items())), "--iptables=false"],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            with suppress(docker.errors.DockerException):
                self.client().ping()
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"a private dockerd did not start:\n{(self.base / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it, and wait until it has."""
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@contextmanager
def private_engine(disk_mb: int | None = None) -> Iterator[Engine]:
    """Start an engine; with `disk_mb` its data lie on a disk of that size. It is gone at the end of the block."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd, for an engine of its own")
    with ExitStack() as at_end:
        base = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True)))
        root = base / "data"
        root.mkdir()
        if disk_mb:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk_mb}m", "none", root], check=True)
            at_end.callback(lambda: subprocess.run(["umount", "--lazy", root], check=True))
        engine = Engine(base, root)
        at_end.callback(engine.stop)
        yield engine.start()
        with suppress(docker.errors.DockerException):
            for each in engine.client().api.containers(all=True):
                engine.client().api.remove_container(each["Id"], force=True)


@dataclass
class Proxy:
    """Stands before an engine and refuses requests whose first line holds a text, with a status and a message."""

    port: int
    refuse: tuple[str, int, str] | None = None
    refused: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens, as DOCKER_HOST has it."""
        return f"tcp://127.0.0.1:{self.port}"


@contextmanager
def proxy(path: str = "/var/run/docker.sock") -> Iterator[Proxy]:
    """Put a proxy before the engine of a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Proxy(listener.getsockname()[1])

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(path)
        threading.Thread(target=pass_on, args=(engine, client), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(1 << 16):
                line = data.split(b"\r\n", 1)[0].decode(errors="replace")
                if line.endswith(" HTTP/1.1"):
                    made.asked.append(line)
                    if made.refuse and made.refuse[0] in line:
                        made.refused.append(line)
                        body = f'{{"message": "{made.refuse[2]}"}}'
                        head = f"HTTP/1.1 {made.refuse[1]} No\r\nConnection: close\r\n"
                        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                        break
                engine.sendall(data)
        for each in (client, engine):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield made
    finally:
        listener.close()
