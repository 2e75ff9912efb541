"""The report for people: a line a relation, and every cell that is not as meant with its evidence."""

from rich.console import Console
from rich.text import Text

from portaldb.report import console, table
from portaldb.verify import tell
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result

SHOWN = 20
"""Failures that are told in full; a report file has all of them."""


def show(outcome: Outcome) -> None:
    """Print the summary."""
    out = console()
    rows = []
    for name, results in _groups(outcome):
        failed = sum(not result.ok for result in results)
        verdict = Text(f"✗ {failed} not as meant", style="red") if failed else Text("✓ as meant", style="green")
        rows.append((name, f"{len(results):,}", verdict))
    out.print(table(("relation", "cells", ""), rows, right=frozenset({"cells"})))
    out.print()
    for result in outcome.failures[:SHOWN]:
        out.print(Text(f"✗ {tell.sentence(outcome, result)}", style="red"), soft_wrap=True)
        if statement := tell.statement(outcome, result):
            out.print(Text(f"    {statement}\n    → {outcome.labels.told(result.answer)}", style="dim"), soft_wrap=True)
    if len(outcome.failures) > SHOWN:
        out.print(f"… and {len(outcome.failures) - SHOWN:,} more; --json and --junit FILE have all of them.")
    _show_lints(out, outcome)
    good = not outcome.failures
    out.print(
        Text(
            f"{outcome.where}, PostgreSQL {outcome.version // 10000}: {len(outcome.results):,} cells, "
            f"{len(outcome.failures):,} not as meant, {outcome.seconds:.1f} s. "
            f"{'Rolled back; nothing was left behind.' if outcome.live else ''}".strip(),
            style="green" if good else "red",
        ),
        soft_wrap=True,
    )


def _show_lints(out: Console, outcome: Outcome) -> None:
    faults = [finding for finding in outcome.lints if not finding.ok]
    for each in faults:
        out.print(
            Text(f"✗ {each.lint.level} {each.lint.stem}: {each.object}: {each.detail}.", style="red"), soft_wrap=True
        )
        told = f"    {each.lint.fault}\n    → {each.lint.fix}\n    {each.lint.page}"
        out.print(Text(told, style="dim"), soft_wrap=True)
    accepted = len(outcome.lints) - len(faults)
    said = f"{len(outcome.linted)} catalog lints: {len(faults)} findings, {accepted} more accepted with a reason."
    out.print(Text(said, style="red" if faults else "green"), soft_wrap=True)


def _groups(outcome: Outcome) -> list[tuple[str, list[Result]]]:
    """Group results by relation; functions, roles and what is as meant of partitions are a line each."""
    relations = {*outcome.access.relations}

    def group(result: Result) -> str:
        name = result.cell.relation
        if name in relations:
            return name
        if "(" in name:
            return "functions"
        if name in outcome.access.roles:
            return "roles"
        parent = next((each for each in outcome.access.partitions if name.startswith(f"{each}_")), None)
        return f"partitions of {parent}" if parent else name

    groups: dict[str, list[Result]] = {name: [] for name in outcome.access.relations}
    for result in outcome.results:
        groups.setdefault(group(result), []).append(result)
    return [(name, results) for name, results in groups.items() if results]
