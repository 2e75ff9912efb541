"""An image for the runner's tests, made here without a registry: a small MCP server in a shell script over stdio."""

import gzip
import hashlib
import io
import json
import secrets
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import docker.errors

IMAGE = "docker/mcp-github:latest"
"""As the seeds name it."""
BROKEN = "docker/mcp-broken:latest"
"""It says so and ends at once, with 3."""
BARE = "docker/mcp-bare:latest"
"""It has no shell, and nothing else that its entrypoint could be."""
GREEDY = "docker/mcp-greedy:latest"
"""It takes all the memory that it can get."""
MISSING = "docker/mcp-missing:latest"

# Line by line, as MCP's stdio transport has it; it answers what it is asked and reads its configuration when asked to.
SERVER = r"""#!/bin/sh
while read -r line; do
    id=$(echo "$line" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p')
    case $line in
        *'"initialize"'*) result='{"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "small", "version": "1"}}' ;;
        *'"tools/list"'*) result='{"tools": [{"name": "length", "inputSchema": {"type": "object"}}]}' ;;
        *'"tools/call"'*) result="{\"content\": [{\"type\": \"text\", \"text\": \"$(wc -c < "$PORTAL_CONFIG_FILE")\"}]}" ;;
        *) continue ;;
    esac
    echo "{\"jsonrpc\": \"2.0\", \"id\": $id, \"result\": $result}"
done
"""  # noqa: E501 - a line of the protocol is one line
GREEDY_SERVER = b"#!/bin/sh\nexec busybox tail /dev/zero\n"
BROKEN_SERVER = b"#!/bin/sh\necho it is broken\nexit 3\n"

LINKS = ("sh", "sed", "wc", "echo")


def build(api: docker.APIClient | None = None) -> None:
    """Make the images, where they are not there yet. Needs Debian's busybox-static."""
    api = api or docker.from_env().api
    base = {
        "bin/busybox": _busybox(),
        "server": SERVER.encode(),
        "broken": BROKEN_SERVER,
        "greedy": GREEDY_SERVER,
    }
    for name, entrypoint in ((IMAGE, "/server"), (BROKEN, "/broken"), (GREEDY, "/greedy")):
        _import(api, name, base, LINKS, entrypoint)
    _import(api, BARE, {"data": b"no program"}, (), "/data")


def _import(api: docker.APIClient, name: str, files: dict[str, bytes], links: tuple[str, ...], entrypoint: str) -> None:
    repository, tag = name.split(":")
    changes = [f'ENTRYPOINT ["{entrypoint}"]', "ENV PATH=/bin"]
    api.import_image_from_data(_tar(files, links), repository=repository, tag=tag, changes=changes)


@dataclass
class Registry:
    """A registry with one image, which it may not have yet."""

    image: str
    has: bool = True
    taken: int = 0
    """How often somebody took the image's layer."""


@contextmanager
def registry() -> Iterator[Registry]:
    """Serve the small server's image, slowly, as registries do (the distribution specification's GETs)."""
    unique = secrets.token_bytes(8)  # or the engine would know the layer from another time
    layer = _tar({"bin/busybox": _busybox(), "server": SERVER.encode(), "unique": unique}, LINKS)
    config = json.dumps(
        {
            "architecture": docker.from_env().version()["Arch"],
            "os": "linux",
            "config": {"Entrypoint": ["/server"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    packed = gzip.compress(layer)
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": _blob("application/vnd.docker.container.image.v1+json", config),
            "layers": [_blob("application/vnd.docker.image.rootfs.diff.tar.gzip", packed)],
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer with the manifest or a blob."""
            last = self.path.rpartition("/")[2]
            blobs = {_digest(each): (each, "application/octet-stream") for each in (config, packed)}
            named = {"": (b"{}", "application/json"), "1": (manifest, kind), _digest(manifest): (manifest, kind)}
            body, content_type = (named | blobs).get(last, (b"", ""))
            if last == _digest(packed) and self.command == "GET":
                made.taken += 1
                time.sleep(2)
            if not content_type or (last == "1" and not made.has):
                status, body = 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            else:
                status = 200
            self.send_response(status)
            self.send_header("Content-Type", content_type or "application/json")
            self.send_header("Docker-Content-Digest", _digest(body))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Registry(f"127.0.0.1:{server.server_address[1]}/mcp/small:1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _busybox() -> bytes:
    found = shutil.which("busybox", path="/bin:/usr/bin")
    assert found, "apt-get install busybox-static"
    return Path(found).read_bytes()


def _tar(files: dict[str, bytes], links: tuple[str, ...]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for link in links:
            entry = tarfile.TarInfo(f"bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return made.getvalue()
