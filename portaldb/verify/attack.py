"""Attacks: what somebody would try who means to get round the rights, one a file in attacks/.

A file begins with the sentence that says what is tried and what must come out. Its directives say who tries (`as`, but
for members of the roles of `unless`), on what (`each`), what is meant to come of it (`meant`), and whether it can be
tried on a running database (`live`); its sections what a superuser prepares (`before`), what is tried (`try`), and what
then shows whose rows came out (`look`).
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo, sql

from portaldb.database import Connection, query
from portaldb.verify.access import Access, Actor, Relation
from portaldb.verify.cells import ALLOWED, REFUSED, Cell, Maker, Trial, becomes
from portaldb.verify.found import Catalog, Found, Function, identity
from portaldb.verify.labels import Labels
from portaldb.verify.trial import Result

SERVER = "the server"
"""The relation of cells about no relation."""

_FOLDER = Path(__file__).with_name("attacks")
_HARMLESS, _TAKEN = "harmless", "taken over"
_PLANTED = "PV002"
"""The SQLSTATE that what is planted raises when it runs where it should not."""


@dataclass(frozen=True)
class Attack:
    """A file of attacks/: its name in words, directives, and sections."""

    name: str
    directives: dict[str, str]
    before: str
    look: str
    tries: tuple[tuple[str, str], ...]


@cache
def attacks() -> tuple[Attack, ...]:
    """Return every attack, in the order of their names."""
    return tuple(_read(path) for path in sorted(_FOLDER.glob("*.sql")))


def _read(path: Path) -> Attack:
    parts = re.split(r"^-- (before|look|try: .+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = [(name, text.strip()) for name, text in zip(parts[1::2], parts[2::2], strict=True)]
    return Attack(
        name=path.stem.replace("_", " "),
        directives=dict(re.findall(r"^-- (as|each|meant|live|unless): (.+)$", parts[0], flags=re.MULTILINE)),
        before=dict(sections).get("before", ""),
        look=dict(sections).get("look", ""),
        tries=tuple((name.removeprefix("try: "), text) for name, text in sections if name.startswith("try: ")),
    )


def derive(access: Access, catalog: Catalog, labels: Labels, *, live: bool, only: str | None = None) -> list[Cell]:
    """Return the cells of every attack that can be tried here, or those on one relation `only`."""
    maker = _Attacks(access, catalog, labels, live)
    derived = [
        cell
        for attack in attacks()
        if attack.directives["as"] != "logins" and (attack.directives["live"] == "yes" or not live)
        for cell in maker.attack(attack)
        if only in (None, cell.relation)
    ]
    return derived + ([*maker.calls()] if only is None else [])


@dataclass(frozen=True)
class _Attacks(Maker):
    def attack(self, attack: Attack) -> Iterator[Cell]:
        each = attack.directives.get("each", "")
        if each == "definer":
            for function in self.catalog.functions:
                if function.definer:
                    for actor in self._callers(function):
                        yield from self._cells(attack, actor, function=function)
        elif each:
            for found in self.catalog.relations:
                if found.entry and self._chosen(each, found):
                    for actor in self._actors(attack):
                        if each != "relation" or found.entry.right("select", actor) != REFUSED:
                            yield from self._cells(attack, actor, found=found, entry=found.entry)
        else:
            for actor in self._actors(attack):
                yield from self._cells(attack, actor)

    def _chosen(self, each: str, found: Found) -> bool:
        if each in ("relation", "table"):
            table = found.is_table if each == "table" else not found.partition_of
            return bool(found.present) and table
        return found.name == each

    def _actors(self, attack: Attack) -> list[Actor]:
        who = attack.directives["as"]
        if who == "server":
            return [Actor("everyone", "none", None, "everyone")]
        if who == "actors":
            return list(self.access.actors)
        first = {actor.role: actor for actor in reversed(self.access.actors)}
        return [
            actor
            for actor in self.access.actors
            if first[actor.role] == actor
            and not (who == "others" and actor.role == self.access.owner)
            and not {*attack.directives.get("unless", "").split(", ")} & {*self.access.roles[actor.role].member_of}
        ]

    def _callers(self, function: Function) -> Iterator[Actor]:
        """One actor a role that may execute a function: of the services' a tenant, the one of [callers] if any."""
        if function.full in self.access.fires:
            who = self.access.fires[function.full][0]
            yield from (actor for actor in self.access.actors if actor.name == who)
            return
        named = self.access.callers.get(function.full)
        for role in self.access.functions.get(function.full, []):
            acting = [actor for actor in self.access.actors if actor.role == role]
            yield from sorted(acting, key=lambda actor: (actor.tenant is None, named not in (None, actor.tenant)))[:1]

    def _cells(
        self, attack: Attack, actor: Actor, *, found: Found | None = None, entry: Relation | None = None,
        function: Function | None = None,
    ) -> Iterator[Cell]:  # fmt: skip
        parts = self._parts(actor, found, entry, function)

        def written(text: str) -> str:
            return sql.SQL(text).format(**parts).as_string(None)

        expected, means, right = self._meant(attack, actor, found, entry)
        for title, text in attack.tries:
            yield Cell(
                actor.role if attack.directives["as"] in ("roles", "others") else actor.name,
                found.full if found else function.full if function else SERVER,
                f"{attack.name}, {title}", expected, what="attack", right=right, means=means,
                at_most=attack.directives["meant"].startswith("at most"),
                trial=Trial(
                    actor.role, written(text), self._context(actor),
                    before=(written(attack.before),) if attack.before else (),
                    look=written(attack.look) if attack.look else "",
                    fetch=attack.directives["meant"] == "none" and not attack.look,
                ),
            )  # fmt: skip

    def _meant(
        self, attack: Attack, actor: Actor, found: Found | None, entry: Relation | None
    ) -> tuple[str | frozenset[str], dict[str, str | frozenset[str]], str]:
        """Return what is expected, what an SQLSTATE stands for, and the right by which it is so."""
        meant = attack.directives["meant"]
        if meant == "harmless":
            # A function called with NULLs may come as far as a constraint (class 23), past all that was planted.
            return _HARMLESS, {"00000": _HARMLESS, "23": _HARMLESS, _PLANTED: _TAKEN}, ""
        if meant == "none":
            return frozenset(), {}, ""
        if found and entry and meant.endswith("own"):
            right = entry.right("select", actor)
            return self._expected(found, entry, right, actor, self._key(entry, actor)), {}, right
        return meant, {}, ""

    def _parts(
        self, actor: Actor, found: Found | None, entry: Relation | None, function: Function | None
    ) -> dict[str, sql.Composable]:
        """Return the names and values that stand in an attack's SQL in braces."""
        functions = [each for each in self.catalog.functions if each.full in self.access.functions]
        parts: dict[str, sql.Composable] = {
            "role": sql.Identifier(actor.role),
            "role_name": sql.Literal(actor.role),
            "roles": _array(self.access.roles),
            "schema": sql.Literal(self.access.schema),
            "number": sql.Literal(2_000_000_000 + secrets.randbelow(147_000_000)),
            "tables": _array(
                each.oid for each in self.catalog.relations if each.is_table and each.entry and not each.partition_of
            ),
            "functions": _array(each.oid for each in functions),
            "definers": _array(each.oid for each in functions if each.definer),
            "notifying": _array(each.oid for each in functions if each.full in self.access.notifies),
        }
        if function:
            fires = self.access.fires.get(function.full)
            parts["run"] = (
                sql.SQL(self.labels.filled(fires[1])) if fires  # a statement of the file
                else sql.SQL("PERFORM {}").format(self._call(function, actor.tenant))
            )  # fmt: skip
        if found:
            parts |= {"relation": found.identifier}
            parts |= {"schema_name": sql.Literal(found.schema), "table_name": sql.Literal(found.name)}
        if found and entry and entry.keys:
            key = self._key(entry, actor)
            rows = self.access.rows(entry)
            seen = self._expected(found, entry, entry.right("select", actor), actor, key)
            values = [self.labels.text(identity(self.access, entry, row, key)) for row in rows]
            parts |= {
                "key": sql.Identifier(key),
                "keys": self.labels.array(values),
                "others": self.labels.array(value for value in values if value not in seen),
            }
        return parts

    def _key(self, entry: Relation, actor: Actor) -> str:
        readable = (key for key in entry.keys if entry.allows_column("select", actor.role, key))
        return next(readable, entry.keys[0])

    def _call(self, function: Function, tenant: str | None) -> sql.Composable:
        """Write the call of a function with the arguments of [calls], or with NULL for each."""
        given = self.access.calls.get(function.full, [{"sql": "NULL"}] * len(function.arguments))
        arguments = [
            sql.SQL("CAST({} AS {})").format(self._argument(value, tenant), sql.SQL(kind))
            for value, kind in zip(given, function.arguments, strict=True)
        ]
        return sql.SQL("{}({})").format(sql.SQL(function.called), sql.SQL(", ").join(arguments))

    def _argument(self, value: Any, tenant: str | None) -> sql.Composable:  # noqa: ANN401 - a value of the file
        if value == "@{each}":
            return self.labels.literal(f"@{tenant}") if tenant else sql.NULL
        return self.labels.literal(value)

    def calls(self) -> Iterator[Cell]:
        """A function that takes somebody's id acts in one's own name alone, whoever may execute it."""
        for function in self.catalog.functions:
            if "@{each}" not in self.access.calls.get(function.full, []):
                continue
            for actor in self.access.actors:
                if actor.role not in self.access.functions.get(function.full, []):
                    continue
                for tenant in self.access.tenants:
                    statement = sql.SQL("SELECT {}").format(self._call(function, tenant)).as_string(None)
                    yield Cell(
                        actor.name, function.full, f"called in the name of {tenant}",
                        ALLOWED if tenant == actor.tenant else REFUSED, what="attack",
                        trial=Trial(actor.role, statement, self._context(actor)),
                    )  # fmt: skip


