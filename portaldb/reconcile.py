"""A script that makes a database built by hand what the migrations make, for a person to read before it runs.

The series is gone through in order. Where nothing of a migration is there, its own text is taken; else each thing
that is missing or different gets a statement of its own. What is not ours and holds data is only listed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from portaldb import ddl, drift, manifest, mend, partitions
from portaldb.catalog import Snapshot, Thing
from portaldb.manifest import KINDS, Manifest
from portaldb.mend import Fix
from portaldb.source import Migration, Statement, UnparsableError

_EARLY = frozenset({"schema", "type", "domain", "sequence", "function", "procedure", "table", "column", "view"})
"""What later migrations build on: mended where the series first makes it, everything else where it is last changed.

So is a function whose body is parsed when it is made: it may call what only the last change brings.
"""

_KEPT = frozenset({"table", "column", "foreign table", "sequence", "materialized view"})
"""What holds rows: never dropped."""


@dataclass(frozen=True)
class Account:
    """How far the things that one migration makes are there."""

    id: str
    matches: int
    differs: int
    absent: int

    @property
    def state(self) -> str:
        """One word for it."""
        if not self.matches + self.differs + self.absent:
            return "makes no object"
        if not self.differs + self.absent:
            return "matches"
        return "differs" if self.matches + self.differs else "absent"


@dataclass
class _Section:
    heading: str
    fixes: list[Fix] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be done, what a person must see to, and what is left as it is."""

    sections: tuple[_Section, ...]
    unresolved: tuple[str, ...]
    kept: tuple[Thing, ...]


def accounts(known: Manifest, migrations: list[Migration], found: Snapshot, level: str) -> list[Account]:
    """Count, for each migration, which of the things that it was the last to shape are there, and as they should be."""
    expected, makers = known.at(level), known.makers(level)
    wrong = {each.thing.key: each.change for each in drift.compare(expected, found, makers)}
    counts: dict[str, list[int]] = {migration.id: [0, 0, 0] for migration in migrations if migration.id <= level}
    for key in expected:
        if makers[key] in counts:
            change = wrong.get(key)
            at = 0 if change is None else 1 if change is drift.Change.DIFFERENT else 2
            counts[makers[key]][at] += 1
    return [Account(name, *each) for name, each in counts.items()]


def repeatable(statement: Statement) -> bool:
    """Say whether a statement that writes rows does nothing the second time."""
    clause = statement.tree.get("InsertStmt", {}).get("onConflictClause", {})
    return bool(clause.get("action") == "ONCONFLICT_NOTHING")


def only_rows(known: Manifest, migration: Migration) -> bool:
    """Say whether a migration makes no object: its effect, if any, is rows."""
    return not any(migration.id in entry.history for entry in known.entries)


def plan(known: Manifest, migrations: list[Migration], found: Snapshot, level: str, database: str) -> Plan:
    """Compose what makes the database that `found` tells of the one that the migrations up to `level` make."""
    return _Planner(known, [each for each in migrations if each.id <= level], found, level, database).plan()


