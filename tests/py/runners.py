"""What the tests of the runner share: a database with rows, a runner under way, and its containers."""

import json
import secrets
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import containers
import docker
import docker.errors
from support import Text, ask, command, finish, one

LABEL = "portaldb.runner"


@dataclass
class Portal:
    """A database, a login of the runner's, and the containers that are this database's."""

    url: str
    login: str
    instance: str
    stack: ExitStack
    api: docker.APIClient
    environment: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Take away what is this database's."""
        for each in self.containers():
            with suppress(docker.errors.NotFound):
                self.api.remove_container(each["Id"], force=True)
        for volume in self.api.volumes(filters={"label": f"{LABEL}={self.instance}"})["Volumes"] or ():
            self.api.remove_volume(volume["Name"])

    def user(self) -> str:
        """Make a user."""
        name = secrets.token_hex(4)
        made = "INSERT INTO users (azure_oid, email) VALUES (%s, %s) RETURNING id"
        return str(one(self.url, made, name, f"{name}@example.org"))

    def server(self, image: str, **settings: object) -> str:
        """Make a server of an image, with settings of its container."""
        made = "INSERT INTO mcp_servers (name, image, metadata) VALUES (%s, %s, %s) RETURNING id"
        return str(one(self.url, made, secrets.token_hex(4), image, json.dumps({"container": settings})))

    def config(self, image: str = containers.IMAGE, user: str | None = None, **settings: object) -> str:
        """Make a configuration that is switched on."""
        made = "INSERT INTO user_server_configs (user_id, server_id, enabled) VALUES (%s, %s, true) RETURNING id"
        return str(one(self.url, made, user or self.user(), self.server(image, **settings)))

    def set(self, config: str, enabled: bool) -> None:
        """Switch it on or off."""
        ask(self.url, "UPDATE user_server_configs SET enabled = %s WHERE id = %s", enabled, config)

    def state(self, config: str) -> Any:  # noqa: ANN401 - NULL or a text
        """Return its state."""
        return one(self.url, "SELECT container_state FROM user_server_configs WHERE id = %s", config)

    def notes(self, config: str) -> Any:  # noqa: ANN401 - a row
        """Return reason, message, failures in a row, and whether a next attempt is to come."""
        query = (
            "SELECT reason, message, restart_count, next_retry_at > now() FROM container_status WHERE config_id = %s"
        )
        return ask(self.url, query, config)[0]

    def audited(self, config: str) -> list[str]:
        """Return what the trail says of it, in order."""
        return ask(self.url, "SELECT action FROM audit_logs WHERE resource_id = %s ORDER BY timestamp", config)

    def containers(self, config: str | None = None) -> list[dict[str, Any]]:
        """Return our containers as the engine lists them."""
        labels = [f"{LABEL}={self.instance}"] + ([f"{LABEL}.config={config}"] if config else [])
        return list(self.api.containers(all=True, filters={"label": labels}))

    def running(self, config: str | None = None) -> list[str]:
        """Return the ids of those that run."""
        return [each["Id"] for each in self.containers(config) if each["State"] == "running"]

    def start(self, *options: str, env: dict[str, str] | None = None) -> Text:
        """Start a runner and leave it running."""
        argv = ("runner", "run", "--instance", self.instance, *options)
        return self.stack.enter_context(command(*argv, database=self.login, env=self.environment | (env or {})))

    def once(self, *options: str, env: dict[str, str] | None = None) -> str:
        """Let a runner do what is to be done; return what it said."""
        done = finish(self.start("--once", *options, env=env))
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr


def talk(api: docker.APIClient, container: str, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Speak MCP with a container over its stdio, and return the results."""
    stream = api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stream": 1})
    connection: socket.socket = getattr(stream, "_sock", stream)
    connection.settimeout(10)
    found = []
    for number, (method, params) in enumerate(calls, 1):
        line = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        connection.sendall(json.dumps(line).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += connection.recv(4096)
        found.append(json.loads(answer[answer.index(b"{") :])["result"])  # after the frame's header
    stream.close()
    return found
