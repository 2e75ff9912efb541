"""The statements that make a thing, change it into what it should be, or take it away.

A statement is only composed where it loses no row. What cannot be composed so is left to a person, with what to do.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from portaldb import ddl
from portaldb.catalog import ROLE_NAMES, Thing
from portaldb.ddl import bare, table_of

_NOTE = re.compile(r" /\* (.*?) \*/$")
_LAST_NAME = re.compile(r'^(.*)\.("(?:[^"]|"")*"|[^."]+)$')
_COLUMN = re.compile(
    r"^(?P<type>.*?)(?P<not_null> NOT NULL)?(?P<made> GENERATED .*)?(?P<default> DEFAULT .*)?$", re.DOTALL
)
_ALTER = {
    "table": "TABLE",
    "partition": "TABLE",
    "foreign table": "FOREIGN TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "function": "FUNCTION",
    "procedure": "PROCEDURE",
    "aggregate": "AGGREGATE",
    "type": "TYPE",
    "domain": "DOMAIN",
    "schema": "SCHEMA",
}
_GRANT = _ALTER | dict.fromkeys(("view", "materialized view", "foreign table", "table", "partition"), "TABLE")
_DEFAULTS = {
    "functions": {("EXECUTE", "PUBLIC")},
    "types": {("USAGE", "PUBLIC")},
}
"""What PostgreSQL grants to PUBLIC on a new object of a kind, where nobody changed it."""


@dataclass(frozen=True)
class Fix:
    """One statement and why it is there; without SQL, what is left to a person."""

    why: str
    sql: str = ""
    as_login: bool = False
    """Only a superuser, or the one whom the object belongs to, may run it."""
    grant: tuple[str, str, str, str] | None = None
    """Instead of SQL: GRANT or REVOKE, what, on what, for whom; neighbours are joined into one statement."""


def literal(text: str) -> str:
    """Quote a string for SQL."""
    return "'" + text.replace("'", "''") + "'" if "\\" not in text else "E'" + _escaped(text) + "'"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


def make(thing: Thing, database: str) -> list[Fix]:
    """Return what makes a thing that is missing."""
    if maker := _MAKERS.get(thing.kind):
        return maker(thing, database)
    statement = ddl.create(thing)
    if statement is None:
        return [Fix(f"{thing.key} is missing, and no statement could be composed that makes it. Make it by hand.")]
    fixes = [Fix("it is missing", statement)]
    if thing.kind == "constraint" and thing.definition.startswith(("CHECK", "FOREIGN KEY")):
        fixes = _added_in_two_steps(thing, statement)
    if thing.kind == "trigger" and (note := _NOTE.search(thing.definition)):
        fixes.append(Fix("its state", _trigger_state(thing, note[1])))
    return fixes


def _added_in_two_steps(thing: Thing, statement: str) -> list[Fix]:
    if "NOT VALID" in statement:
        return [Fix("it is missing", statement)]
    table = table_of(thing)
    return [
        Fix("it is missing; rows that are there already are checked by the next statement", f"{statement} NOT VALID"),
        Fix("the rows that are there", f"ALTER TABLE {table} VALIDATE CONSTRAINT {thing.sql}"),
    ]


def _make_grant(thing: Thing, database: str) -> list[Fix]:
    privilege, grantee = _privilege_of(thing)
    target = grantable(thing.on, privilege, database)
    if target is None:
        return [Fix(f"{thing.key} is missing. Grant it by hand.")]
    what, on = target
    option = " WITH GRANT OPTION" if thing.definition else ""
    return [Fix("missing", grant=("GRANT", what, on, grantee + option))]


def _make_owner(thing: Thing, database: str) -> list[Fix]:
    kind = thing.on.removesuffix(f" {bare(thing.on)}")
    statement = f"ALTER {_ALTER[kind]} {bare(thing.on)} OWNER TO {thing.definition}"
    if thing.definition == "mcp_admin":
        return [Fix("the owner", statement)]
    why = "a new owner needs CREATE on the schema at the moment it is given the object"
    return [
        Fix(why, f"GRANT CREATE ON SCHEMA public TO {thing.definition}"),
        Fix(why, statement),
        Fix(why, f"REVOKE CREATE ON SCHEMA public FROM {thing.definition}"),
    ]


def _make_comment(thing: Thing, _database: str) -> list[Fix]:
    return [Fix("the description", _comment(thing, literal(thing.definition)))]


def _comment(thing: Thing, text: str) -> str:
    kind = thing.on.removesuffix(f" {bare(thing.on)}")
    return f"COMMENT ON {_ALTER.get(kind, kind.upper())} {bare(thing.on)} IS {text}"


def _switch(thing: Thing) -> str:
    word = {"enabled": "ENABLE", "disabled": "DISABLE", "forced": "FORCE", "not forced": "NO FORCE"}[thing.definition]
    return f"ALTER TABLE {table_of(thing)} {word} ROW LEVEL SECURITY"


def _make_partition(thing: Thing, _database: str) -> list[Fix]:
    words = thing.definition.splitlines()[0]
    return [Fix("it is missing", f"CREATE TABLE {thing.name} PARTITION {words}")]


def _by_init(thing: Thing, _database: str) -> list[Fix]:
    return [Fix(f"{thing.key} is missing or different, which is init's to mend. Run `portaldb init` as a superuser.")]


def _make_job(thing: Thing, _database: str) -> list[Fix]:
    should = f"it should be: {thing.definition}"
    return [Fix(f"the job {thing.name} is not as the migrations leave it; {should}. Correct its row of public.jobs.")]


def _make_cron_job(_thing: Thing, _database: str) -> list[Fix]:
    return [Fix("pg_cron is brought to what the registry says", "DO 'BEGIN PERFORM public.sync_cron_jobs(); END'")]


def _make_default(thing: Thing, _database: str) -> list[Fix]:
    return _defaults(thing, None)


_MAKERS: dict[str, Callable[[Thing, str], list[Fix]]] = {
    "grant": _make_grant,
    "owner": _make_owner,
    "comment": _make_comment,
    "partition": _make_partition,
    "row security": lambda thing, _: [Fix("Row-Level Security", _switch(thing))],
    "row security for the owner": lambda thing, _: [Fix("the owner is under the policies too", _switch(thing))],
    "default privileges": _make_default,
    "database": _by_init,
    "role": _by_init,
    "attribute": _by_init,
    "membership": _by_init,
    "extension": _by_init,
    "job": _make_job,
    "cron job": _make_cron_job,
}


# --- change --------------------------------------------------------------------------------------------------------


def change(expected: Thing, found: Thing, database: str) -> list[Fix]:
    """Return what changes a thing into what it should be."""
    if changer := _CHANGERS.get(expected.kind):
        return changer(expected, found, database)
    if expected.kind in _MAKERS:
        fixes = make(expected, database)
        return [Fix(f"here it is: {_short(found)}", fix.sql, fix.as_login) if fix.sql else fix for fix in fixes]
    return [
        Fix(
            f"{expected.key} is here: {_short(found)}; the migrations make: {_short(expected)}. "
            "No statement could be composed that changes it without loss. Change it by hand."
        )
    ]


def _short(thing: Thing) -> str:
    words = " ".join(thing.definition.split())
    return f"{words[:90]}…" if len(words) > 90 else words or "plain"  # noqa: PLR2004 - a line


def _change_column(expected: Thing, found: Thing, _database: str) -> list[Fix]:
    new, old = _COLUMN.match(expected.definition), _COLUMN.match(found.definition)
    assert new and old  # noqa: S101 - every part of the pattern is optional
    alter = f"ALTER TABLE {table_of(expected)} ALTER COLUMN {expected.sql}"
    if new["made"] != old["made"]:
        return [Fix(f"{expected.key} is generated in another way: {_short(found)}. Change it by hand.")]
    fixes = []
    default = new["default"] != old["default"]
    if new["type"] != old["type"]:
        if old["default"]:
            fixes.append(Fix("a default of the old type would stand in the way", f"{alter} DROP DEFAULT"))
            default = True
        kind = new["type"].partition(" COLLATE ")[0]
        fixes.append(Fix(f"here: {old['type']}", f"{alter} TYPE {new['type']} USING {expected.sql}::{kind}"))
    if default:
        fixes.append(
            Fix(
                f"here:{old['default'] or ' no default'}",
                f"{alter} SET{new['default']}" if new["default"] else f"{alter} DROP DEFAULT",
            )
        )
    if new["not_null"] != old["not_null"]:
        word = "SET" if new["not_null"] else "DROP"
        fixes.append(Fix(f"here: {'not ' if old['not_null'] else ''}NULL", f"{alter} {word} NOT NULL"))
    return fixes


def _change_constraint(expected: Thing, found: Thing, database: str) -> list[Fix]:
    table = table_of(expected)
    there = _NOTE.sub("", found.definition)
    if there != found.definition and ddl.same(expected, Thing(**{**vars(found), "definition": there})):
        return [Fix("the triggers of a foreign key are disabled", f"ALTER TABLE {table} ENABLE TRIGGER ALL", True)]
    if there == f"{expected.definition} NOT VALID":
        return [Fix("it was never checked", f"ALTER TABLE {table} VALIDATE CONSTRAINT {expected.sql}")]
    drop = Fix(f"here: {_short(found)}", f"ALTER TABLE {table} DROP CONSTRAINT {expected.sql}")
    return [drop, *make(expected, database)]


def _replace(drop: str) -> Callable[[Thing, Thing, str], list[Fix]]:
    def changer(expected: Thing, found: Thing, database: str) -> list[Fix]:
        name = expected.name if drop == "INDEX" else f"{expected.sql} ON {table_of(expected)}"
        return [Fix(f"here: {_short(found)}", f"DROP {drop} {name}"), *make(expected, database)]

    return changer


def _change_trigger(expected: Thing, found: Thing, database: str) -> list[Fix]:
    if _NOTE.sub("", expected.definition) == _NOTE.sub("", found.definition):
        note = _NOTE.search(expected.definition)
        return [Fix("its state", _trigger_state(expected, note[1] if note else "ENABLED"))]
    return _replace("TRIGGER")(expected, found, database)


def _trigger_state(thing: Thing, state: str) -> str:
    word = {"DISABLED": "DISABLE TRIGGER", "ENABLED": "ENABLE TRIGGER"}.get(state)
    word = word or state.replace("ENABLED", "ENABLE") + " TRIGGER"
    return f"ALTER TABLE {table_of(thing)} {word} {thing.sql}"


def _change_function(expected: Thing, found: Thing, _database: str) -> list[Fix]:
    fixes = [Fix("another body or other attributes here", expected.definition)]
    if needs_drop(expected, found):
        word = expected.kind.upper()
        fixes.insert(0, Fix("its result or its arguments' names differ", f"DROP {word} {expected.name}"))
    return fixes


def _change_view(expected: Thing, found: Thing, database: str) -> list[Fix]:
    fixes = make(expected, database)
    if needs_drop(expected, found):
        fixes.insert(0, Fix("its columns differ", f"DROP VIEW {expected.name}"))
    return [Fix("another query or other options here", fix.sql) if fix.why == "it is missing" else fix for fix in fixes]


def needs_drop(expected: Thing, found: Thing) -> bool:
    """Say whether CREATE OR REPLACE would be refused, so that all that hangs on the thing is lost with it."""
    if expected.kind not in ("function", "procedure", "view"):
        return False
    return _surface(expected) != _surface(found)


def _surface(thing: Thing) -> object:
    """Return what CREATE OR REPLACE cannot change: the arguments and result of a function, a view's columns."""
    import pgparse

    from portaldb.ddl import fold

    try:
        (statement,) = pgparse.parse(ddl.create(thing))
    except (pgparse.PGQueryError, ValueError):
        return thing.definition
    tree = fold(statement["stmt"])
    if function := tree.get("CreateFunctionStmt"):
        parameters = [
            {key: value for key, value in each["FunctionParameter"].items() if key != "defexpr"}
            for each in function.get("parameters", ())
        ]
        return parameters, function.get("returnType")
    select = tree["ViewStmt"]["query"]["SelectStmt"]
    return [_column_name(each["ResTarget"]) for each in select.get("targetList", ())]