class _Planner:
    """Goes through the series, keeping account of what the statements composed so far have made of the database."""

    def __init__(
        self, known: Manifest, migrations: list[Migration], found: Snapshot, level: str, database: str
    ) -> None:
        self._known = known
        self._migrations = migrations
        self._found = found
        self._database = database
        self._level = level
        wanted = known.at(level)
        self._dated = partitions.expected(found.things, wanted)
        self._expected = {**wanted, **self._dated}
        self._state = dict(found.things)
        self._login = _Section("What only a superuser, or the one whom the object belongs to, may do")
        self._unresolved: list[str] = []

    def plan(self) -> Plan:
        # First, because revoking a privilege on a table revokes it on every column too.
        shut = _Section("What the migrations do not make, and what lets somebody in")
        kept = self._remove_extra(shut)
        begin = _Section("What init makes, and the dated partitions")
        moves = self._moves()
        begin.fixes += [each.detach for each in moves]
        begin.fixes += [fix for each in moves for fix in each.attach]
        self._mend(begin, self._missing_of_init())
        sections = [self._section(migration) for migration in self._migrations]
        end = _Section("What the statements above took with them, the rows set aside, and the jobs")
        self._mend(end, self._expected)
        end.fixes += [each.strays for each in moves]
        sync = "function public.sync_cron_jobs()"
        if "cron job" not in self._found.unseen and sync in self._expected:
            end.fixes += mend.make(Thing("cron job", "", ""), self._database)
        return Plan((self._login, shut, begin, *sections, end), tuple(dict.fromkeys(self._unresolved)), tuple(kept))

    def _moves(self) -> list[mend.Move]:
        """Compose the moves of partitions' bounds, which have to be detached all before one is attached."""
        moves = []
        for key in self._dated:
            thing, there = self._dated[key], self._state.get(key)
            parent = self._state.get(thing.on)
            if thing.kind == "partition" and there and parent and not ddl.same(thing, there):
                move = mend.move(thing, there, parent)
                if move:
                    moves.append(move)
                    self._state[key] = thing
        return moves

    def _remove_extra(self, section: _Section) -> list[Thing]:
        """Take away what may be taken away, and return what is a person's to decide."""
        kept = []
        for thing in self._in_order(self._state.values()):
            if thing.key in self._expected or drift.tolerated(thing) or thing.kind == "cron job":
                continue
            if partitions.is_comment(thing, self._state):
                continue
            fixes = mend.remove(thing, self._database, self._expected, self._found.things)
            if fixes is None:
                kept.append(thing)
            else:
                self._take(section, fixes)
                del self._state[thing.key]
        return kept

    def _missing_of_init(self) -> list[str]:
        makers = self._known.makers(self._level)
        return [key for key in self._expected if makers.get(key) == manifest.INIT or key in self._dated]

    def _section(self, migration: Migration) -> _Section:
        section = _Section(migration.name)
        touched = {entry.key: entry for entry in self._known.entries if migration.id in entry.history}
        if not touched:
            self._rows(section, migration)
        elif self._whole(migration, touched):
            section.heading += ": nothing of it is there, so this is its own text"
            section.text = migration.script.text
            for key, entry in touched.items():
                thing = entry.at(migration.id)[0]
                if thing:
                    self._state[key] = thing
                else:
                    self._state.pop(key, None)
        elif all(entry.kind == "job" for entry in touched.values()):
            self._registry(section, migration, touched)
        else:
            self._mend(section, [key for key, entry in touched.items() if self._due(entry) == migration.id])
            self._rows_besides(section, migration)
        return section

    def _whole(self, migration: Migration, touched: dict[str, manifest.Entry]) -> bool:
        if not migration.script.transactional:
            return False
        for key, entry in touched.items():
            made = entry.history[migration.id] is not None
            if made == (key in self._state) or (not made and entry.kind in _KEPT):
                return False
        return True

    def _due(self, entry: manifest.Entry) -> str:
        ids = [name for name in entry.history if name == manifest.INIT or name <= self._level]
        made = [name for name in ids if entry.history[name] is not None]
        thing = entry.at(self._level)[0]
        if entry.kind in _EARLY and made and not (thing and _parsed_at_once(thing)):
            return made[0]
        return ids[-1] if ids else ""

    def _mend(self, section: _Section, keys: Iterable[str]) -> None:
        things = self._in_order(self._expected[key] for key in keys if key in self._expected)
        for thing in things:
            there = self._state.get(thing.key)
            if there is not None and ddl.same(thing, there):
                if thing.kind == "constraint" and thing.definition != there.definition:
                    section.fixes += _respelled(thing, self._database)
                    self._forget_below(thing.key)
                    self._state[thing.key] = thing
                continue
            if thing.on.startswith("partition ") and not {thing.on} & {*self._state, *self._expected}:
                continue
            if thing.kind in self._found.unseen or (there is None and drift.may_be_missing(thing)):
                continue
            if there is None and thing.kind == "owner" and thing.definition == "mcp_admin":
                self._state[thing.key] = thing  # It is made by the owner.
                continue
            if there is None:
                fixes = self._make(thing)
            else:
                fixes = mend.change(thing, there, self._database)
                if any(" DROP CONSTRAINT " in fix.sql or fix.sql.startswith("DROP ") for fix in fixes):
                    self._forget_below(thing.key)
            self._take(section, fixes)
            self._state[thing.key] = thing

    def _make(self, thing: Thing) -> list[Fix]:
        if thing.kind != "table":
            return mend.make(thing, self._database)
        columns = [each for each in self._expected.values() if each.kind == "column" and each.on == thing.key]
        for column in columns:
            self._state[column.key] = column
        lines = ",\n".join(f"    {column.sql} {column.definition}" for column in columns)
        unlogged = "UNLOGGED " if thing.definition.startswith("UNLOGGED") else ""
        tail = thing.definition.removeprefix("UNLOGGED").strip()
        return [Fix("it is missing", f"CREATE {unlogged}TABLE {thing.name} (\n{lines}\n) {tail}".rstrip())]

    def _forget_below(self, key: str) -> None:
        """Note that what hung on a thing that is dropped and made anew is gone with it."""
        for below in [thing.key for thing in self._state.values() if thing.on == key]:
            del self._state[below]
            self._forget_below(below)

    def _take(self, section: _Section, fixes: list[Fix]) -> None:
        for fix in fixes:
            if not fix.sql and not fix.grant:
                self._unresolved.append(fix.why)
            else:
                (self._login if fix.as_login else section).fixes.append(fix)

    def _rows(self, section: _Section, migration: Migration) -> None:
        """Take the text of a migration that makes no object, where doing it twice does no harm."""
        statements = statements_of(migration)
        if statements and all(repeatable(each) for each in statements):
            section.heading += ": rows alone, and those that are there already stay as they are"
            section.text = migration.script.text
        else:
            section.heading += ": it makes no object, so it cannot be told whether it ran; take its text if it did not"
            section.text = "".join(f"-- {line}\n" for line in migration.script.text.splitlines())

    def _registry(self, section: _Section, migration: Migration, touched: dict[str, manifest.Entry]) -> None:
        """Take the text of the last migration that changes jobs, by their names, unless they are so already."""
        due = [key for key, entry in touched.items() if self._due(entry) == migration.id]
        if any(self._expected.get(key) != self._state.get(key) for key in due):
            section.heading += ": the registry of jobs is not so, and this is its own text"
            section.text = migration.script.text
            self._state |= {key: self._expected[key] for key in due if key in self._expected}

    def _rows_besides(self, section: _Section, migration: Migration) -> None:
        for statement in statements_of(migration):
            if statement.kind in ("InsertStmt", "UpdateStmt", "DeleteStmt", "DoStmt"):
                lines = f"{statement.text};".splitlines()
                if not repeatable(statement):
                    lines = ["-- It also did this; take it if it was not done:", *(f"-- {line}" for line in lines)]
                section.text += "\n".join(lines) + "\n"

    def _in_order(self, things: Iterable[Thing]) -> list[Thing]:
        order = {key: at for at, key in enumerate(self._expected)}

        def place(thing: Thing) -> tuple[int, int, str]:
            kind = KINDS.index(thing.kind) if thing.kind in KINDS else len(KINDS)
            if thing.kind in ("function", "procedure"):
                # A body of SQL-standard form names tables, and a trigger a function.
                kind = KINDS.index("index") if _parsed_at_once(thing) else KINDS.index("function")
            return kind, order.get(thing.key, len(order)), thing.key

        return _callers_last(sorted(things, key=place))


