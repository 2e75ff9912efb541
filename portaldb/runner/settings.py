"""How a container is started: the safe defaults, and what a server's and a user's settings may change of them.

Settings are the member `container` of `mcp_servers.metadata` and of `user_server_configs.config_metadata`. Both are
held to a JSON Schema; whoever adds a custom server writes the first, so what reaches beyond the container (networks,
capabilities, memory) is what the operator allows and nothing else.
"""

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

_TEXT = {"type": "string", "maxLength": 4096, "pattern": "^[^\\u0000]*$"}
_ENVIRONMENT = {
    "type": "object",
    "maxProperties": 100,
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,99}$"},
    "additionalProperties": _TEXT,
}
_LIMITS = {
    "memory_mb": {"type": "integer", "minimum": 8, "maximum": 1048576},
    "cpus": {"type": "number", "exclusiveMinimum": 0, "maximum": 64},
    "pids": {"type": "integer", "minimum": 1, "maximum": 4096},
    "read_only": {"type": "boolean"},
}
USER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {**_LIMITS, "env": _ENVIRONMENT},
}
SERVER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_LIMITS,
        "env": _ENVIRONMENT,
        "command": {"type": "array", "maxItems": 100, "items": _TEXT},
        "network": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", "not": {"const": "host"}},
        "capabilities": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z_]{2,40}$"}, "maxItems": 40},
        "tmpfs": {"type": "array", "items": {"type": "string", "pattern": "^/[A-Za-z0-9_./-]{1,200}$"}, "maxItems": 10},
        "user": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}(:[A-Za-z0-9_-]{1,32})?$"},
        "config_as": {"enum": ["file", "env"]},
        "grace_seconds": {"type": "integer", "minimum": 0, "maximum": 60},
        "logs": {"type": "boolean"},
    },
}


class RefusedSettingsError(Exception):
    """The settings ask for what nobody allowed; the message says which, and holds no value of theirs."""


@dataclass(frozen=True)
class Policy:
    """What the operator allows."""

    images: tuple[str, ...] = ()
    """Patterns; none means any."""
    digests: bool = False
    """Whether an image must be named with its digest."""
    networks: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    memory_mb: int = 512
    """At most, and what is given where nothing is asked."""
    cpus: float = 1.0
    pids: int = 128


@dataclass(frozen=True)
class Spec:
    """What a container is started with."""

    image: str
    memory_mb: int
    cpus: float
    pids: int
    command: tuple[str, ...] | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False, hash=False)
    read_only: bool = False
    network: str = "none"
    capabilities: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    user: str | None = None
    config_as: str = "file"
    grace_seconds: int = 10
    logs: bool = False


@lru_cache(maxsize=50_000)
def resolve(image: str, server: str | None, user: str | None, policy: Policy) -> Spec:
    """Return what to start; `server` and `user` are the settings' JSON. Raises RefusedSettingsError."""
    if policy.images and not any(fnmatchcase(image, pattern) for pattern in policy.images):
        raise RefusedSettingsError("the operator does not allow this image")
    if policy.digests and "@sha256:" not in image:
        raise RefusedSettingsError("the operator wants images named with their digest (name@sha256:…)")
    wide = _valid(server, SERVER_SCHEMA, "the server's metadata")
    narrow = _valid(user, USER_SCHEMA, "config_metadata")
    network = wide.pop("network", "none")
    if network != "none" and network not in policy.networks:
        raise RefusedSettingsError("the operator does not allow this network")
    if set(wide.get("capabilities", ())) - set(policy.capabilities):
        raise RefusedSettingsError("the operator does not allow one of these capabilities")
    if wide.get("memory_mb", 0) > policy.memory_mb or wide.get("cpus", 0) > policy.cpus:
        raise RefusedSettingsError("this is more memory or CPU than the operator allows")
    # A user may take away from what the server is given, and add to its environment.
    limits = {
        name: min(narrow.get(name, most), wide.get(name, most))
        for name, most in (("memory_mb", policy.memory_mb), ("cpus", policy.cpus), ("pids", policy.pids))
    }
    parts: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in wide.items()}
    parts |= limits
    parts["env"] = wide.get("env", {}) | narrow.get("env", {})
    parts["read_only"] = wide.get("read_only", False) or narrow.get("read_only", False)
    return Spec(image=image, network=network, **parts)


def _valid(text: str | None, schema: dict[str, Any], where: str) -> dict[str, Any]:
    if text is None:
        return {}
    from jsonschema import Draft202012Validator

    found = json.loads(text)
    fault = next(Draft202012Validator(schema).iter_errors(found), None)
    if fault is not None:
        # Never what stands there: an environment may hold what its author took for no secret.
        member = "/".join(str(part) for part in fault.path if fault.validator != "additionalProperties")[:100]
        raise RefusedSettingsError(
            f"'container{f'/{member}' if member else ''}' of {where} is not as its schema says ({fault.validator})"
        )
    return dict(found)
