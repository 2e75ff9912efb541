"""Mutation testing of the rules: each weakening is applied in a savepoint, and the suite must turn red.

The suite is what `portaldb verify` tries (the matrix, the trials), reads (the catalog checks, the lints) and runs
(pgTAP). What noticed a change of the same object before is tried first, then what the change touches, then the catalog
is read, then all the rest is tried: so whatever survives has survived everything. Of the text of a function pgTAP's
tests tell the most, and they come before all of that, on a database without synthetic rows.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event

import psycopg

from portaldb import database
from portaldb.database import Connection, query
from portaldb.errors import FindingsError
from portaldb.report import console, now_and_then
from portaldb.source import Migration
from portaldb.verify import coverage, found, inside, lints, mutants, run, tell, trial, trials
from portaldb.verify.access import Access
from portaldb.verify.cells import REFUSED, Cell
from portaldb.verify.inside import Script
from portaldb.verify.labels import Labels
from portaldb.verify.mutants import Change
from portaldb.verify.outcome import Mutant, Outcome
from portaldb.verify.trial import Result

CHUNK = 200
"""Grants a round trip."""

_QUICK = 1.0
"""Seconds of a pgTAP file that is run for each change of a function before anything else is tried."""

_FIRST, _MOST = 40, trial.BATCH
"""Cells of the first round trip, and of a later one: most weakenings show at once."""

_REMEMBERED = 20
"""Cells that noticed an earlier change of an object, which are tried first for the next."""

_SILENT = 60.0
"""Seconds between two lines that tell how far it is, where there is no terminal."""

Advance = Callable[[int, int], None]
"""Takes how many changes are done, and of how many."""


class _StoppedError(Exception):
    """Another worker failed, or the person gave up."""


@dataclass(frozen=True)
class _Suite:
    """What a worker tries, on a database of its own."""

    connection: Connection
    access: Access
    labels: Labels
    cells: list[Cell]
    shown: list[Cell]
    """The trials of constraints and triggers."""
    by_relation: dict[str, list[Cell]]
    """Cells, then trials."""
    stop: Event
    noticed: dict[str, list[Cell]] = field(default_factory=dict)
    """The cells that noticed earlier changes of an object, or of any (""), the last one first."""

    def remember(self, change: Change, cell: Cell) -> None:
        """Keep what noticed a change: the next one of the same object shows there more often than not."""
        for name in (change.object, ""):
            earlier = [each for each in self.noticed.get(name, []) if each is not cell]
            self.noticed[name] = [cell, *earlier][:_REMEMBERED]

    def remembered(self, change: Change) -> list[Cell]:
        """Return what noticed changes of the same object, then of others."""
        cells = [*self.noticed.get(change.object, []), *self.noticed.get("", [])]
        return list({id(cell): cell for cell in cells}.values())

    def results(self, cells: list[Cell]) -> list[Result]:
        """Try cells of either sort, the trials first; raise _StoppedError where the run is over."""
        if self.stop.is_set():
            raise _StoppedError
        shown = {id(cell) for cell in self.shown}
        # Of the rows that a foreign key may be shown with, one is enough: they are answered together or not at all.
        together = {(cell.relation, cell.what) for cell in cells if cell.what.startswith(trials.ON_DELETE)}
        chosen = {id(cell) for cell in cells}
        return [
            *trials.run(
                self.connection,
                [cell for cell in self.shown if id(cell) in chosen or (cell.relation, cell.what) in together],
                self.access.setting,
            ),
            *trial.run(self.connection, [cell for cell in cells if id(cell) not in shown], self.access.setting),
        ]


def mutated(outcome: Outcome, url: str, migrations: list[Migration], tests: Sequence[Path] = ()) -> Outcome:
    """Return a green outcome with what became of every mutant, tried on its database and on a second one like it.

    `tests` are pgTAP's files, which tell of the text of functions.
    """
    began = time.monotonic()
    setup = outcome.access.setup
    with run.throwaway(url, migrations, run.quiet, setup) as second, _progress() as advance:
        tried = mutate([url, second], outcome.access, advance, tests)
    return replace(outcome, mutants=tried, seconds=outcome.seconds + time.monotonic() - began)


@contextmanager
def _progress() -> Iterator[Advance]:
    """Show a bar on a terminal; elsewhere a line now and then, so that a log tells that it goes on."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    out = console(stderr=True)
    columns = (TextColumn("mutants"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("mutants", total=None)
        due = now_and_then(_SILENT)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not out.is_terminal and due():
                out.print(f"{done:,} of {total:,} mutants tried")

        yield advance


def mutate(urls: list[str], access: Access, advance: Advance, tests: Sequence[Path] = ()) -> list[Mutant]:
    """Try every change, shared out among throwaway databases that are alike; return what became of each.

    Raises whatever a worker raised; then, and on Ctrl-C, the others stop at once.
    """
    generated = changes(urls[0], access)
    work = _Work(len(generated), advance)
    once, scripts = inside.read(tests)
    work.textual.extend(change for change in generated if _is_text(change))
    if scripts:
        _together(work, [partial(_tester, url, work, once, scripts, patience=_QUICK) for url in urls])
    told = {change for change, _ in work.done}
    left = [change for change in generated if change not in told]
    work.shared.extend([change] for change in left if change.shared)
    work.common.extend(_chunks(change for change in left if not change.shared))
    _together(work, [partial(_worker, url, access, work, shared=not place) for place, url in enumerate(urls)])
    alive = [change for change, mutant in work.done if mutant and not mutant.killed_by and _is_text(change)]
    work.textual.clear()
    work.textual.extend(alive)
    if scripts and alive:
        _together(work, [partial(_tester, url, work, once, scripts, patience=math.inf) for url in urls])
    # What the last of these told counts.
    order = {change: place for place, change in enumerate(generated)}
    tried = sorted(dict(work.done).items(), key=lambda pair: order[pair[0]])
    return accept([mutant for _, mutant in tried if mutant], access.survivors)


def _is_text(change: Change) -> bool:
    return change.textual and change.kind.startswith("function: ")


def accept(tried: list[Mutant], survivors: dict[str, str]) -> list[Mutant]:
    """Give survivors the reason that the access file lists for them; a listed one that does not survive is added."""
    patterns = {pattern: re.compile(re.escape(pattern).replace(r"\*", ".*")) for pattern in survivors}
    used: set[str] = set()
    judged = []
    for mutant in tried:
        named = f"{mutant.kind}: {mutant.statement}"
        pattern = next((each for each, form in patterns.items() if form.fullmatch(named)), "")
        if pattern and not mutant.killed_by:
            used.add(pattern)
            mutant = replace(mutant, accepted=survivors[pattern])  # noqa: PLW2901 - the same one, judged
        judged.append(mutant)
    stale = "listed in [survivors], and nothing like it survives: it is noticed, or is not there any more"
    return [*judged, *(Mutant("stale exception", pattern, stale, "") for pattern in survivors if pattern not in used)]


@dataclass
class _Work:
    """What is left to do, and what came of the rest; deques are safe between threads."""

    total: int
    advance: Advance
    textual: deque[Change] = field(default_factory=deque)
    """Changes of the text of functions, of which pgTAP's tests tell."""
    shared: deque[list[Change]] = field(default_factory=deque)
    common: deque[list[Change]] = field(default_factory=deque)
    done: list[tuple[Change, Mutant | None]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    stop: Event = field(default_factory=Event)

    def take(self, *, shared: bool) -> list[Change]:
        for waiting in [self.shared, self.common] if shared else [self.common]:
            if waiting and not self.stop.is_set():
                try:
                    return waiting.popleft()
                except IndexError:
                    continue
        return []

    def finish(self, finished: list[tuple[Change, Mutant | None]]) -> None:
        self.done += finished
        self.advance(len(self.done), self.total)


def _together(work: _Work, workers: list[Callable[[], None]]) -> None:
    """Run the workers; when one raises, or on Ctrl-C, the others stop at once."""
    with ThreadPoolExecutor(len(workers)) as pool:
        futures = [pool.submit(worker) for worker in workers]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            work.stop.set()
            for connection in work.connections:
                connection.cancel()
            raise
    work.connections.clear()


def changes(url: str, access: Access) -> list[Change]:
    """Generate the changes from the catalog as it is while the synthetic rows, and partitions ahead, are there."""
    with database.connect(url, name="portaldb verify") as connection, run.inside(connection):
        catalog, _ = run.prepare(connection, access, Labels(access.ids), live=False)
        roles = {"roles": list(access.roles)}
        relations = {"oids": [each.oid for each in catalog.relations if each.entry]}
        functions = {"oids": [each.oid for each in catalog.functions]}

        def rows(name: str, **values: object) -> list[dict[str, object]]:
            return connection.execute(query("mutants", name), values).fetchall()

        return mutants.generate(
            access,
            catalog,
            mutants.Rows(
                rights=rows("rights", **roles, **relations),
                tables=rows("tables", **relations),
                functions=rows("functions", **roles, **functions),
                views=rows("views", oids=[each.oid for each in catalog.relations if each.entry and each.entry.ours]),
                memberships=rows("memberships", **roles),
                places=rows("places", **roles, schemas=access.schemas),
            ),
        )


def _chunks(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Keep grants together, which are tried many in a round trip; every other change is alone."""
    grants: list[Change] = []
    for change in changes:
        if change.kind.startswith("grant: "):
            grants.append(change)
        else:
            yield [change]
    for start in range(0, len(grants), CHUNK):
        yield grants[start : start + CHUNK]


def _tester(url: str, work: _Work, once: str, scripts: list[Script], *, patience: float) -> None:
    """Try changes of functions by pgTAP's tests that name the function, or one that calls it.

    A file that takes longer than `patience`, in seconds, is left out.
    """
    with database.connect(url, name="portaldb verify") as connection:
        work.connections.append(connection)
        with run.inside(connection):
            connection.execute(query("mutants", "patience"))
            connection.execute(query("mutants", "impatience"))
            connection.execute(once.encode())
            green = [script for script, seconds in _green(connection, scripts) if seconds <= patience]
            callers = _callers(connection)
            while work.textual and not work.stop.is_set():
                try:
                    change = work.textual.popleft()
                except IndexError:
                    break
                names = callers(change.object)
                telling = [script for script in green if any(name in script.text for name in names)]
                found = _by_tests(connection, change, telling)
                if found is None or found.killed_by:
                    work.finish([(change, found)])


def _green(connection: Connection, scripts: list[Script]) -> list[tuple[Script, float]]:
    """Return the tests that find nothing wrong without any change and what they take, the quick ones first."""
    taken: list[tuple[Script, float]] = []
    for script in scripts:
        began = time.monotonic()
        if not inside.fault(connection, script):
            taken.append((script, time.monotonic() - began))
    return sorted(taken, key=lambda pair: pair[1])


def _callers(connection: Connection) -> Callable[[str], set[str]]:
    """Return what tells a function's name with those of the functions that call it, directly or not."""
    rows = connection.execute(query("mutants", "bodies")).fetchall()
    bodies = {row["name"]: mutants.without_texts(row["body"]) for row in rows}

    def callers(signature: str) -> set[str]:
        names, waiting = set(), [signature.partition("(")[0].rpartition(".")[2]]
        while waiting:
            name = waiting.pop()
            if name not in names:
                names.add(name)
                waiting += [other for other, body in bodies.items() if f"{name}(" in body]
        return names

    return callers


def _by_tests(connection: Connection, change: Change, scripts: list[Script]) -> Mutant | None:
    """Apply one change and run tests until one complains; None where the server takes it for no SQL."""
    with connection.transaction(force_rollback=True):
        try:
            with connection.transaction():
                for statement in change.statements:
                    connection.execute(statement.encode())
        except psycopg.Error:
            return None
        found = next((fault for script in scripts if (fault := inside.fault(connection, script))), "")
    return Mutant(change.kind, change.object, change.statement, found, behaviour=True)


def _worker(url: str, access: Access, work: _Work, *, shared: bool) -> None:
    with database.connect(url, name="portaldb verify") as connection:
        work.connections.append(connection)
        with run.inside(connection):
            # Two workers may meet at the server's shared catalogs.
            connection.execute(query("mutants", "patience"))
            labels = Labels(access.ids)
            catalog, cells = run.prepare(connection, access, labels, live=False)
            shown = trials.derive(access, catalog, labels, live=False)
            by_relation: dict[str, list[Cell]] = {}
            for cell in [*cells, *shown]:
                by_relation.setdefault(cell.relation, []).append(cell)
            suite = _Suite(connection, access, labels, cells, shown, by_relation, work.stop)
            _require_green(suite)
            while changes := work.take(shared=shared):
                quick = _grants(suite, changes) if len(changes) > 1 else {}
                work.finish([(change, quick.get(change) or _alone(suite, change)) for change in changes])


def _require_green(suite: _Suite) -> None:
    """A weakening is noticed only by what is as meant without it."""
    everything = [suite.results([*suite.cells, *suite.shown]), *_catalog_checks(suite, trials_too=True)]
    red = next((result for results in everything for result in results if not result.ok), None)
    if red:
        said = tell.sentence(_outcome(suite), red)
        raise FindingsError(f"Nothing was mutated: before any change, on a database made anew: {said}")


def _grants(suite: _Suite, changes: list[Change]) -> dict[Change, Mutant]:
    """Try many grants in one round trip: each before a statement that must be refused, or a question to the catalog."""
    by_place: dict[tuple[str, str], list[Cell]] = {}
    for cell in suite.cells:
        if cell.expected == REFUSED and cell.what == "privilege":
            by_place.setdefault((cell.relation, cell.command), []).append(cell)
    probes: list[tuple[Change, Cell]] = []
    asked: list[tuple[Change, Cell]] = []
    for change in changes:
        touched = [cell for cell in by_place.get((change.relation, change.command), []) if _is_touched(change, cell)]
        # REFERENCES of one column is not what the trial of a foreign key tries.
        tried = next((cell for cell in touched if cell.trial and change.column in ("", cell.column)), None)
        if tried and tried.trial:
            before = (*change.statements, *tried.trial.before)
            probes.append((change, replace(tried, trial=replace(tried.trial, before=before))))
        asked += [(change, cell) for cell in touched if cell.question][:1]
    results = trial.run(suite.connection, [probe for _, probe in probes], suite.access.setting)
    noticed = {change: result for (change, _), result in zip(probes, results, strict=True) if not result.ok}
    left = [(change, cell) for change, cell in asked if change not in noticed]
    noticed |= {change: result for change, result in _asked(suite, left) if not result.ok}
    return {change: _mutant(suite, change, result) for change, result in noticed.items()}


def _asked(suite: _Suite, asked: list[tuple[Change, Cell]]) -> Iterator[tuple[Change, Result]]:
    """Ask the catalog after each grant what its trial cannot tell."""
    cells = {replace(cell, trial=trial.question(cell, change.statements)): (change, cell) for change, cell in asked}
    for probe, answer in trial.attempt(suite.connection, list(cells), suite.access.setting):
        change, cell = cells[probe]
        yield change, Result(cell, str(answer["found"]), f"the catalog says {answer['found']}")


def _alone(suite: _Suite, change: Change) -> Mutant | None:
    """Apply one change and run the suite until something is not as meant; None where the server takes it for no SQL."""
    with suite.connection.transaction(force_rollback=True):
        try:
            with suite.connection.transaction():
                for statement in change.statements:
                    suite.connection.execute(statement.encode())
        except psycopg.Error as error:
            said = f"{change.statement}: could not be applied, the server said: {error.diag.message_primary}"
            return None if change.textual else Mutant(change.kind, change.object, said, "")
        try:
            with suite.connection.transaction(force_rollback=True):
                pieces = _suite_of(suite, change)
                killer = next((result for results in pieces for result in results if not result.ok), None)
        except psycopg.errors.QueryCanceled:
            if suite.stop.is_set():
                raise
            return Mutant(change.kind, change.object, change.statement, "it does not come to its end", behaviour=True)
    if killer and killer.cell.trial:
        suite.remember(change, killer.cell)
    return _mutant(suite, change, killer)


def _mutant(suite: _Suite, change: Change, killer: Result | None) -> Mutant:
    return Mutant(
        change.kind,
        change.object,
        change.statement,
        tell.sentence(_outcome(suite), killer) if killer else "",
        behaviour=bool(killer and killer.cell.trial and not killer.answer.startswith("the catalog says")),
    )


def _outcome(suite: _Suite) -> Outcome:
    """What a sentence is told from."""
    return Outcome("", False, suite.access, suite.labels, [], 0, 0)


def _suite_of(suite: _Suite, change: Change) -> Iterator[list[Result]]:
    """Run the suite piece by piece: what noticed a change before, what this one touches, the catalog, all the rest."""
    first = suite.remembered(change)
    yield suite.results(first)
    tried = {id(cell) for cell in first}
    sort = change.kind.partition(": ")[0]
    of_rules = sort in ("constraint", "column", "trigger")
    if of_rules:
        likely = suite.shown
    elif sort == "role" or change.textual:
        likely = [*suite.cells, *suite.shown]
    else:
        likely = suite.by_relation.get(change.relation, [])
    touched = [cell for cell in likely if _is_touched(change, cell) and id(cell) not in tried]
    touched.sort(key=lambda cell: (cell.trial is None, cell.relation != change.relation, _is_far(change, cell)))
    yield from _in_batches(suite, touched)
    yield from _catalog_checks(suite, trials_too=of_rules)
    tried |= {id(cell) for cell in touched}
    yield from _in_batches(suite, [cell for cell in [*suite.cells, *suite.shown] if id(cell) not in tried])


def _in_batches(suite: _Suite, cells: list[Cell]) -> Iterator[list[Result]]:
    start, size = 0, _FIRST
    while start < len(cells):
        yield suite.results(cells[start : start + size])
        start, size = start + size, min(2 * size, _MOST)


def _catalog_checks(suite: _Suite, *, trials_too: bool) -> Iterator[list[Result]]:
    """Read the catalog anew; a trial that it gives rise to, as of one more value of a CHECK, comes first."""
    catalog = found.look(suite.connection, suite.access, suite.labels, rows_too=False)
    if trials_too:
        known = set(suite.shown)
        shown = trials.derive(suite.access, catalog, suite.labels, live=False)
        yield trials.run(suite.connection, [cell for cell in shown if cell not in known], suite.access.setting)
    yield [*coverage.check(suite.access, catalog), *trials.coverage(catalog)]
    yield [
        Result(Cell("everyone", finding.object, finding.lint.stem, "as meant", what="catalog"), "found", finding.detail)
        for finding in lints.run(suite.connection, suite.access)
        if not finding.ok
    ]


_PAST_POLICIES = ("pg_read_all_data", "pg_write_all_data")


def _is_touched(change: Change, cell: Cell) -> bool:
    """Say whether a cell is among the first to look at; whatever is not is tried when nothing else notices."""
    sort, _, what = change.kind.partition(": ")
    if sort == "role":
        # Nobody tries to make a role or a database: only the catalog tells.
        granted = change.statements[0].split()[1]
        tells = what in ("SUPERUSER", "BYPASSRLS") or not granted.startswith("pg_") or granted in _PAST_POLICIES
        return tells and what not in ("CREATEROLE", "CREATEDB", "REPLICATION") and _acts(change, cell)
    if sort == "function" and change.textual:
        return cell.what == "rows" or cell.relation == change.relation
    if not change.relation or cell.relation != change.relation:
        return False
    if sort == "grant":
        return (
            cell.what == "privilege"
            and cell.command == change.command
            and (not change.column or cell.column in ("", change.column))
            and _acts(change, cell)
        )
    if sort in ("policy", "row security", "view option"):
        # A statement that reaches no row passes through no policy.
        return cell.what != "privilege" and _acts(change, cell)
    return _acts(change, cell)


def _acts(change: Change, cell: Cell) -> bool:
    acting = {cell.actor} | ({cell.trial.role, cell.trial.session} if cell.trial else set())
    return not change.roles or bool(acting & set(change.roles))


def _is_far(change: Change, cell: Cell) -> bool:
    """Say whether others are more likely to notice."""
    likely = {"role: membership": "set role", "row security: no force": "select"}.get(change.kind, change.command)
    return bool(likely) and cell.command != likely