def _callers_last(things: list[Thing]) -> list[Thing]:
    """Put each body that is parsed when it is made behind those that it calls."""
    names = {thing.key: thing.name.partition("(")[0] + "(" for thing in things if _parsed_at_once(thing)}
    ordered: list[Thing] = []
    left = list(things)
    while left:
        waiting = {names[thing.key] for thing in left if thing.key in names}
        ready = (
            thing
            for thing in left
            if thing.key not in names or not any(name in thing.definition for name in waiting - {names[thing.key]})
        )
        first = next(ready, left[0])
        ordered.append(first)
        left.remove(first)
    return ordered


def _respelled(thing: Thing, database: str) -> list[Fix]:
    """Compose what gives a constraint the migrations' own words, which a dump and restore does not change."""
    why = "it means the same in other words; leave this out where the table is too large to be read once more"
    drop = f"ALTER TABLE {ddl.table_of(thing)} DROP CONSTRAINT {thing.sql}"
    return [Fix(why, drop), *(Fix(why, fix.sql) for fix in mend.make(thing, database))]


def _parsed_at_once(thing: Thing) -> bool:
    return "LANGUAGE sql" in thing.definition


def statements_of(migration: Migration) -> tuple[Statement, ...]:
    """Return a migration's statements, none where our parser does not know its SQL."""
    try:
        return migration.script.statements
    except UnparsableError:
        return ()