def _column_name(target: dict[str, object]) -> object:
    if "name" in target:
        return target["name"]
    fields = target["val"].get("ColumnRef", {}).get("fields") if isinstance(target["val"], dict) else None
    return fields[-1]["String"]["sval"] if fields and "String" in fields[-1] else target["val"]


def _change_owner(expected: Thing, found: Thing, database: str) -> list[Fix]:
    fixes = make(expected, database)
    if found.definition in ROLE_NAMES:
        return fixes
    kind = expected.on.removesuffix(f" {bare(expected.on)}")
    take = Fix(
        f"it belongs to {found.definition}", f"ALTER {_ALTER[kind]} {bare(expected.on)} OWNER TO mcp_admin", True
    )
    return [take] if expected.definition == "mcp_admin" else [take, *fixes]


def _change_grant(expected: Thing, found: Thing, database: str) -> list[Fix]:
    if expected.definition:
        return _make_grant(expected, database)
    privilege, grantee = _privilege_of(expected)
    target = grantable(found.on, privilege, database)
    if target is None:
        return [Fix(f"{expected.key} may be handed on. Revoke the grant option by hand.")]
    return [Fix("it may be handed on", f"REVOKE GRANT OPTION FOR {target[0]} ON {target[1]} FROM {grantee}")]


