"""What a run of the verifier found, in one place for every report: cells, lints, pgTAP's tests, mutants."""

from dataclasses import dataclass, field

from portaldb.verify.access import Access
from portaldb.verify.labels import Labels
from portaldb.verify.trial import Result


@dataclass(frozen=True)
class Lint:
    """A rule that the catalog is held to: the number and stem of its SQL file, what is wrong, how it is mended."""

    stem: str
    """Number and name, as of the file: '0005_duplicate_index'."""
    level: str
    """'error' or 'warning'; both fail, a reader sees the errors first."""
    fault: str
    fix: str

    @property
    def page(self) -> str:
        """The lint's page, relative to the project."""
        return f"docs/verify-lints/{self.stem}.md"


@dataclass(frozen=True)
class LintFinding:
    """What a lint found of one object."""

    lint: Lint
    object: str
    detail: str
    accepted: str = ""
    """The reason by which the access file lets it pass; empty where it does not."""

    @property
    def ok(self) -> bool:
        """Whether it is accepted."""
        return bool(self.accepted)


@dataclass(frozen=True)
class TestFile:
    """A file of pgTAP tests as pg_prove ran it; `failed` has the descriptions of what failed."""

    __test__ = False  # pytest takes classes of this name for tests

    name: str
    assertions: int
    failed: tuple[str, ...] = ()
    skipped: str = ""
    """The reason by which the file skipped itself; empty where it ran."""

    @property
    def ok(self) -> bool:
        """Whether each assertion held."""
        return not self.failed


@dataclass(frozen=True)
class Mutant:
    """A single-step weakening, and whether the suite turned red."""

    kind: str
    """Such as 'drop policy' or 'grant column'."""
    object: str
    statement: str
    killed_by: str
    """The first failure in words; empty for a survivor."""
    accepted: str = ""
    """The reason by which the access file lets it survive."""
    behaviour: bool = False
    """Whether a statement that was tried showed it, and not the catalog alone."""

    @property
    def ok(self) -> bool:
        """Whether it was killed, or lives for a written reason."""
        return bool(self.killed_by or self.accepted)


@dataclass(frozen=True)
class Outcome:
    """What a run found, where, and how long it took in seconds. None stands for what was not part of the run."""

    where: str
    live: bool
    access: Access
    labels: Labels
    results: list[Result]
    seconds: float
    version: int
    lints: list[LintFinding] = field(default_factory=list)
    linted: list[Lint] = field(default_factory=list)
    """Every lint that ran, found something or not."""
    tests: list[TestFile] | None = None
    without_tests: str = ""
    """Why pgTAP was not run; empty where it was."""
    mutants: list[Mutant] | None = None

    @property
    def failures(self) -> list[Result]:
        """The cells that are not as expected, in the order of the matrix."""
        return [result for result in self.results if not result.ok]

    @property
    def ok(self) -> bool:
        """Whether nothing at all is other than meant."""
        parts = (self.results, self.lints, self.tests or (), self.mutants or ())
        return all(each.ok for part in parts for each in part)
