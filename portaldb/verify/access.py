"""The intended access, as access.toml says it: actors, rows, and who reaches which of them."""

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from portaldb.errors import UsageError

DEFAULT = Path(__file__).resolve().parents[1] / "access.toml"
"""The access file of this release."""

STRONG = ("truncate", "references", "trigger", "maintain")
"""Commands whose trial would hold a strong lock; they are read from the catalog on a running database."""

COMMANDS = ("select", "insert", "update", "delete", *STRONG)

Row = dict[str, Any]


@dataclass(frozen=True)
class Actor:
    """Somebody who acts: a role, and the tenant whom the context names."""

    name: str
    role: str
    tenant: str | None
    title: str
    before: str = ""
    """What puts the database into the state that this actor is about; run as superuser, and undone."""
    when: str = ""
    """Asked of a running database, where `before` is not run: whether it is in that state."""


@dataclass(frozen=True)
class Role:
    """What a role is meant to be; it has no other power."""

    name: str
    bypassrls: bool = False
    member_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A statement and what must come of it: a value as text, 'done', 'refused', or 'refused by' a constraint."""

    sql: str
    gives: str
    what: str = ""
    of: str = ""
    """The relation or function that it shows something of."""
    actor: str = ""
    before: tuple[str, ...] = ()
    live: bool = True
    """Whether it may be tried on a running database."""


@dataclass(frozen=True)
class AcceptedLint:
    """Why a lint's finding is let pass; an optional one need not be found."""

    reason: str
    optional: bool = False


@dataclass(frozen=True)
class Relation:
    """A relation's synthetic rows and who reaches which of them; `right` is 'refused', 'none', 'all' or scopes."""

    name: str
    keys: tuple[str, ...] = ()
    forced: bool = False
    optional: bool = False
    ours: bool = True
    owner_rights: bool = False
    shows: tuple[str, ...] = ()
    """Of a view with its owner's rights, every column."""
    by_context: bool = False
    """Whether it shows rows of the context alone, so that a superuser without one sees none."""
    rows: tuple[Row, ...] = ()
    rows_of: str = ""
    scopes: dict[str, list[Row]] = field(default_factory=dict)
    rights: dict[str, dict[str, str]] = field(default_factory=dict)
    columns: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    candidates: tuple[Row, ...] = ()
    example: Row = field(default_factory=dict)
    """A row that nothing refuses: the first of `rows`, where there are any."""
    refuses: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    accepts: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    on_delete: dict[str, str] = field(default_factory=dict)
    unlock: str = ""
    """What is run before synthetic rows make way for those that they refer to, where a trigger keeps them."""
    triggers: dict[str, Statement] = field(default_factory=dict)
    constraints: dict[str, Statement] = field(default_factory=dict)
    """Trials of those that no row to insert shows, because a trigger refuses it before."""

    def right(self, command: str, actor: Actor) -> str:
        """Return an actor's right to a command."""
        return self.rights.get(command, {}).get(actor.name, "refused")

    def scoped(self, right: str) -> list[str]:
        """Return the columns by which a right tells rows apart: whoever writes one may give a row away."""
        if right in ("refused", "none", "all"):
            return []
        return sorted({name for scope in right.split("+") for each in self.scopes[scope.strip()] for name in each})

    def allows_column(self, command: str, role: str, column: str) -> bool:
        """Say whether a role that has the command has it for this column."""
        named = self.columns.get(role, {}).get(command)
        return named is None or column in named


