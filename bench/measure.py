"""Time commands by turns, so that what the machine does meanwhile slows all of them alike."""

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portaldb.cluster import Cluster
from portaldb.errors import PortalError

FEWEST = 5
"""A median of fewer runs says nothing."""


def _nothing() -> None:
    """Need no preparation."""


@dataclass(frozen=True)
class Side:
    """One command that is timed, with the environment it runs in and what is done before each run, untimed."""

    name: str
    argv: list[str]
    environment: Mapping[str, str]
    folder: Path
    prepare: Callable[[], None] = field(default=_nothing)

    def run(self) -> float:
        """Run it once and return its wall-clock time in seconds; raise PortalError where it fails."""
        self.prepare()
        started = time.perf_counter()
        done = subprocess.run(
            self.argv,
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-10:]
            raise PortalError(f"{self.name} failed (exit status {done.returncode}):\n  " + "\n  ".join(said))
        return seconds


@dataclass(frozen=True)
class Times:
    """What was measured of two sides; the runs of equal index followed upon each other."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """Our median as a multiple of theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def ratios(self) -> list[float]:
        """Each run of ours as a multiple of theirs beside it."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]


def by_turns(ours: Side, theirs: Side, runs: int) -> Times:
    """Time two sides A B A B …, after a run of each that is thrown away: it fills the caches."""
    ours.run()
    theirs.run()
    pairs = [(ours.run(), theirs.run()) for _ in range(max(runs, FEWEST))]
    return Times([mine for mine, _ in pairs], [other for _, other in pairs])


def rates_by_turns(sides: Sequence[Callable[[], float]], runs: int) -> list[list[float]]:
    """Ask each side for its rate, A B C A B C …; the first turn, which fills the caches, is thrown away.

    Returns the rates of each side; those of equal index followed upon each other.
    """
    turns = [[side() for side in sides] for _ in range(runs + 1)]
    return [list(side) for side in zip(*turns[1:], strict=True)]


def pgbench(
    cluster: Cluster, database: str, script: Path, *argv: str, options: str = "", through: str | None = None
) -> float:
    """Run pgbench and return its transactions a second; raise PortalError where one of them failed.

    `options` are the session's, as PGOPTIONS has them; `through` is the URL of a pooler to go through.
    """
    said = _pgbench(cluster, script, argv, options, through or cluster.url(database))
    found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if not found:
        raise PortalError(f"pgbench told no rate:\n  {said[-600:]}")
    return float(found[1])


def pgbench_times(
    cluster: Cluster, database: str, script: Path, *argv: str, options: str = "", through: str | None = None
) -> list[float]:
    """Run pgbench and return how long each transaction took, in milliseconds; it takes what `pgbench` takes."""
    with tempfile.TemporaryDirectory() as folder:
        logged = ("-l", f"--log-prefix={folder}/log")
        _pgbench(cluster, script, (*argv, *logged), options, through or cluster.url(database))
        # client, its number, how long it took in microseconds, …
        return [int(line.split()[2]) / 1000 for log in Path(folder).iterdir() for line in log.read_text().splitlines()]


def _pgbench(cluster: Cluster, script: Path, argv: Sequence[str], options: str, url: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [str(cluster.programs / "pgbench"), "-n", *argv, "-f", str(script), url],
        env=environment | {"PGOPTIONS": options},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PortalError(f"pgbench {options} failed:\n  {done.stderr.strip()[-600:]}")
    return done.stdout