def _array(values: Any) -> sql.Composable:  # noqa: ANN401 - names or numbers
    return sql.Literal("{" + ",".join(map(str, values)) + "}")


# Sessions of their own -----------------------------------------------------------------------------------


def sessions(connection: Connection, url: str, access: Access) -> list[Result]:
    """Try the attacks of a login in real sessions, on a throwaway database.

    The login is dropped afterwards; were it left behind, it could not be used two minutes later.
    """
    login, password = f"portaldb_verify_{secrets.token_hex(6)}", secrets.token_hex(16)
    soon = connection.execute(query("attacks", "soon")).fetchone()
    assert soon is not None  # noqa: S101 - a SELECT without FROM has one row

    def do(name: str, **parts: sql.Composable) -> None:
        connection.execute(sql.SQL(query("attacks", name)).format(login=sql.Identifier(login), **parts))

    results: list[Result] = []
    do("make_login", password=sql.Literal(password), soon=sql.Literal(soon["soon"]))
    try:
        do("let_in", database=sql.Identifier(connection.info.dbname))
        for role in access.roles:
            do("member", role=sql.Identifier(role))
            target = conninfo.make_conninfo(url, user=login, password=password)
            results += [_as_login(cell, target) for cell in _of_logins(access, role, connection.info.user)]
            do("no_member", role=sql.Identifier(role))
    finally:
        do("drop_login")
    return results


