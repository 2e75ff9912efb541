"""The image of the holder: a program of a few bytes that waits, so that no registry and no shell is needed for it."""

import io
import struct
import tarfile

NAME = "portaldb-holder:1"

_MACHINES = {
    # pause(), for ever
    "x86_64": (62, bytes.fromhex("b8220000000f05ebf7")),
    # ppoll(NULL, 0, NULL, NULL), for ever
    "aarch64": (183, bytes.fromhex("000080d2010080d2020080d2030080d2280980d2010000d4faffff17")),
}


def image(machine: str) -> bytes:
    """Return the image's one layer as a tar. Raises KeyError for a machine that it was never written for."""
    number, code = _MACHINES[machine]
    base, start = 0x400000, 64 + 56
    size = start + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return tar("hold", header + code, 0o555)


def tar(name: str, content: bytes, mode: int) -> bytes:
    """Return a tar with one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), mode
        archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def untar(content: bytes, name: str) -> str | None:
    """Return the text of a tar's file."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = archive.extractfile(name)
        return None if found is None else found.read().decode()