@dataclass(frozen=True)
class Access:
    """An access file."""

    path: Path
    setting: str
    schema: str
    schemas: list[str] | None
    ids: dict[str, str]
    tenants: dict[str, list[str]]
    actors: tuple[Actor, ...]
    roles: dict[str, Role]
    relations: dict[str, Relation]
    partitions: dict[str, Relation]
    functions: dict[str, list[str]]
    definers: dict[str, str]
    prepare: tuple[tuple[str, str], ...]
    after: tuple[str, ...]
    """Statements that follow the synthetic rows, for a state in which they could not be made."""
    oracles: dict[str, dict[str, str]]
    """What keys tell of others' rows, by the relation that is written and the key's name, with the reason."""
    notifies: dict[str, str]
    """Functions that NOTIFY, with the reason why what they send is nobody's secret."""
    calls: dict[str, list[Any]]
    """Arguments by which a function acts in the name of the tenant "@{each}": for oneself, and for nobody else."""
    callers: dict[str, str]
    """The tenant in whose name attacks call a function that lets not everyone in."""
    fires: dict[str, tuple[str, str]]
    """For a function of a trigger, which cannot be called: an actor, and the statement of theirs that fires it."""
    lints: dict[str, dict[str, AcceptedLint]]
    """What is accepted of each lint, by its stem and the object that it names."""
    tests: Path | None = None
    """The folder of the pgTAP files that `settings.tests` names, beside the access file."""
    trials: tuple[Statement, ...] = ()
    survivors: dict[str, str] = field(default_factory=dict)
    setup: Path | None = None

    @property
    def owner(self) -> str:
        """The role that acts as the owner; empty where none does."""
        return next((actor.role for actor in self.actors if actor.name == "owner"), "")

    @property
    def owners(self) -> list[str]:
        """The roles that own what is ours."""
        return sorted({self.owner, *self.definers.values()} - {""})

    def entry(self, name: str, partition_of: str | None) -> Relation | None:
        """Return the entry for a relation of the catalog; a partition's is its parent's of [partitions]."""
        if partition_of:
            return self.partitions.get(partition_of)
        return self.relations.get(name)

    def rows(self, relation: Relation) -> tuple[Row, ...]:
        """Return the synthetic rows that a relation shows: its own, or those of the one that it is made of."""
        return self.relations[relation.rows_of].rows if relation.rows_of else relation.rows

    def reaches(self, relation: Relation, right: str, actor: Actor, row: Row) -> bool:
        """Say whether a row is among those that a right covers."""
        if right in ("refused", "none"):
            return False
        return right == "all" or any(
            self._matches(alternative, actor, row)
            for scope in right.split("+")
            for alternative in relation.scopes[scope.strip()]
        )

    def _matches(self, pattern: Row, actor: Actor, row: Row) -> bool:
        return all(self._equals(wanted, actor, row.get(column)) for column, wanted in pattern.items())

    def _equals(self, wanted: Any, actor: Actor, value: Any) -> bool:  # noqa: ANN401 - a value of the file
        if isinstance(wanted, list):
            return any(self._equals(each, actor, value) for each in wanted)
        if not (isinstance(wanted, str) and "{" in wanted):
            return bool(wanted == value)
        if actor.tenant is None:
            return False
        if wanted == "@{teams}":
            return value in [f"@{team}" for team in self.tenants[actor.tenant]]
        return bool(wanted.replace("{me}", actor.tenant) == value)

    def each(self, candidate: Row) -> list[Row]:
        """Return the rows to insert that a candidate stands for: one a tenant where it says {each}."""
        if not any(isinstance(value, str) and "{each}" in value for value in candidate.values()):
            return [candidate]
        return [
            {
                column: value.replace("{each}", tenant) if isinstance(value, str) else value
                for column, value in candidate.items()
            }
            for tenant in self.tenants
        ]