def _of_logins(access: Access, role: str, superuser: str) -> Iterator[Cell]:
    held = {role, *becomes(access, role)}
    parts = {
        "role": sql.Identifier(role),
        "another": sql.Identifier(next((each for each in access.roles if each not in held), superuser)),
        "superuser": sql.Identifier(superuser),
    }
    for attack in attacks():
        for title, text in attack.tries if attack.directives["as"] == "logins" else ():
            trial = Trial(role, sql.SQL(text).format(**parts).as_string(None))
            yield Cell(role, SERVER, f"{attack.name}, {title}", REFUSED, what="attack", trial=trial)


def _as_login(cell: Cell, target: str) -> Result:
    assert cell.trial is not None  # noqa: S101 - made with one
    try:
        with _open(target) as session:
            session.execute(cell.trial.statement.encode())
    except psycopg.OperationalError as error:
        # Without a session there is nothing that it could take on.
        return Result(cell, REFUSED, f"the server lets no login with a password in: {str(error).splitlines()[0]}")
    except psycopg.Error as error:
        said = f"{error.diag.message_primary} ({error.sqlstate})"
        return Result(cell, REFUSED if error.sqlstate == "42501" else "unknown", said)
    return Result(cell, ALLOWED, "done")


def _open(target: str) -> psycopg.Connection[Any]:
    """Open a session; over the network where the socket asks who the process's user is."""
    try:
        return psycopg.connect(target, connect_timeout=5)
    except psycopg.OperationalError:
        if not str(conninfo.conninfo_to_dict(target).get("host") or "/").startswith("/"):
            raise
        return psycopg.connect(conninfo.make_conninfo(target, host="127.0.0.1"), connect_timeout=5)
