"""What a machine has, and which of the server's settings do not fit it."""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What the settings are fitted to: memory and free disk in bytes, and cores."""

    memory: int
    cores: int
    disk: int


@dataclass(frozen=True)
class Fitted:
    """A setting that was lowered: its value in deploy/postgresql.conf, the value that fits, and why."""

    name: str
    asked: str
    fits: str
    why: str


def this_machine(folder: Path) -> Machine:
    """Measure this machine, and the disk a folder lies on; a container's memory limit counts where it is lower."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(Path(limit).read_text()))
    return Machine(memory, len(os.sched_getaffinity(0)), shutil.disk_usage(folder).free)


_SETTING = re.compile(r"^\s*([\w.]+)\s*=\s*'?([^'#\n]*?)'?\s*(?:#.*)?$", re.MULTILINE)
_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}


def settings_of(text: str) -> dict[str, str]:
    """Read the settings of a postgresql.conf."""
    return dict(_SETTING.findall(text))


def fit(settings: Mapping[str, str], machine: Machine) -> list[Fitted]:
    """Lower the settings that do not fit, to the share of a machine that the spec's values are of 8 GB, 8 cores.

    max_worker_processes stays: it is a number of slots, which pg_cron's jobs need too, and an empty one is free.
    """
    memory = f"{_size(machine.memory)} of memory"
    cores = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}"
    disk = f"{_size(machine.disk)} of free disk"
    limits = [
        ("shared_buffers", machine.memory // 4, f"a quarter of {memory}"),
        ("effective_cache_size", machine.memory * 3 // 4, f"three quarters of {memory}"),
        ("maintenance_work_mem", machine.memory // 16, f"a sixteenth of {memory}"),
        ("min_wal_size", machine.disk // 32, f"a part of {disk}"),
        ("max_wal_size", machine.disk // 8, f"a part of {disk}"),
        ("max_parallel_workers", machine.cores, cores),
        ("max_parallel_workers_per_gather", max(1, machine.cores // 2), f"half of {cores}"),
    ]
    fitted = []
    for name, limit, why in limits:
        asked = settings.get(name)
        if asked is None:
            continue
        unit = asked[-2:] if asked[-2:] in _UNITS else ""
        if int(asked.removesuffix(unit)) * _UNITS.get(unit, 1) > limit:
            # The server refuses to start with less WAL than two segments of 16 MB.
            fits = f"{max(32, limit // 2**20)}MB" if unit else str(limit)
            fitted.append(Fitted(name, asked, fits, why))
    return fitted


def told(fitted: Sequence[Fitted]) -> str:
    """Say in a sentence what was lowered."""
    parts = ", ".join(f"{one.name} {one.fits} (not {one.asked}: {one.why})" for one in fitted)
    return f"Fitted to this machine: {parts}."


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count // 2**20} MB"
