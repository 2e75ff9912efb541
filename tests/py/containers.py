"""An image for the runner's tests, made here without a registry: a small MCP server in a shell script over stdio."""

import io
import shutil
import tarfile
from pathlib import Path

import docker
import docker.errors

IMAGE = "docker/mcp-github:latest"
"""As the seeds name it."""
BROKEN = "docker/mcp-broken:latest"
"""It says so and ends at once, with 3."""
BARE = "docker/mcp-bare:latest"
"""It has no shell, and nothing else that its entrypoint could be."""
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
BROKEN_SERVER = b"#!/bin/sh\necho it is broken\nexit 3\n"


def build(api: docker.APIClient | None = None) -> None:
    """Make the images, where they are not there yet. Needs Debian's busybox-static."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    assert busybox, "apt-get install busybox-static"
    api = api or docker.from_env().api
    base = {
        "bin/busybox": Path(busybox).read_bytes(),
        "server": SERVER.encode(),
        "broken": b"#!/bin/sh\necho it is broken\nexit 3\n",
    }
    links = ("sh", "sed", "wc", "echo")
    for name, entrypoint in ((IMAGE, "/server"), (BROKEN, "/broken")):
        _import(api, name, base, links, entrypoint)
    _import(api, BARE, {"data": b"no program"}, (), "/data")


def _import(api: docker.APIClient, name: str, files: dict[str, bytes], links: tuple[str, ...], entrypoint: str) -> None:
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
    repository, tag = name.split(":")
    changes = [f'ENTRYPOINT ["{entrypoint}"]', "ENV PATH=/bin"]
    api.import_image_from_data(made.getvalue(), repository=repository, tag=tag, changes=changes)