def read(path: Path = DEFAULT, *, setting: str | None = None) -> Access:
    """Read an access file; `setting` overrides the name of the context's setting.

    Raises UsageError naming the entry that contradicts itself or names what is not there.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the access file {path.name} cannot be read: {error}") from None
    try:
        access = _build(path, found, setting)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the access file {path.name} lacks something, or has it in another form: {error}") from None
    _check(access)
    return access


def _build(path: Path, found: dict[str, Any], setting: str | None) -> Access:
    settings = found.get("settings", {})
    schema = settings.get("schema", "public")
    actors = tuple(
        Actor(
            name,
            each["role"],
            each.get("tenant"),
            each.get("title", name),
            before=each.get("before", ""),
            when=each.get("when", ""),
        )
        for name, each in found["actors"].items()
    )
    groups = {"everyone": [actor.name for actor in actors], **found.get("groups", {})}
    groups |= {actor.name: [actor.name] for actor in actors}
    everywhere = found.get("everywhere", {})

    def qualified(name: str) -> str:
        return name if "." in name.partition("(")[0] else f"{schema}.{name}"

    def relation(name: str, each: dict[str, Any]) -> Relation:
        keys = each.get("key", [])
        layers = [everywhere if each.get("everywhere", True) else {}, each]
        return Relation(
            name=qualified(name),
            keys=(keys,) if isinstance(keys, str) else tuple(keys),
            forced=each.get("forced", False),
            optional=each.get("optional", False),
            ours=each.get("everywhere", True),
            owner_rights=each.get("owner_rights", False),
            shows=tuple(each.get("shows", ())),
            by_context=each.get("by_context", False),
            rows=tuple(each.get("rows", [])),
            rows_of=qualified(each["rows_of"]) if "rows_of" in each else "",
            scopes={
                scope: what if isinstance(what, list) else [what] for scope, what in each.get("scopes", {}).items()
            },
            rights={command: _rights(groups, [layer.get(command, {}) for layer in layers]) for command in COMMANDS},
            columns=each.get("columns", {}),
            candidates=tuple(each.get("candidates", [])),
            example=each.get("example", next(iter(each.get("rows", [])), {})),
            refuses={
                rule: tuple(what) if isinstance(what, list) else (what,)
                for rule, what in each.get("refuses", {}).items()
            },
            accepts=each.get("accepts", {}),
            required=tuple(each.get("required", [])),
            on_delete=each.get("on_delete", {}),
            unlock=each.get("unlock", ""),
            triggers=_statements(each.get("triggers", {})),
            constraints=_statements(each.get("constraints", {})),
        )

    relations = {qualified(name): relation(name, each) for name, each in found.get("relations", {}).items()}
    partitions = {
        qualified(name): _partition(relations[qualified(name)], relation(name, each))
        for name, each in found.get("partitions", {}).items()
    }
    return Access(
        path=path,
        setting=setting or settings["context"],
        schema=schema,
        schemas=settings.get("schemas"),
        ids={name: str(each["id"]) for name, each in found.get("tenants", {}).items() if "id" in each},
        tenants={name: each.get("teams", []) for name, each in found.get("tenants", {}).items()},
        actors=actors,
        roles={
            name: Role(name, each.get("bypassrls", False), tuple(sorted(each.get("member_of", []))))
            for name, each in found["roles"].items()
        },
        relations=relations,
        partitions=partitions,
        functions={qualified(name): roles for name, roles in found.get("functions", {}).items()},
        definers={qualified(name): owner for owner, names in found.get("definers", {}).items() for name in names},
        prepare=tuple((each["role"], each["sql"]) for each in found.get("prepare", [])),
        after=tuple(each["sql"] for each in found.get("after", [])),
        oracles={qualified(name): each for name, each in found.get("oracles", {}).items()},
        notifies={qualified(name): why for name, why in found.get("notifies", {}).items()},
        calls={qualified(name): each for name, each in found.get("calls", {}).items()},
        callers={qualified(name): tenant for name, tenant in found.get("callers", {}).items()},
        fires={qualified(name): (each["actor"], each["sql"]) for name, each in found.get("fires", {}).items()},
        tests=path.parent / settings["tests"] if "tests" in settings else None,
        trials=tuple(
            Statement(**{**each, "of": qualified(each["of"]), "before": tuple(each.get("before", []))})
            for each in found.get("trials", [])
        ),
        survivors=found.get("survivors", {}),
        setup=path.parent / settings["setup"] if "setup" in settings else None,
        lints={
            stem: {
                name: AcceptedLint(**({"reason": why} if isinstance(why, str) else why)) for name, why in each.items()
            }
            for stem, each in found.get("lints", {}).items()
        },
    )


def _partition(parent: Relation, entry: Relation) -> Relation:
    """A partition shows rows of its parent."""
    return replace(entry, optional=True, rows=parent.rows, scopes=parent.scopes)


def _statements(found: dict[str, Any]) -> dict[str, Statement]:
    return {
        rule: Statement(**{**each, "what": rule, "before": tuple(each.get("before", []))})
        for rule, each in found.items()
    }


def _rights(groups: dict[str, list[str]], layers: list[dict[str, str]]) -> dict[str, str]:
    """Give each actor their right; whoever is named alone has that one, whatever their groups have."""
    rights: dict[str, str] = {}
    for layer in layers:
        for alone in (False, True):
            for name, right in layer.items():
                if (groups[name] == [name]) == alone:
                    rights |= dict.fromkeys(groups[name], right)
    return rights


def _check(access: Access) -> None:
    for relation in (*access.relations.values(), *access.partitions.values()):
        where = f"the access file {access.path.name} says of {relation.name}"
        for command, rights in relation.rights.items():
            for right in rights.values():
                unknown = {scope.strip() for scope in right.split("+")} - {"refused", "none", "all", *relation.scopes}
                if unknown:
                    raise UsageError(f"{where} {command} = {right!r}, and it has no scope {', '.join(unknown)}.")
            by_role: dict[str, set[bool]] = {}
            for actor in access.actors:
                by_role.setdefault(actor.role, set()).add(relation.right(command, actor) == "refused")
            split = [role for role, answers in by_role.items() if len(answers) > 1]
            if split:
                raise UsageError(
                    f"{where} that {command} is refused to some who act as {split[0]} and not to others. A privilege "
                    "is the role's: give those who should reach no row 'none'."
                )
        _check_rows(relation, where)
    for trial in access.trials:
        if trial.actor not in {actor.name for actor in access.actors}:
            raise UsageError(f"the access file {access.path.name} has a trial ({trial.what}) of an unknown actor.")
    for actor in access.actors:
        if actor.role not in access.roles or (actor.tenant and actor.tenant not in access.tenants):
            raise UsageError(
                f"the access file {access.path.name} has an actor {actor.name} of an unknown role or tenant."
            )
    _check_names(access)
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", access.setting):
        raise UsageError(
            f"the context's setting has a dot in its name, as app.current_user_id has: {access.setting!r}."
        )


def _check_names(access: Access) -> None:
    for name, arguments in access.calls.items():
        taken = name.partition("(")[2].removesuffix(")")
        if len(arguments) != (taken.count(",") + 1 if taken else 0):
            raise UsageError(f"the access file {access.path.name} calls {name} with {len(arguments)} arguments.")
    named = {*access.calls, *access.callers, *access.fires, *access.notifies}
    unknown = {*access.oracles} - {*access.relations} | named - {*access.functions}
    if unknown:
        raise UsageError(
            f"the access file {access.path.name} has no entry for {', '.join(sorted(unknown))}, which [oracles], "
            "[calls], [callers], [fires] or [notifies] names."
        )


def _check_rows(relation: Relation, where: str) -> None:
    if relation.scopes and not (relation.rows or relation.rows_of):
        raise UsageError(f"{where} which rows are whose, and has no rows to try it on: give it rows, or rows_of.")
    if relation.rows and not relation.keys:
        raise UsageError(f"{where} which rows it has, and not the key that tells them apart.")
