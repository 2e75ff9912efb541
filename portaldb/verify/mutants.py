"""Every single-step weakening of a catalog, as statements: what `portaldb verify --mutate` applies, one at a time.

Nothing here asks the server: the same catalog rows give the same changes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from portaldb.verify.access import Access
from portaldb.verify.cells import REFUSED
from portaldb.verify.edits import edits
from portaldb.verify.found import Catalog, Found, Function, Policy, Rule

COMMANDS = ("all", "select", "insert", "update", "delete")

ATTRIBUTES = ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION")

_UNCALLED = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
_DEFAULTS = {"TABLES": "ALL", "SEQUENCES": "ALL", "FUNCTIONS": "EXECUTE", "SCHEMAS": "ALL"}


@dataclass(frozen=True)
class Rows:
    """What the generator takes from the catalog beside the verifier's own look at it; see queries/mutants.sql."""

    rights: list[dict[str, Any]]
    tables: list[dict[str, Any]]
    functions: list[dict[str, Any]]
    views: list[dict[str, Any]]
    memberships: list[dict[str, Any]]
    places: list[dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """A weakening: the statements that make it, and what it touches, so that those cells are tried first."""

    kind: str
    object: str
    statements: tuple[str, ...]
    told: str = ""
    """The change in words where the statement is a whole function; else the statement itself."""
    relation: str = ""
    roles: tuple[str, ...] = ()
    command: str = ""
    column: str = ""
    shared: bool = False
    """Whether it changes roles, which all databases of the server share."""
    textual: bool = False
    """Whether the server may refuse it as no SQL: such a change is no mutant."""

    @property
    def statement(self) -> str:
        """What is shown of it, in one line."""
        return self.told or " ".join("; ".join(self.statements).split())


def without_texts(body: str) -> str:
    """Return a function's body without what a comment or a text in it says."""
    return _UNCALLED.sub("", body)


def generate(access: Access, catalog: Catalog, rows: Rows) -> list[Change]:
    """Return every change, each once."""
    maker = _Maker(access, catalog, rows, access.owner)
    return list(dict.fromkeys(maker.changes()))


@dataclass(frozen=True)
class _Maker:
    access: Access
    catalog: Catalog
    rows: Rows
    owner: str

    def changes(self) -> Iterator[Change]:
        switches = {row["oid"]: row for row in self.rows.tables}
        for found in self._ours():
            for policy in found.policies:
                yield from self._policy(found, policy)
            if found.is_table:
                yield from _row_security(found, switches[found.oid])
                for rule in found.rules:
                    yield from _rule(found, rule)
            for option in ("security_invoker", "security_barrier"):
                if found.kind == "v" and any(each.startswith(f"{option}=") for each in found.options):
                    yield _change("view option", found, f"ALTER VIEW {{relation}} RESET ({option})")
        yield from self._views()
        yield from self._grants()
        functions = {function.oid: function for function in self.catalog.functions}
        deciding = self._deciding(functions)
        for row in self.rows.functions:
            yield from self._function(functions[row["oid"]], row, decides=row["oid"] in deciding)
        yield from self._roles()
        yield from self._places()
        yield from self._defaults()

    def _ours(self) -> Iterator[Found]:
        return (found for found in self.catalog.relations if found.entry and found.entry.ours)

    def _policy(self, found: Found, policy: Policy) -> Iterator[Change]:
        def change(kind: str, *statements: str, told: str = "", roles: tuple[str, ...] = ()) -> Change:
            command = "" if policy.command == "all" else policy.command
            return _change(
                f"policy: {kind}", found, *statements, name=policy.name, told=told, command=command, roles=roles
            )

        alter, drop = "ALTER POLICY {name} ON {relation}", "DROP POLICY {name} ON {relation}"
        yield change("drop", drop)
        if policy.using not in (None, "true"):
            yield change("USING (true)", f"{alter} USING (true)")
        if policy.command in ("all", "insert", "update") and (policy.check or policy.using) != "true":
            yield change("WITH CHECK (true)", f"{alter} WITH CHECK (true)")
        if policy.permissive and policy.using and policy.check not in (None, policy.using):
            yield change("WITH CHECK dropped", drop, _create(replace(policy, check=None)))
        for command in COMMANDS:
            # A restrictive policy for more commands is stricter.
            if command != policy.command and (policy.permissive or command != "all"):
                yield change("command", drop, _create(policy, command=command))
        if policy.permissive:
            for role in ("public", *self.access.roles):
                if role not in policy.roles and "public" not in policy.roles:
                    named = ", ".join(
                        _grantee(each) for each in ([role] if role == "public" else [*policy.roles, role])
                    )
                    yield change("roles", f"{alter} TO {named}", roles=() if role == "public" else (role,))
        else:
            yield change("permissive", drop, _create(policy, permissive=True))
            if self.owner and self.owner not in policy.roles:
                yield change("roles", f"{alter} TO {_name(self.owner)}")
        for part, text in (("USING", policy.using), ("WITH CHECK", policy.check)):
            for edit in edits(text or ""):
                yield change(
                    edit.kind, f"{alter} {part} ({edit.text})",
                    told=f"{policy.name} on {found.full}, {part}: {edit.told}",
                )  # fmt: skip

    def _views(self) -> Iterator[Change]:
        """Change what a view says that tenants read in its owner's rights."""
        tenants = [actor for actor in self.access.actors if actor.tenant]
        relations = {found.oid: found for found in self._ours()}
        for row in self.rows.views:
            found = relations[row["oid"]]
            own_rights = not any(each.startswith("security_invoker=") for each in found.options)
            if own_rights and any(found.entry and found.entry.right("select", actor) != REFUSED for actor in tenants):
                options = f" WITH ({', '.join(found.options)})" if found.options else ""
                for edit in edits(row["body"]):
                    yield _change(
                        f"view: {edit.kind}", found, f"CREATE OR REPLACE VIEW {{relation}}{options} AS {edit.text}",
                        told=f"{found.full}: {edit.told}",
                    )  # fmt: skip

    def _grants(self) -> Iterator[Change]:
        relations = {found.oid: found for found in self.catalog.relations if found.entry}
        for row in self.rows.rights:
            found = relations[row["oid"]]
            sequence, column = found.kind == "S", row["column"]
            kind = "sequence" if sequence else "column" if column else "partition" if found.partition_of else "table"
            what = f"{row['privilege']} ({_name(column)})" if column else row["privilege"]
            yield _change(
                f"grant: {kind}", found,
                f"GRANT {what} ON {'SEQUENCE ' if sequence else ''}{{relation}} TO {_grantee(row['grantee'])}",
                command=row["privilege"].lower(), column=column or "", roles=self._named(row["grantee"]),
            )  # fmt: skip

    def _named(self, grantee: str) -> tuple[str, ...]:
        return () if grantee == "public" else (grantee,)

    def _deciding(self, functions: dict[int, Function]) -> set[int]:
        """Choose the functions that decide who reaches what.

        They are those that policies, triggers and one another call, and those that run as their owner for whoever
        has a tenant.
        """
        # What a comment or a hint names is not called.
        bodies = {row["oid"]: without_texts(row["body"]) for row in self.rows.functions}
        texts = [f"{p.using} {p.check}" for found in self._ours() for p in found.policies]
        tenants = {actor.role for actor in self.access.actors if actor.tenant}
        chosen = {row["oid"] for row in self.rows.functions if row["of_trigger"]}
        chosen |= {
            oid
            for oid, each in functions.items()
            if each.definer and tenants & set(self.access.functions.get(each.full, [])) and oid in bodies
        }
        waiting = [*texts, *(bodies[oid] for oid in chosen)]
        while waiting:
            text = waiting.pop()
            for oid, each in functions.items():
                calls = rf"\b{re.escape(each.called.rpartition('.')[2])}\("
                if oid in bodies and oid not in chosen and re.search(calls, text):
                    chosen.add(oid)
                    waiting.append(bodies[oid])
        return chosen

    def _function(self, function: Function, row: dict[str, Any], *, decides: bool) -> Iterator[Change]:
        routine = "PROCEDURE" if function.kind == "p" else "FUNCTION"
        named = f"{routine} {function.called}({', '.join(function.arguments)})"

        def change(kind: str, statement: str, told: str = "", roles: tuple[str, ...] = ()) -> Change:
            return Change(
                f"function: {kind}", function.full, (statement,), told,
                relation=function.full, roles=roles, textual=bool(told),
            )  # fmt: skip

        if row["sets_path"]:
            yield change("search path", f"ALTER {named} RESET search_path")
        if not function.definer:
            yield change("SECURITY DEFINER", f"ALTER {named} SECURITY DEFINER")
        elif self.owner and function.owner != self.owner:
            yield change("owner", f"ALTER {named} OWNER TO {_name(self.owner)}")
        for grantee in row["lacking"]:
            yield change("EXECUTE", f"GRANT EXECUTE ON {named} TO {_grantee(grantee)}", roles=self._named(grantee))
        if decides:
            for edit in edits(row["body"]):
                yield change(
                    edit.kind, row["definition"].replace(row["body"], edit.text), f"{function.full}: {edit.told}"
                )

    def _roles(self) -> Iterator[Change]:
        for row in self.catalog.roles:
            for attribute in ATTRIBUTES:
                if not row[attribute.lower()]:
                    yield Change(
                        f"role: {attribute}", row["name"], (f"ALTER ROLE {_name(row['name'])} {attribute}",),
                        roles=(row["name"],), shared=True,
                    )  # fmt: skip
        for row in self.rows.memberships:
            yield Change(
                "role: membership", row["member"], (f"GRANT {_name(row['granted'])} TO {_name(row['member'])}",),
                roles=(row["member"],), shared=True,
            )  # fmt: skip

    def _places(self) -> Iterator[Change]:
        for row in self.rows.places:
            of_database = row["kind"] == "DATABASE"
            to = f"TO {_grantee(row['grantee'])}"
            # A database is another one in each run, and its rights lie in a catalog that all databases share.
            told = f"GRANT {row['privilege']} ON DATABASE {to}" if of_database else ""
            yield Change(
                f"create: {row['kind'].lower()}", "the database" if of_database else row["name"],
                (f"GRANT {row['privilege']} ON {row['kind']} {_name(row['name'])} {to}",),
                told, roles=self._named(row["grantee"]), shared=of_database,
            )  # fmt: skip

    def _defaults(self) -> Iterator[Change]:
        for owner in self.access.owners:
            for what, privilege in _DEFAULTS.items():
                for grantee in ("public", *self.access.roles):
                    if grantee != owner:
                        yield Change(
                            "default privileges", owner,
                            (
                                f"ALTER DEFAULT PRIVILEGES FOR ROLE {_name(owner)} GRANT {privilege} ON {what} "
                                f"TO {_grantee(grantee)}",
                            ),
                            roles=self._named(grantee),
                        )  # fmt: skip


def _grantee(name: str) -> str:
    """Quote a role's name; PUBLIC is a keyword."""
    return "PUBLIC" if name == "public" else _name(name)


def _name(name: str) -> str:
    """Quote a name where SQL needs it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else sql.Identifier(name).as_string(None)


def _change(
    kind: str, found: Found, *statements: str, name: str = "", told: str = "", command: str = "", column: str = "",
    roles: tuple[str, ...] = (),
) -> Change:  # fmt: skip
    relation = f"{_name(found.schema)}.{_name(found.name)}"
    ready = tuple(
        each.replace("{relation}", relation).replace("{name}", sql.Identifier(name).as_string(None) if name else "")
        for each in statements
    )
    return Change(
        kind, f"{name} on {found.full}" if name else found.full, ready, told,
        relation=found.full, roles=roles, command=command, column=column, textual=bool(told),
    )  # fmt: skip


def _create(policy: Policy, *, command: str | None = None, permissive: bool | None = None) -> str:
    """Write a policy anew with another command or the other way round."""
    command = command or policy.command
    way = "" if (policy.permissive if permissive is None else permissive) else " AS RESTRICTIVE"
    either = policy.using or policy.check
    using = f" USING ({either})" if command != "insert" else ""
    check = policy.check or (policy.using if command == "insert" else None)
    checks = f" WITH CHECK ({check})" if check and command in ("all", "insert", "update") else ""
    roles = ", ".join(map(_grantee, policy.roles))
    return f"CREATE POLICY {{name}} ON {{relation}}{way} FOR {command.upper()} TO {roles}{using}{checks}"


def _row_security(found: Found, switches: dict[str, Any]) -> Iterator[Change]:
    if switches["row_security"]:
        yield _change("row security: disable", found, "ALTER TABLE {relation} DISABLE ROW LEVEL SECURITY")
    if switches["forced"]:
        yield _change("row security: no force", found, "ALTER TABLE {relation} NO FORCE ROW LEVEL SECURITY")


_LISTED = re.compile(r"ARRAY\[('(?:[^']|'')*')")
_ON_DELETE = re.compile(r" ON DELETE (CASCADE|SET NULL|SET DEFAULT|RESTRICT)")


def _rule(found: Found, rule: Rule) -> Iterator[Change]:
    def change(kind: str, *statements: str) -> Change:
        return _change(kind, found, *statements, name=rule.name)

    if rule.kind == "trigger":
        yield change("trigger: drop", "DROP TRIGGER {name} ON {relation}")
        yield change("trigger: disable", "ALTER TABLE {relation} DISABLE TRIGGER {name}")
    elif rule.kind == "not null":
        yield change("column: DROP NOT NULL", "ALTER TABLE {relation} ALTER COLUMN {name} DROP NOT NULL")
    elif rule.kind == "unique index":
        schema = sql.Identifier(found.schema).as_string(None)
        yield change("constraint: drop", f"DROP INDEX {schema}.{{name}}")
    else:
        drop = "ALTER TABLE {relation} DROP CONSTRAINT {name}"
        cascade = " CASCADE" if rule.kind in ("unique", "primary key") else ""
        yield change("constraint: drop", drop + cascade)
        add = "ALTER TABLE {relation} ADD CONSTRAINT {name} "
        if rule.kind == "check" and _LISTED.search(rule.definition):
            wider = _LISTED.sub(r"ARRAY['anything'::text, \1", rule.definition, count=1)
            yield change("constraint: one more value", drop, add + wider)
        if rule.kind == "foreign key":
            bare = _ON_DELETE.sub("", rule.definition)
            other = f"{bare} ON DELETE CASCADE" if bare == rule.definition else bare
            yield change("constraint: ON DELETE", drop, add + other)


def kinds(changes: Iterable[Change]) -> dict[str, int]:
    """Count changes by kind."""
    counted: dict[str, int] = {}
    for change in changes:
        counted[change.kind] = counted.get(change.kind, 0) + 1
    return counted
