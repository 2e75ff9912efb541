"""Where the files say what a report is about: the migration that creates an object, or the access file's entry."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portaldb.source import Migration, Statement, UnparsableError
from portaldb.tree import relation_name, strings
from portaldb.verify.access import Access


@dataclass(frozen=True)
class Place:
    """A file, from where the command was started if it lies below, and a line counted from 1."""

    path: str
    line: int


@dataclass(frozen=True)
class Places:
    """What is created where, by its name with the schema, and where the access file has what is not created."""

    created: dict[str, Place]
    access: Access

    def of(self, thing: str) -> Place:
        """Return the place of a relation, a function, a policy's table, a role, or a text that names one."""
        for word in re.findall(r"[\w$.]+", thing):
            parts = word.split(".")
            # A column's relation, and a partition's parent: users.email, audit_logs_2026_01
            names = [word, ".".join(parts[:-1]), re.sub(r"(_default|(_\d+)+)$", "", word)]
            for name in names:
                for full in (name, f"{self.access.schema}.{name}"):
                    if full in self.created:
                        return self.created[full]
        return Place(_told(self.access.path), self._entry(thing))

    def _entry(self, thing: str) -> int:
        name = thing.removeprefix(f"{self.access.schema}.")
        entry = re.compile(rf'(\[relations\."?{re.escape(name)}"?\]|"?{re.escape(name)}"?\s*=)')
        lines = self.access.path.read_text(encoding="utf-8").splitlines()
        return next((number for number, line in enumerate(lines, 1) if entry.match(line)), 1)


def find(access: Access, migrations: list[Migration]) -> Places:
    """Look through the migrations; of what is created again (a view, a function) the latest file counts."""
    created = {}
    for migration in migrations:
        path = _told(migration.script.path, migration.name)
        try:
            statements = migration.script.statements
        except UnparsableError:
            continue  # newer than the parser: the server took it
        for statement in statements:
            for name in _creates(statement):
                created[name] = Place(path, statement.line)
    return Places(created, access)


def _creates(statement: Statement) -> Iterator[str]:
    node = statement.tree[statement.kind]
    if statement.kind == "CreateStmt":
        yield relation_name(node["relation"])
    elif statement.kind == "ViewStmt":
        yield relation_name(node["view"])
    elif statement.kind == "CreateFunctionStmt":
        yield ".".join(strings(node["funcname"]))
    elif statement.kind == "IndexStmt" and "idxname" in node:
        yield f"{node['relation'].get('schemaname', 'public')}.{node['idxname']}"
    elif statement.kind == "CreatePolicyStmt":
        yield node["policy_name"]


def _told(path: Path, otherwise: str | None = None) -> str:
    """Name a file from where the command was started; one that lies elsewhere as its package has it."""
    resolved = path.resolve()
    if resolved.is_relative_to(Path.cwd()):
        return resolved.relative_to(Path.cwd()).as_posix()
    return otherwise or f"{resolved.parent.name}/{resolved.name}"
