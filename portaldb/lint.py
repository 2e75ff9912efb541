"""`portaldb lint`: our own rules, sqlfluff and squawk over the SQL files, in one report."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from portaldb import squawk
from portaldb.errors import EnvironmentMissingError, FindingsError, PortalError, UsageError
from portaldb.findings import Finding
from portaldb.layout import FOLDERS, in_checkout, sql_root
from portaldb.rules import ROLLBACK, RULES, File, Series
from portaldb.source import read_script

TOOLS = ("portaldb", "sqlfluff", "squawk")


@dataclass(frozen=True)
class Report:
    """What a run found, in the order of files and lines, and which tools were not there to look."""

    files: int
    outside: int
    """How many of the files lie outside the four folders, where only their form is judged."""
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the report for machines."""
        return {
            "clean": not self.findings and not self.missing,
            "files": self.files,
            "outside": self.outside,
            "findings": [asdict(finding) for finding in self.findings],
            "missing": list(self.missing),
        }

    def conclude(self) -> str:
        """Return the closing line; raise FindingsError for findings, EnvironmentMissingError for a missing tool."""
        count = len(self.findings)
        where = f"{self.files} {'file' if self.files == 1 else 'files'}"
        if self.outside:
            where += f" ({self.outside} outside {', '.join(FOLDERS)}: only how they are set)"
        said = f"{count} {'finding' if count == 1 else 'findings'} in {where}."
        if self.missing:
            raise EnvironmentMissingError(
                f"not installed: {' and '.join(self.missing)}, so the SQL was checked by the other rules alone: {said} "
                "Install what is missing with: "
                "pip install 'mcp-portal-database[lint]'"
            )
        if count:
            raise FindingsError(f"{said} docs/lint.md tells what our own rules want.")
        return f"Clean: {where}."


def run(paths: Sequence[Path] = (), tools: Sequence[str] = TOOLS) -> Report:
    """Apply the tools to the files (default: the four folders and tests/sql of this tree).

    Raises UsageError for a path that is not there, PortalError where a tool stops.
    """
    if not paths and not in_checkout():
        raise UsageError(
            "this portaldb is installed as a package, and its SQL was checked before it was released. "
            "Name the files or folders to check."
        )
    paths = paths or default_paths()
    files = sql_files(paths)
    if not files:
        raise UsageError(f"there is no .sql file below {', '.join(map(str, paths))}.")
    checks: dict[str, Callable[[Sequence[Path]], list[Finding]]] = {
        "portaldb": own_findings,
        "sqlfluff": sqlfluff_findings,
        "squawk": squawk_findings,
    }
    found: list[Finding] = []
    missing: list[str] = []
    for tool in tools:
        try:
            found += checks[tool](files)
        except EnvironmentMissingError:
            missing.append(tool)
    outside = sum(not in_series(path) for path in files)
    return Report(len(files), outside, tuple(sorted(found)), tuple(missing))


def default_paths() -> list[Path]:
    """Return the folders that `portaldb lint` reads when none is named."""
    root = sql_root()
    folders = [root / folder for folder in FOLDERS] + [root / "tests" / "sql"]
    return [folder for folder in folders if folder.is_dir()]


def sql_files(paths: Sequence[Path]) -> list[Path]:
    """Return the .sql files named, or lying below the folders named; raise UsageError for one that is not there."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(path.rglob("*.sql"))
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"there is no {path} to lint.")
    return list(dict.fromkeys(files))


def in_series(path: Path) -> bool:
    """Say whether a file lies in one of the four folders, by the folder's name: a tree may be linted where it lies."""
    return path.resolve().parent.name in FOLDERS


def own_findings(files: Sequence[Path]) -> list[Finding]:
    """Apply our rules to the files that lie in a folder of the series; to others the form of the text alone."""
    series: dict[Path, Series] = {}
    found: list[Finding] = []
    for path in files:
        root = path.resolve().parent.parent
        file_series = series.setdefault(root, Series.below(root))
        shown = os.path.relpath(path)
        try:
            script = read_script(path)
        except PortalError as error:
            found.append(Finding(shown, 1, "text-form", str(error)))
            continue
        file = File(path, shown, path.read_bytes(), script, file_series)
        names = RULES if in_series(path) else ("text-form",)
        for name in names:
            if name not in file.allowed:
                found += [Finding(shown, line, name, message) for line, message in RULES[name](file)]
    return sorted(found)


def sqlfluff_findings(files: Sequence[Path]) -> list[Finding]:
    """Say what sqlfluff finds, as pyproject.toml configures it; raise EnvironmentMissingError where it is not there."""
    if importlib.util.find_spec("sqlfluff") is None:
        raise EnvironmentMissingError("sqlfluff is not installed.")
    command = [sys.executable, "-m", "sqlfluff", "lint", "--format=json", "--processes=0", "--nofail"]
    config = sql_root() / "pyproject.toml"
    command += [f"--config={config}"] if in_checkout() else ["--dialect=postgres"]
    done = subprocess.run([*command, "--", *map(str, files)], capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise PortalError(
            f"sqlfluff stopped with status {done.returncode} and did not check the SQL. It said: "
            f"{(done.stderr or done.stdout).strip()[-2000:]}"
        ) from None
    return [
        Finding(
            path=os.path.relpath(each["filepath"]),
            line=violation["start_line_no"],
            rule=violation["name"] or violation["code"],
            message=violation["description"],
            tool="sqlfluff",
        )
        for each in report
        for violation in each["violations"]
        # What its grammar does not know (SET LOCAL a.b, for one) is not a fault: PostgreSQL's own parser is the judge.
        if violation["code"] != "PRS"
    ]


SQUAWK_EXCLUDED = {
    "require-lock-timeout": "the engine sets lock_timeout for every statement, and tries again",
    "require-statement-timeout": "what runs long is a table's size, which `plan` shows; cutting it off helps nobody",
    "prefer-text-field": "the schema document's varchar(n) are a contract with the services",
    "prefer-robust-stmts": "the engine applies a file whole or not at all; IF NOT EXISTS would hide a surprise",
}
"""squawk's rules that say nothing here, each with its reason."""

_DROPS = "ban-drop-"
"""What squawk calls its rules against DROP: a way back drops what the way there made, and says so in `-- loses:`."""


def squawk_findings(files: Sequence[Path]) -> list[Finding]:
    """Say what squawk finds in the files of the series; raise EnvironmentMissingError where it is not there."""
    series = [path for path in files if in_series(path)]
    groups: dict[bool, list[Path]] = {True: [], False: []}
    for path in series:
        try:
            groups[read_script(path).transactional].append(path)
        except PortalError:
            continue  # not text: the rule text-form says so
    found = [
        finding
        for transactional, members in groups.items()
        for finding in squawk.findings(members, exclude=tuple(SQUAWK_EXCLUDED), in_transaction=transactional)
        if not (finding.path.endswith(ROLLBACK) and finding.rule.startswith(_DROPS))
    ]
    return [replace(each, path=os.path.relpath(each.path)) for each in found]