def _change_table(expected: Thing, found: Thing, _database: str) -> list[Fix]:
    if "UNLOGGED " + expected.definition == found.definition + " " or found.definition == (
        f"UNLOGGED {expected.definition}".strip()
    ):
        return [Fix("a crash would empty it", f"ALTER TABLE {expected.name} SET LOGGED")]
    if "PARTITION BY" in expected.definition and "PARTITION BY" not in found.definition:
        return [
            Fix(
                f"{expected.key} is not partitioned here ({expected.definition}), and PostgreSQL cannot make it so. "
                f"Set it aside with its indexes (CREATE SCHEMA old; ALTER TABLE {expected.name} SET SCHEMA old;), run "
                "`portaldb baseline` again, which makes a new one, and copy the rows into it afterwards."
            )
        ]
    return [Fix(f"{expected.key} is here: {_short(found)}; it should be: {_short(expected)}. Change it by hand.")]


def _change_partition(expected: Thing, found: Thing, _database: str) -> list[Fix]:
    unlike = "; ".join(line.strip() for line in found.definition.splitlines()[1:])
    return [Fix(f"{expected.key} is not like its parent: it {unlike or _short(found)}. Change it by hand.")]


@dataclass(frozen=True)
class Move:
    """A partition whose bounds have to be moved: the statements before, and what puts its strays where they belong."""

    detach: Fix
    attach: tuple[Fix, ...]
    strays: Fix


