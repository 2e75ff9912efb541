"""The report for people: a line a relation, and every cell that is not as meant with its evidence."""

from rich.text import Text

from portaldb.report import console, table
from portaldb.verify import tell
from portaldb.verify.outcome import Mutant, Outcome
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
    if outcome.mutants is not None:
        _show_mutants(outcome.mutants)
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


def _show_mutants(tried: list[Mutant]) -> None:
    """Print a line for each kind of weakening, every survivor, and the score."""
    out = console()
    kinds: dict[str, list[Mutant]] = {}
    for mutant in tried:
        kinds.setdefault(mutant.kind, []).append(mutant)
    rows = []
    for kind, each in kinds.items():
        behaviour = sum(mutant.behaviour for mutant in each)
        catalog = sum(bool(mutant.killed_by) for mutant in each) - behaviour
        left = sum(not mutant.ok for mutant in each)
        verdict = Text(f"✗ {left} unnoticed", style="red") if left else Text("✓ noticed", style="green")
        rows.append((kind, f"{len(each):,}", f"{behaviour:,}", f"{catalog:,}", verdict))
    headings = ("weakening", "mutants", "tried", "catalog", "")
    out.print(table(headings, rows, right=frozenset({"mutants", "tried", "catalog"})))
    out.print()
    for mutant in tried:
        if not mutant.killed_by:
            style, sign = ("yellow", "○") if mutant.ok else ("red", "✗")
            reason = f" Accepted: {mutant.accepted}." if mutant.accepted else ""
            out.print(Text(f"{sign} {mutant.kind}: {mutant.statement}{reason}", style=style), soft_wrap=True)
    out.print(Text(score(tried), style="green" if all(mutant.ok for mutant in tried) else "red"), soft_wrap=True)


def score(tried: list[Mutant]) -> str:
    """Say in one line how many weakenings were noticed, and by what."""
    killed = sum(bool(mutant.killed_by) for mutant in tried)
    behaviour = sum(mutant.behaviour for mutant in tried)
    accepted = sum(bool(mutant.accepted) for mutant in tried)
    left = sum(not mutant.ok for mutant in tried)
    share = 100 * killed / (len(tried) - accepted) if len(tried) > accepted else 100
    # Rounded down: 100 % is said of all of them alone.
    return (
        f"{len(tried):,} mutants, {killed:,} killed ({int(share * 10) / 10:g} %): {behaviour:,} by what was tried, "
        f"{killed - behaviour:,} by the catalog alone; {accepted:,} accepted, {left:,} unnoticed."
    )


UNNOTICED = (
    "The suite would not notice every weakening of the rules; those are listed above. Add a row, an actor or a "
    "trial to the access file that tells the difference, or list it there under [survivors] with the reason."
)
"""What to do about survivors."""


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
