"""The report for people: what is wrong with its evidence, a line for each part of the run, and the verdict last."""

from collections.abc import Iterable, Iterator

from rich.text import Text

from portaldb.report import console, table
from portaldb.verify import tell
from portaldb.verify.outcome import Mutant, Outcome
from portaldb.verify.trial import Result

SHOWN = 20
"""Failures of a kind that are told in full; a report file has all of them."""


def show(outcome: Outcome) -> None:
    """Print the summary: on a terminal the verdict is what stands above the prompt."""
    out = console()
    for part in (_cells(outcome), _lints(outcome), _tests(outcome)):
        for line in part:
            # A terminal breaks sentences between words; a statement stays one line, to be copied.
            out.print(line, soft_wrap=not out.is_terminal or line.style == "dim")
    if outcome.failures:
        out.print(_relations(outcome))
        out.print()
    if outcome.mutants is not None:
        _show_mutants(outcome.mutants)
    for good, said in _summary(outcome):
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}[good]
        out.print(Text(f"{mark} {said}", style=style), soft_wrap=True)
    verdict = "✓ Isolation holds" if outcome.ok else "✗ Isolation does not hold"
    end = " Rolled back; nothing was left behind." if outcome.live else ""
    where = f"{outcome.where}, PostgreSQL {outcome.version // 10000}"
    out.print(
        Text(f"{verdict}: {where}, {outcome.seconds:.1f} s.{end}", style="bold green" if outcome.ok else "bold red"),
        soft_wrap=True,
    )


def _cells(outcome: Outcome) -> Iterator[Text]:
    for result in outcome.failures[:SHOWN]:
        yield Text(f"✗ {tell.sentence(outcome, result)}", style="red")
        if statement := tell.statement(outcome, result):
            yield Text(f"    {statement}\n    → {outcome.labels.told(result.answer)}", style="dim")
    yield from _more(len(outcome.failures))


def _lints(outcome: Outcome) -> Iterator[Text]:
    found = sorted(
        (finding for finding in outcome.lints if not finding.ok), key=lambda finding: finding.lint.level != "error"
    )
    for finding in found[:SHOWN]:
        yield Text(f"✗ {finding.lint.level} {finding.lint.stem}: {finding.object}: {finding.detail}.", style="red")
        told = f"    {finding.lint.fault}\n    → {finding.lint.fix}\n    {finding.lint.page}"
        yield Text(told, style="dim")
    yield from _more(len(found))


def _tests(outcome: Outcome) -> Iterator[Text]:
    failed = [(file.name, said) for file in outcome.tests or () for said in file.failed]
    for name, said in failed[:SHOWN]:
        yield Text(f"✗ pgTAP {name}: {said}", style="red")
    yield from _more(len(failed))


def _more(count: int) -> Iterator[Text]:
    if count > SHOWN:
        yield Text(f"… and {count - SHOWN:,} more; --json, --html FILE and --junit FILE have all of them.")


def _relations(outcome: Outcome) -> object:
    """Lay out where the failures are; what is as meant is one number of the summary."""
    rows = []
    for name, results in _groups(outcome):
        if failed := sum(not result.ok for result in results):
            rows.append((name, f"{len(results):,}", Text(f"✗ {failed:,} not as meant", style="red")))
    return table(("relation", "cells", ""), rows, right=frozenset({"cells"}))


def _summary(outcome: Outcome) -> Iterator[tuple[bool | None, str]]:
    """Yield a line for each part of the run, and whether it is good; None where it was not run."""
    groups = [name for name, _ in _groups(outcome)]
    places = sum(name not in ("functions", "roles") for name in groups)
    failed = len(outcome.failures)
    told = f"{len(outcome.results):,} on {_count(places, 'relation')}, functions and roles"
    yield not failed, f"cells    {told}; {failed:,} not as meant"
    if outcome.linted:
        wrong = sum(not finding.ok for finding in outcome.lints)
        yield not wrong, f"lints    {_count(len(outcome.linted), 'rule')}; {_findings(outcome, wrong)}"
    if outcome.tests is not None:
        bad = sum(len(file.failed) for file in outcome.tests)
        ran = [file for file in outcome.tests if not file.skipped]
        said = f"{_count(sum(file.assertions for file in ran), 'assertion')} in {_count(len(ran), 'file')}"
        yield not bad, f"pgTAP    {said}; {bad:,} failed"
        for file in outcome.tests:
            if file.skipped:
                yield None, f"not run: pgTAP {file.name} ({file.skipped})"
    elif not outcome.live:
        yield None, f"not run: pgTAP ({outcome.without_tests or 'not asked for'})"
    if outcome.mutants is not None:
        yield all(mutant.ok for mutant in outcome.mutants), f"mutants  {score(outcome.mutants)}"


def _findings(outcome: Outcome, wrong: int) -> str:
    accepted = len(outcome.lints) - wrong
    let = f", {accepted:,} accepted for a written reason" if accepted else ""
    return f"{_count(wrong, 'finding')}{let}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


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


def score(tried: list[Mutant]) -> str:
    """Say in one line how many weakenings were noticed, and by what."""
    killed = sum(bool(mutant.killed_by) for mutant in tried)
    behaviour = sum(mutant.behaviour for mutant in tried)
    accepted = sum(bool(mutant.accepted) for mutant in tried)
    left = sum(not mutant.ok for mutant in tried)
    share = 100 * killed / (len(tried) - accepted) if len(tried) > accepted else 100
    # Rounded down: 100 % is said of all of them alone.
    return (
        f"{len(tried):,} tried, {killed:,} killed ({int(share * 10) / 10:g} %): {behaviour:,} by what was tried, "
        f"{killed - behaviour:,} by the catalog alone; {accepted:,} accepted, {left:,} unnoticed."
    )


UNNOTICED = (
    "The suite would not notice every weakening of the rules; those are listed above. Add a row, an actor or a "
    "trial to the access file that tells the difference, or list it there under [survivors] with the reason."
)
"""What to do about survivors."""


def _groups(outcome: Outcome) -> Iterable[tuple[str, list[Result]]]:
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