# --- as text -------------------------------------------------------------------------------------------------------


def render(plan: Plan, header: Iterable[str]) -> str:
    """Write a plan as a file of SQL."""
    parts = ["".join(f"-- {line}".rstrip() + "\n" for line in header)]
    login, *sections = plan.sections
    if plan.unresolved:
        parts.append(
            _title("NOT DONE HERE: see to this by hand") + "".join(f"-- * {each}\n" for each in plan.unresolved)
        )
    if login.fixes:
        parts.append(_title(login.heading) + _body(login))
    parts.append(_title("From here on as the owner") + "SET LOCAL ROLE mcp_admin;\n")
    parts += [
        _title(section.heading) + section.text.rstrip() + ("\n" if section.text else "") + _body(section)
        for section in sections
        if section.fixes or section.text
    ]
    if plan.kept:
        parts.append(_title("Left as it is: the migrations do not make it. Drop it, or give it to --ignore"))
        parts[-1] += "".join(f"-- {thing.key}\n" for thing in _roots(plan.kept))
    return "\n".join(parts)


def _roots(things: tuple[Thing, ...]) -> list[Thing]:
    keys = {thing.key for thing in things}
    return [thing for thing in things if thing.on not in keys]


def _title(text: str) -> str:
    return f"-- --- {text} {'-' * max(3, 100 - len(text))}\n\n"


def _body(section: _Section) -> str:
    return "".join(_joined(section.fixes))


def _joined(fixes: list[Fix]) -> Iterator[str]:
    """Write the statements; privileges granted to, or taken from, one role on one object become one statement."""
    grants: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    said = ""
    for fix in fixes:
        if fix.grant:
            verb, what, on, grantee = fix.grant
            privilege, on_column, column = what.partition(" (")
            columns = grants.setdefault((verb, on, grantee), {}).setdefault(privilege + on_column, [])
            columns.append(column.removesuffix(")"))
        else:
            why = " ".join(fix.why.split())
            yield f"-- {why}\n" if why != said else ""
            yield f"{fix.sql.rstrip()};\n"
            said = why
    for (verb, on, grantee), privileges in grants.items():
        words = ", ".join(
            f"{what}{', '.join(columns)})" if "(" in what else what for what, columns in privileges.items()
        )
        why = "the migrations grant it" if verb == "GRANT" else "no migration grants it"
        yield f"-- {why}\n" if why != said else ""
        yield f"{verb} {words} ON {on} {'TO' if verb == 'GRANT' else 'FROM'} {grantee};\n"
        said = why