def move(expected: Thing, found: Thing, parent: Thing) -> Move | None:
    """Return what gives a partition its bounds, or None where that cannot be composed.

    A date without an offset is a bound in the time zone of the server's day: by hand it is easily hours off.
    """
    key = re.search(r"PARTITION BY RANGE \((\S+)\)", parent.definition)
    bounds = re.search(r"FROM \((\S+ \S+)\) TO \((\S+ \S+)\)$", expected.definition)
    if not key or not bounds or "\n" in found.definition or "FOR VALUES" not in found.definition:
        return None
    name, above = expected.name, parent.name
    outside = f"NOT ({key[1]} >= {bounds[1]} AND {key[1]} < {bounds[2]})"
    strays = f"pg_temp.strays_{name.rpartition('.')[2]}"
    words = expected.definition.removeprefix(f"OF {above} ")
    return Move(
        Fix(f"its bounds are here: {_short(found)}", f"ALTER TABLE {above} DETACH PARTITION {name}"),
        (
            Fix(
                "for the rows that lie outside its bounds",
                f"CREATE TEMPORARY TABLE {strays} ON COMMIT DROP AS TABLE {name} WITH NO DATA",
            ),
            Fix(
                "they go into their own partition below",
                f"WITH moved AS (DELETE FROM {name} WHERE {outside} RETURNING *) INSERT INTO {strays} TABLE moved",  # noqa: S608 - the catalog's own quoted names
            ),
            Fix("with the right bounds", f"ALTER TABLE {above} ATTACH PARTITION {name} {words}"),
        ),
        Fix("the rows that lay outside the bounds of a partition", f"INSERT INTO {above} TABLE {strays}"),
    )


def _defaults(expected: Thing, found: Thing | None) -> list[Fix]:
    """Compose ALTER DEFAULT PRIVILEGES from the two lists of grants."""
    match = re.match(r"^of (\S+) on (\S+)(?: in schema (\S+))?$", expected.name)
    assert match  # noqa: S101 - the catalog composed the name
    role, objects, schema = match.groups()
    builtin = set() if schema else {(p, grantee) for p, grantee in _DEFAULTS.get(objects, set())}
    wanted = _parsed(expected.definition, role)
    there = _parsed(found.definition, role) if found else builtin
    where = f"ALTER DEFAULT PRIVILEGES FOR ROLE {role}{f' IN SCHEMA {schema}' if schema else ''}"
    fixes = [
        Fix("what new objects grant", f"{where} REVOKE {privilege} ON {objects.upper()} FROM {grantee}")
        for privilege, grantee in sorted(there - wanted)
    ]
    fixes += [
        Fix("what new objects grant", f"{where} GRANT {privilege} ON {objects.upper()} TO {grantee}")
        for privilege, grantee in sorted(wanted - there)
    ]
    return fixes


def _parsed(definition: str, role: str) -> set[tuple[str, str]]:
    pairs = (each.partition(" to ") for each in definition.split(", ") if " to " in each)
    return {(privilege, grantee) for privilege, _, grantee in pairs if grantee != role}


