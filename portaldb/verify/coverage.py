"""What needs no trial: relations and functions without an entry, entries without one, and the power of roles."""

from collections.abc import Iterable, Iterator

from portaldb.verify.access import Access
from portaldb.verify.cells import REFUSED, Cell
from portaldb.verify.found import Catalog, Found, Policy
from portaldb.verify.trial import Result

_YES = ("true", "on", "1", "yes")
_POWERS = ("superuser", "bypassrls", "createrole", "createdb", "replication")


def check(access: Access, catalog: Catalog) -> list[Result]:
    """Return a result for each relation, function and role."""
    return [
        *_relations(access, catalog),
        *_policies(access, catalog),
        *_functions(access, catalog),
        *_roles(access, catalog),
        *_defaults(access, catalog),
    ]


def seen(access: Access, catalog: Catalog) -> list[Result]:
    """Return a result for each relation that should show synthetic rows: who reaches which is tried on those alone."""
    return [
        _result(found.full, "rows", bool(found.present), "shows its synthetic rows", "shows none of its synthetic rows")
        for found in catalog.relations
        if found.entry and access.rows(found.entry) and not found.partition_of
    ]


def _relations(access: Access, catalog: Catalog) -> Iterator[Result]:
    for found in catalog.relations:
        where = f"[partitions] for {found.partition_of}" if found.partition_of else "[relations]"
        yield _result(
            found.full, "entry", found.entry is not None,
            "has an entry", f"our roles reach it, and the access file has no entry for it in {where}",
        )  # fmt: skip
        if found.entry and found.entry.owner_rights:
            other = sorted({column.name for column in found.columns} ^ set(found.entry.shows))
            said = f"shows with its owner's rights other columns than its entry says: {_list(other)}"
            yield _result(found.full, "columns", not other, "shows the columns of its entry", said)
        if found.entry and found.entry.forced:
            yield _result(
                found.full, "row security", found.forced,
                "is enabled and forced", "is not enabled, or not forced on its owner",
            )  # fmt: skip
        if found.kind == "v" and found.entry and found.entry.ours:
            needed = "security_barrier" if found.entry.owner_rights else "security_invoker"
            yield _result(
                found.full,
                "options",
                any(f"{needed}={yes}" in found.options for yes in _YES),
                f"has {needed}",
                f"has not {needed}",
            )
    there = {found.full for found in catalog.relations}
    for name, relation in access.relations.items():
        if name not in there and not relation.optional:
            yield _result(
                name, "entry", False, "", "the access file has an entry for it, and none of our roles reaches it"
            )


def _policies(access: Access, catalog: Catalog) -> Iterator[Result]:
    """A policy that is for more than anyone may is a hole that opens with the next grant."""
    bypassing = {row["name"] for row in catalog.roles if row["bypassrls"]}
    for found in catalog.relations:
        if found.entry is None or not found.entry.ours or found.partition_of:
            continue
        for policy in found.policies:
            faults = [
                fault for role in policy.roles for fault in _policy_faults(access, found, policy, role, bypassing)
            ]
            yield _result(
                found.full, f"policy {policy.name}", not faults, "is for those who may", "; ".join(faults),
            )  # fmt: skip


def _policy_faults(access: Access, found: Found, policy: Policy, role: str, bypassing: set[str]) -> Iterator[str]:
    actor = next((actor for actor in access.actors if actor.role == role), None)
    if role == "public":
        yield "it names PUBLIC, so that whoever is granted anything later passes through it"
    elif actor is None or found.entry is None:
        yield f"it names {role}, as whom nobody acts in the access file"
    elif role in bypassing:
        yield f"it names {role}, who goes past policies"
    else:
        idle = [command for command in policy.commands if found.entry.right(command, actor) == REFUSED]
        if idle:
            yield f"it is for {', '.join(idle).upper()} too, which {role} may not"
        for other in found.policies:
            covers = set(policy.commands) <= set(other.commands)
            if policy.permissive and other != policy and other.lets_all_through and role in other.roles and covers:
                yield f"it does nothing for {role}, whom {other.name} lets through anyway"


def _functions(access: Access, catalog: Catalog) -> Iterator[Result]:
    there = {function.full for function in catalog.functions}
    unpinned = access.lints.get("0029_function_search_path", {})
    for name in sorted(there | set(access.functions)):
        said = "the access file has no entry for it" if name in there else "it has an entry, and the catalog has it not"
        yield _result(name, "entry", name in there and name in access.functions, "has an entry", said)
    for function in catalog.functions:
        meant = access.definers.get(function.full)
        runs = f"as {function.owner}" if function.definer else "as its caller"
        wanted = f"as {meant}" if meant else "as its caller"
        yield _result(function.full, "runs", runs == wanted, runs, f"it runs {runs}, and is meant to run {wanted}")
        yield _result(
            function.full,
            "search path",
            function.pinned or function.full in unpinned,
            "pinned",
            "whoever calls it chooses what its names mean",
        )


def _roles(access: Access, catalog: Catalog) -> Iterator[Result]:
    for row in catalog.roles:
        role = access.roles[row["name"]]
        for power in _POWERS:
            meant = role.bypassrls if power == "bypassrls" else False
            has = "has it" if row[power] else "has it not"
            yield _result(role.name, power, row[power] == meant, has, f"{has}, which is not meant")
        members = tuple(row["member_of"])
        said = f"is a member of {_list(members)}, meant is {_list(role.member_of)}"
        yield _result(
            role.name, "membership", members == role.member_of,
            "as meant", said,
        )  # fmt: skip
        if not _owns(access, role.name):
            places = [*row["creates_in"], *["pg_temp"] * row["temporary"], *["new schemas"] * row["makes_schemas"]]
            yield _result(
                role.name, "create", not places, "makes no objects", f"may make objects in {_list(places)}",
            )  # fmt: skip


def _defaults(access: Access, catalog: Catalog) -> Iterator[Result]:
    for owner in access.owners:
        given = [f"{row['kind']} for {row['grantee']}" for row in catalog.defaults if row["owner"] == owner]
        yield _result(
            owner, "default privileges", not given,
            "what it makes is its own", f"what it makes is open to others from the start: {_list(given)}",
        )  # fmt: skip


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _owns(access: Access, role: str) -> bool:
    return any(actor.name == "owner" and actor.role == role for actor in access.actors)


def _result(relation: str, command: str, good: bool, as_meant: str, fault: str) -> Result:
    cell = Cell("everyone" if command == "entry" else relation, relation, command, "as meant", what="catalog")
    return Result(cell, "as meant" if good else "not as meant", as_meant if good else fault)
