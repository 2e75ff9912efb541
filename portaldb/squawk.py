"""squawk, the linter of dangerous migrations: found, run, and its report read.

Source of its rules: https://squawkhq.com/docs/rules.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from portaldb.errors import EnvironmentMissingError, PortalError
from portaldb.findings import Finding

_FOUND_SOMETHING = 1


def executable() -> str | None:
    """Return the squawk program beside this Python, else the one on PATH, else None."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.is_file() else shutil.which("squawk")


def findings(
    sql: str | Sequence[Path],
    *,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    in_transaction: bool = True,
    pg_version: str = "15",
) -> list[Finding]:
    """Say what squawk finds in a text of SQL, or in files.

    Raises EnvironmentMissingError where squawk is not installed, PortalError where it does not answer.
    """
    program = executable()
    if program is None:
        raise EnvironmentMissingError(
            "squawk is not installed, so the SQL was not checked for statements that block traffic. "
            "Install it with: pip install 'mcp-portal-database[lint]'"
        )
    if not isinstance(sql, str) and not sql:
        return []
    command = [program, "--reporter=json", f"--pg-version={pg_version}"]
    # Said either way, so that a configuration file lying about does not decide it.
    command.append("--assume-in-transaction" if in_transaction else "--no-assume-in-transaction")
    command += [f"--exclude={','.join(exclude)}"] if exclude else []
    command += [f"--include={','.join(include)}"] if include else []
    if isinstance(sql, str):
        command.append("--stdin-filepath=statement.sql")
    else:
        command += ["--", *map(str, sql)]
    done = subprocess.run(
        command, input=sql if isinstance(sql, str) else None, capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout or "[]")
    except json.JSONDecodeError:
        report = None
    if report is None or done.returncode not in (0, _FOUND_SOMETHING):
        raise PortalError(
            f"squawk stopped with status {done.returncode} and did not check the SQL. It said: "
            f"{(done.stderr or done.stdout).strip()}"
        )
    return [
        Finding(
            path=each["file"],
            line=each["line"] + 1,
            rule=each["rule_name"],
            message=each["message"],
            help=each["help"] or "",
            tool="squawk",
        )
        for each in report
    ]