_CHANGERS: dict[str, Callable[[Thing, Thing, str], list[Fix]]] = {
    "column": _change_column,
    "constraint": _change_constraint,
    "index": _replace("INDEX"),
    "policy": _replace("POLICY"),
    "rule": _replace("RULE"),
    "trigger": _change_trigger,
    "function": _change_function,
    "procedure": _change_function,
    "view": _change_view,
    "owner": _change_owner,
    "grant": _change_grant,
    "table": _change_table,
    "partition": _change_partition,
    "default privileges": lambda expected, found, _: _defaults(expected, found),
}


# --- take away -----------------------------------------------------------------------------------------------------


def remove(thing: Thing, database: str, known: dict[str, Thing], there: dict[str, Thing]) -> list[Fix] | None:
    """Return what takes away a thing that the migrations do not make; None where that is a person's to decide.

    `known` is what should be there, `there` what is. Only what opens something is taken away, never what holds data
    or answers a query.
    """
    why = "the migrations do not make it"
    if thing.kind == "policy" and thing.on in known:
        return [Fix(why, f"DROP POLICY {thing.sql} ON {table_of(thing)}")]
    if thing.kind == "grant":
        return _revoke(thing, database, known, there)
    if thing.kind == "rights" and thing.on in known:
        what, on = grantable(thing.on, "ALL", database) or ("ALL", "")
        return [Fix("a right of the owner was taken", f"GRANT {what} ON {on} TO mcp_admin")]
    if thing.kind == "comment" and thing.on in known:
        return [Fix(why, _comment(thing, "NULL"))]
    if thing.kind == "attribute":
        word = "INHERIT" if thing.sql == "NOINHERIT" else f"NO{thing.sql}"
        return [Fix(why, f"ALTER ROLE {bare(thing.on)} {word}", True)]
    if thing.kind == "membership":
        member, _, granted = thing.name.removeprefix("of ").partition(" in ")
        return [Fix(why, f"REVOKE {granted} FROM {member}", True)]
    if thing.kind == "setting":
        return [Fix(why, _reset(thing, database), True)]
    if thing.kind == "default privileges":
        return _defaults(Thing(thing.kind, thing.name, _builtin(thing)), thing)
    return None


def _reset(thing: Thing, database: str) -> str:
    here = thing.name.endswith(" in this database")
    if thing.on == "database":
        return f"ALTER DATABASE {database} RESET {thing.sql}"
    return f"ALTER ROLE {bare(thing.on)}{f' IN DATABASE {database}' if here else ''} RESET {thing.sql}"


def _builtin(thing: Thing) -> str:
    objects = thing.name.split(" on ")[1].split()[0]
    if " in schema " in thing.name:
        return "nothing"
    return ", ".join(f"{privilege} to {grantee}" for privilege, grantee in _DEFAULTS.get(objects, set()))


def _revoke(thing: Thing, database: str, known: dict[str, Thing], there: dict[str, Thing]) -> list[Fix] | None:
    privilege, grantee = _privilege_of(thing)
    target = grantable(thing.on, privilege, database)
    if target is None:
        return [Fix(f"{thing.key} should not be there. Revoke it by hand.")]
    what, on = target
    relation = on.removeprefix("TABLE ")
    if thing.on in known or thing.on == "database" or any(f"{kind} {relation}" in known for kind in _GRANT):
        return [Fix("revoked", grant=("REVOKE", what, on, grantee))]
    if any(f"{kind} {relation}" in there for kind in _GRANT) or thing.on in there:
        return None
    # An object of the system or of an extension, which is not the owner's.
    return [Fix("revoked", as_login=True, grant=("REVOKE", what, on, grantee))]


def _privilege_of(thing: Thing) -> tuple[str, str]:
    privilege, _, grantee = thing.sql.partition(" ")
    return privilege, grantee


def grantable(key: str, privilege: str, database: str) -> tuple[str, str] | None:
    """Return what and on what GRANT says for a privilege on a thing: ('SELECT (email)', 'TABLE public.users')."""
    if key == "database":
        return privilege, f"DATABASE {database}"
    if key.startswith("column "):
        match = _LAST_NAME.match(key.removeprefix("column "))
        return (f"{privilege} ({match[2]})", f"TABLE {match[1]}") if match else None
    kind = key.removesuffix(f" {bare(key)}")
    if kind in ("parameter", "language"):
        return privilege, f"{kind.upper()} {bare(key)}"
    return (privilege, f"{_GRANT[kind]} {bare(key)}") if kind in _GRANT else None
