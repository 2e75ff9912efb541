"""The benchmark compares fairly: by turns, medians, and never a row that silently is not there."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

from bench import page
from bench.measure import FEWEST, Side, Times, by_turns
from bench.rows import INSTALL, Row
from portaldb.errors import PortalError


def side(tmp_path: Path, letter: str, code: str = "") -> Side:
    """Return a command that writes its letter into a common log."""
    script = f"open('log', 'a').write('{letter}'){code}"
    return Side(letter, [sys.executable, "-c", script], clean_environment(), tmp_path)


def test_sides_run_by_turns_after_a_run_that_does_not_count(tmp_path: Path) -> None:
    """A B A B …: what slows the machine for a while slows both."""
    times = by_turns(side(tmp_path, "a"), side(tmp_path, "b"), 1)
    assert (tmp_path / "log").read_text() == "ab" * (FEWEST + 1)
    assert len(times.ours) == len(times.theirs) == FEWEST


def test_failing_side_is_told_with_its_words(tmp_path: Path) -> None:
    """A command that fails is quick, and no measurement."""
    with pytest.raises(PortalError, match=r"b failed \(exit status 1\):\n  no such table"):
        by_turns(side(tmp_path, "a"), side(tmp_path, "b", "; import sys; sys.exit('no such table')"), FEWEST)


def test_line_compares_medians_and_shows_the_spread_of_pairs(tmp_path: Path) -> None:
    """One slow run moves the spread and not the ratio."""
    row = Row("`x`", side(tmp_path, "a"), side(tmp_path, "b"), 5, "faster", lambda _seconds, ratio: ratio < 1)
    line = page.line(row, Times([0.1, 0.1, 0.1, 0.1, 0.9], [0.2, 0.2, 0.2, 0.2, 0.1]))
    assert line == "| `x` | 100 ms | `b` | 200 ms | **0.50** | 0.50 to 9.00 | 5 | faster | yes |"


def test_write_replaces_what_is_between_the_marks(tmp_path: Path) -> None:
    """The prose around the table is a person's."""
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(path, "new")
    assert path.read_text() == f"before\n{page.BEGIN}\n\nnew\n\n{page.END}\nafter\n"
    path.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        page.write(path, "new")


def test_missing_tool_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    """A row is left out by the person's word alone."""
    script = "import sys, bench.rows\nbench.rows.program = lambda name: None\nfrom bench.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert all(f"{name}: {how}, or go on --without {name}" in done.stderr for name, how in INSTALL.items())


def test_bench_of_encryption_runs(tmp_path: Path) -> None:
    """With next to nothing to measure it comes to its end, and every table is in the page."""
    from click.testing import CliRunner

    from bench.encryption import main

    path = tmp_path / "page.md"
    path.write_text(f"{page.BEGIN}\n{page.END}\n")
    few = ["--values=20", "--calls=5", "--rows=100", "--rotated=20000", "--runs=1", "--seconds=1"]
    done = CliRunner().invoke(main, [*few, "--write", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = path.read_text()
    assert text.count("| encrypt, bound |") == 4
    assert text.count("| decrypt | A256GCM |") == 2
    assert "`monitor_encryption_keys` over 100 rows" in text
    assert "readers' p99" in text


def test_bench_of_the_api_runs(tmp_path: Path) -> None:
    """With next to nothing to measure it comes to its end: functions, times to read, what the feed costs."""
    from click.testing import CliRunner

    from bench.api import main

    path = tmp_path / "page.md"
    path.write_text(f"{page.BEGIN}\n{page.END}\n")
    few = ["--users=200", "--bulk=20", "--trail=2000", "--months=2", "--runs=1", "--calls=5"]
    done = CliRunner().invoke(main, [*few, "--write", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = path.read_text()
    assert text.count("| `authenticate") == 6
    assert text.count("| `create_audit_log`") == 4
    assert text.count("| `bulk_enable` of 50 |") == 3
    assert text.count("| `user_dashboard` of one user") == 2
    assert text.count("| a page of the trail") == 11
    assert "| 16 clients |" in text


@pytest.mark.docker
def test_bench_of_the_runner_runs(tmp_path: Path) -> None:
    """With next to nothing to measure it comes to its end: starts, what it costs idle, a large table."""
    from click.testing import CliRunner

    from bench.runner import main

    path = tmp_path / "page.md"
    path.write_text(f"{page.BEGIN}\n{page.END}\n")
    few = ["--runs=1", "--together=1", "--many=2", "--idle=2", "--table=50"]
    done = CliRunner().invoke(main, [*few, "--write", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = path.read_text()
    assert text.count("| enable → running") == 3
    assert "statements a minute" in text
    assert "a look over 50 rows" in text
