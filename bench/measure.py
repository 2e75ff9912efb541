"""Time commands by turns, so that what the machine does meanwhile slows all of them alike."""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
