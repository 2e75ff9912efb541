"""The results as Markdown, with the machine they were measured on."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psycopg

from bench.measure import Times
from bench.rows import Row, program
from portaldb import __version__
from portaldb.cluster import Cluster
from portaldb.machine import this_machine

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

HEAD = (
    "| What | portaldb | beside | | ratio | of single pairs | runs | aim | met |\n"
    "|---|---:|---|---:|---:|---:|---:|---|---|"
)


def line(row: Row, times: Times) -> str:
    """Return one row of the table: medians in milliseconds, the ratio of the medians, and its spread."""
    ours, theirs = statistics.median(times.ours), statistics.median(times.theirs)
    cells = (
        row.what,
        f"{ours * 1000:.0f} ms",
        f"`{row.theirs.name}`",
        f"{theirs * 1000:.0f} ms",
        f"**{times.ratio:.2f}**",
        f"{min(times.ratios):.2f} to {max(times.ratios):.2f}",
        str(len(times.ours)),
        row.aim,
        "yes" if row.met(ours, times.ratio) else "no",
    )
    return f"| {' | '.join(cells)} |"


def machine(cluster: Cluster, without: Iterable[str]) -> str:
    """Describe what the numbers depend on: the machine, the server and its durability, the tools' versions."""
    found = this_machine(cluster.base)
    with psycopg.connect(cluster.url("postgres")) as connection:
        shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in ("server_version", *_SETTINGS))
        row = connection.execute(shown.encode()).fetchone() or ()
    version, *settings = map(str, row)
    tools = {
        "portaldb": __version__,
        "Python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
        "yoyo": metadata.version("yoyo-migrations"),
    }
    if "alembic" not in without:
        tools |= {"alembic": metadata.version("alembic"), "SQLAlchemy": metadata.version("SQLAlchemy")}
    if "sqitch" not in without:
        tools["sqitch"] = _ask("sqitch")
    if "psql" not in without:
        tools["psql"] = _ask("psql")
    durable = ", ".join(f"`{name} = {value}`" for name, value in zip(_SETTINGS, settings, strict=True))
    facts = {
        "Measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "Machine": f"{found.cores} cores of {_processor()}, {found.memory / 2**30:.0f} GB of memory",
        "Load before": f"{os.getloadavg()[0]:.1f} (processes that were running or waiting, over a minute)",
        "System": f"{platform.system()} {platform.release().split('-')[0]}",
        "Server": f"PostgreSQL {version.split()[0]}, over its socket, {durable}",
        "Tools": ", ".join(f"{name} {version}" for name, version in tools.items()),
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")


def write(path: Path, text: str) -> None:
    """Put the results between the page's two marks; raise ValueError where it has none."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} … {END} to put the results between")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


def _ask(name: str) -> str:
    said = subprocess.run([program(name) or name, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else said.strip()
