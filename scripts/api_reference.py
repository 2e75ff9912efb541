"""Write docs/api.md between its marks, and the contract docs/api-contract.json, from the catalog of a database.

Run it after a change of the SQL: python scripts/api_reference.py. It makes a throwaway cluster, unless a URL is given.
A change that breaks callers is refused until api_version() has a new major version and CHANGELOG.md names it.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from portaldb.bootstrap import ROLES as ALL_ROLES  # noqa: E402 - the checkout's own, wherever this is run from
from portaldb.cluster import Cluster  # noqa: E402
from scripts import api_contract  # noqa: E402
from scripts.api_catalog import APP, ROLES, Api, Argument, Constraint, Function, Relation, read, short  # noqa: E402

PAGE = ROOT / "docs/api.md"

GROUPS = {
    "Context": (
        ("api_version", "set_app_context", "current_app_user_id", "require_app_user", "require_super_admin"),
        "Who acts in this transaction, and what others ask of it.",
    ),
    "People": (
        ("sign_in", "set_user_role", "deactivate_user", "reactivate_user", "erase_user", "*_user_*", "*_user"),
        "Who comes in, and what they may do.",
    ),
    "Sessions": (
        ("create_session", "authenticate", "refresh_session", "end_session", "end_all_sessions", "*_session*"),
        "A sign-in that lasts for many requests: a token for each of them, and a refresh token for the next session.",
    ),
    "Export and import": (
        ("export_*", "import_*"),
        "A user's settings as JSON, without a secret.",
    ),
    "Teams": (
        ("create_team", "invite_*", "accept_*", "*_invitation*", "*team*"),
        "Who works with whom, and who administers whom.",
    ),
    "Servers": (
        (
            *("enable_server", "disable_server", "bulk_enable", "bulk_disable"),
            *("add_custom_server", "remove_custom_server", "update_server_config", "request_server_restart"),
            *("*server*", "*config*"),
        ),
        "What a user wants to run. The runner sees to the containers.",
    ),
    "Runner": (
        ("claim_container", "record_container_state", "audit_container", "container_*"),
        "What the container runner writes with; [runner.md](runner.md). Services only read `container_status`.",
    ),
    "Audit": (
        ("create_audit_log", "read_audit_log", "*audit*"),
        "Who did what. The functions above write their own entries; a service writes those of its own acts.",
    ),
    "Encryption": (
        ("encrypt_sensitive_data", "decrypt_sensitive_data", "*sensitive_data*", "base64url_*", "a256cbc_*"),
        "For services that cannot encrypt in their own process; [encryption.md](encryption.md) says which should. The "
        "first two are for callers, the others are their parts.",
    ),
    "Parts": (
        ("app_*", "*_fault", "require_server_ids", "import_config", "valid_image_*"),
        "Asked by the policies, and by functions that run with their caller's rights; a service has no need to.",
    ),
}
"""What functions are told together, in this order, and by which names they belong there; the first that fits counts."""

_FIRST = (
    *("Encryption", "Runner", "Audit", "Context", "Parts", "Export and import", "Sessions", "Teams", "Servers"),
    "People",
)
"""The order in which the names are tried, where it is another: sensitive_data_* is no server's."""

STATES = (
    ("", "pending", "wanted, and seen by the runner"),
    ("pending", "creating", "the runner takes it"),
    ("creating", "running", "the container runs"),
    ("running", "stopping", "no longer wanted, or to be restarted"),
    ("stopping", "stopped", "the container is gone"),
    ("stopping", "creating", "replaced"),
    ("running", "creating", "removed by somebody else"),
    ("stopped", "pending", "wanted again"),
    ("error", "creating", "tried again"),
    ("error", "stopped", "no longer wanted"),
    ("pending", "stopped", "no longer wanted"),
    ("pending", "error", ""),
    ("creating", "error", ""),
    ("running", "error", ""),
    ("stopping", "error", ""),
)
"""The changes of container_state; a test holds the states to valid_container_state."""

HTTP = {
    "PT400": (400, "An argument is missing, malformed, too long or too many.", "Mend the request."),
    "PT401": (401, "Nobody active acts: no context, an unknown or ended session, a deactivated user.", "Sign in."),
    "PT403": (403, "The user may not do this.", "Ask somebody who may."),
    "PT404": (404, "There is no such thing, or the user may not see it: the two are never told apart.", "Look again."),
    "PT409": (
        409,
        "It does not fit the state of things: taken, changed meanwhile, the last one.",
        "Read anew, and decide.",
    ),
    "42501": (
        403,
        "A command or column that the role is not granted, or a row outside the policies.",
        "A fault of the service.",
    ),
    "23001": (409, "An audit entry would be changed or removed, which nobody does.", "A fault of the service."),
    "2D000": (500, "A job is run inside a transaction.", "Call run_job on its own."),
    "23514": (400, "A value that a CHECK or a trigger refuses, in a statement on a table.", "Mend the value."),
    "22000": (422, "An encrypted value does not open: key, value or row is not the right one.", "Look for the key."),
    "22023": (400, "A key, key id or context of the encryption functions is malformed.", "A fault of the service."),
    "22001": (400, "A text is too long for its column, in a statement on a table.", "Mend the value."),
    "23502": (400, "A value that has to be given is NULL.", "Mend the value."),
    "23503": (400, "A key names a row that is not there.", "Mend the value."),
    "23505": (409, "A value that is taken, in a statement on a table.", "Choose another."),
    "22P02": (400, "A text is no UUID, number, address or JSON.", "Mend the request."),
    "40001": (503, "Two transactions could not be put into an order.", "Run the whole transaction again."),
    "40P01": (503, "Two transactions waited for each other.", "Run the whole transaction again."),
    "55P03": (503, "A lock did not come within lock_timeout.", "Run the whole transaction again, a little later."),
    "57014": (503, "The statement took longer than statement_timeout, or was cancelled.", "Try again, a little later."),
}
"""The documented SQLSTATEs: the HTTP status that each stands for, what it says, what to do."""

_LINE = 110
"""Letters of a signature before it is spread over lines."""

_KINDS = {"p": "primary key", "u": "unique", "f": "foreign key", "c": "check"}


def group_of(name: str) -> str | None:
    """Return the group that a function is told in; None where none takes it."""
    for group in _FIRST:
        if name in GROUPS[group][0]:
            return group
    return next((g for g in _FIRST if any(fnmatchcase(name, pattern) for pattern in GROUPS[g][0])), None)


def grouped(api: Api) -> dict[str, list[Function]]:
    """Return the functions of services by group, in the order of the page; '' has those that none takes."""
    found: dict[str, list[Function]] = {}
    for function in api.functions_of(APP):
        found.setdefault(group_of(function.name) or "", []).append(function)
    for group, functions in found.items():
        patterns = GROUPS[group][0] if group else ()
        functions.sort(key=lambda each: (*_place(each.name, patterns), each.name, len(each.arguments)))
    return {group: found[group] for group in (*GROUPS, "") if group in found}


def _place(name: str, patterns: tuple[str, ...]) -> tuple[int, int]:
    if name in patterns:
        return 0, patterns.index(name)
    return 1, next((place for place, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), 0)


def page(api: Api, text: str) -> str:
    """Return docs/api.md with what stands between its marks made anew."""
    parts = {
        "version": [f"This page tells version **{api.version}**, as `SELECT api_version();` answers."],
        "errors": [_errors()],
        "roles": [_roles()],
        "overview": list(_overview(api)),
        "functions": list(_functions(api)),
        "views": list(_relations(api, is_view=True)),
        "tables": list(_relations(api, is_view=False)),
        "relationships": [_diagram(api)],
        "states": [_states()],
        "values": [_values(api)],
        "channels": list(_channels(api)),
        "others": list(_others(api)),
    }
    for name, lines in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        made = f"{begin}\n" + "\n\n".join(line.strip("\n") for line in lines) + f"\n{end}"
        text, times = re.subn(f"{begin}.*?{end}", lambda _, made=made: made, text, flags=re.DOTALL)
        if times != 1:
            raise ValueError(f"docs/api.md has the marks of '{name}' {times} times, and not once")
    return text


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    lines = [list(headings), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def anchor(heading: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _errors() -> str:
    rows = ((f"`{code}`", str(status), what, then) for code, (status, what, then) in HTTP.items())
    return table(("SQLSTATE", "HTTP", "what happened", "what to do"), rows)


def _roles() -> str:
    return table(("role", "what it is for"), ((f"`{role.name}`", role.purpose) for role in ALL_ROLES))


# Functions -----------------------------------------------------------------------------------------------


def _overview(api: Api) -> Iterator[str]:
    for group, functions in grouped(api).items():
        names = dict.fromkeys(each.name for each in functions)
        if group in ("Encryption", "Parts"):
            listed = ", ".join(f"[`{name}`](#{anchor(name)})" for name in names)
            yield f"**{group}**: {listed}"
            continue
        firsts = {name: next(each for each in functions if each.name == name) for name in names}
        rows = ((f"[`{name}`](#{anchor(name)})", _sentence(each), _codes(each)) for name, each in firsts.items())
        yield f"**{group}**"
        yield table(("function", "what it does", "errors"), rows)


def _sentence(function: Function) -> str:
    return re.split(r"(?<=[.:;])\s", function.said[""])[0].rstrip(":;")


def _codes(function: Function) -> str:
    return ", ".join(f"`{code}`" for code in function.errors)


def _functions(api: Api) -> Iterator[str]:
    for group, functions in grouped(api).items():
        yield f"### {group or 'Other'}"
        if group:
            yield GROUPS[group][1]
        told = ""
        for function in functions:
            if function.name != told:
                yield f"#### {function.name}"
            told = function.name
            yield from _function(function)


def _function(function: Function) -> Iterator[str]:
    yield f"```text\n{_call(function)}\n```"
    yield function.said[""]
    lines = [f"Called by: {_names(function.roles)}, with {_rights(function.owner)}."]
    if function.audits:
        lines.append(f"Audits: {' '.join(function.said['Audits'].rstrip('.').split())}.")
    lines += [f"`{code}`: {why}." for code, why in function.errors.items()]
    yield "\n".join(f"- {line}" for line in lines)
    if example := function.said.get("Example"):
        yield f"```sql\n{example}\n```"


def _call(function: Function) -> str:
    arguments = [_argument(each) for each in function.arguments]
    if function.columns:
        columns = ", ".join(f"{each.name} {short(each.type)}" for each in function.columns)
        result = f"{'rows' if function.is_set else 'one row'} of ({columns})"
    else:
        result = f"{'rows of ' if function.is_set else ''}{short(function.result)}".replace("void", "nothing")
    line = f"{function.name}({', '.join(arguments)}) → {result}"
    if len(line) <= _LINE:
        return line
    inner = ",\n    ".join(arguments)
    head = f"{function.name}(\n    {inner}\n)" if arguments else f"{function.name}()"
    if len(result) > _LINE:
        result = result.replace(" of (", " of (\n    ").replace(", ", ",\n    ").removesuffix(")") + "\n)"
    return f"{head} → {result}"


def _argument(argument: Argument) -> str:
    default = f" DEFAULT {short(argument.default)}" if argument.default else ""
    return f"{argument.name} {short(argument.type)}{default}"


def _names(roles: Iterable[str]) -> str:
    return ", ".join(f"`{role}`" for role in roles)


def _rights(owner: str | None) -> str:
    return f"the rights of `{owner}`" if owner else "its caller's rights"


# Views and tables ----------------------------------------------------------------------------------------


def _relations(api: Api, *, is_view: bool) -> Iterator[str]:
    for relation in api.relations_of(APP):
        if relation.is_view == is_view:
            yield f"### {relation.name}"
            yield from _relation(relation)


def _relation(relation: Relation) -> Iterator[str]:
    about = relation.comment
    if relation.is_view:
        about += f" It reads with {_rights(relation.owner).replace('its caller', 'its reader')}."
    yield about
    if relation.is_view:
        rows = [(f"`{each.name}`", short(each.type), each.comment) for each in relation.columns]
        yield table(("column", "type", "what it is"), rows)
    else:
        yield table(
            ("column", "type", "null", "default", "what it is"),
            (
                (
                    f"`{each.name}`",
                    short(each.type),
                    "yes" if each.nullable else "",
                    f"`{short(each.default)}`" if each.default else "",
                    each.comment,
                )
                for each in relation.columns
            ),
        )
    yield "\n".join([*_commands(relation), *_keys(relation)])


def _commands(relation: Relation) -> Iterator[str]:
    for role in ROLES:
        if held := relation.commands(role):
            said = (f"{command} of {_names(names)}" if names else command for command, names in held.items())
            yield f"- `{role}`: {'; '.join(said)}."


def _keys(relation: Relation) -> Iterator[str]:
    for each in relation.constraints:
        yield f"- `{each.name}`: {_constraint(each)}."


def _constraint(constraint: Constraint) -> str:
    columns = _names(constraint.columns)
    if constraint.values:
        return f"{columns} is one of {_names(constraint.values)}"
    if constraint.kind == "c":
        return f"`{constraint.definition}`"
    if constraint.kind == "f":
        then = {"CASCADE": ", and goes with it", "SET NULL": ", and is emptied with it"}
        found = re.search(r"ON DELETE (CASCADE|SET NULL)", constraint.definition)
        return f"{columns} names a row of `{constraint.target}`{then[found[1]] if found else ''}"
    return f"{_KINDS[constraint.kind]}, {columns}"


def _values(api: Api) -> str:
    rows = (
        (f"`{relation.name}.{_column(each)}`", f"`{each.name}`", _names(each.values))
        for relation in api.connected()
        for each in relation.constraints
        if each.values
    )
    return table(("column", "constraint", "values"), rows)


def _column(constraint: Constraint) -> str:
    return constraint.columns[-1]


# Diagrams ------------------------------------------------------------------------------------------------


def _diagram(api: Api) -> str:
    """Return the tables that keys connect, and how."""
    lines = ["erDiagram"]
    for each in api.connected():
        for key in each.constraints:
            if key.kind == "f":
                lines.append(f"    {key.target} {_cardinality(each, key)} {each.name} : {' '.join(key.columns)}")
    for each in api.connected():
        lines.append(f"    {each.name} {{")
        for column in each.columns:
            marks = [
                mark
                for kind, mark in (("p", "PK"), ("f", "FK"), ("u", "UK"))
                if any(k.kind == kind and column.name in k.columns for k in each.constraints)
            ]
            lines.append(f"        {short(column.type)} {column.name} {', '.join(marks)}".rstrip())
        lines.append("    }")
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def _cardinality(relation: Relation, key: Constraint) -> str:
    optional = any(each.nullable for each in relation.columns if each.name in key.columns)
    alone = any(each.kind in "pu" and set(each.columns) == set(key.columns) for each in relation.constraints)
    return f"{'|o' if optional else '||'}--{'o|' if alone else 'o{'}"


def _states() -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    {old or '[*]'} --> {new}" + (f": {why}" if why else "") for old, new, why in STATES]
    return "```mermaid\n" + "\n".join(lines) + "\n```"


# The rest ------------------------------------------------------------------------------------------------


def _channels(api: Api) -> Iterator[str]:
    channels = api.channels()
    if not channels:
        yield "There is none yet."
        return
    rows = (
        (
            f"`{each.name}`",
            " ".join(each.occasions),
            " ".join(each.payloads).replace("Trigger: tells", "Tells"),
            _names(each.tables),
        )
        for each in channels
    )
    yield table(("channel", "when", "what comes", "tables"), rows)


def _others(api: Api) -> Iterator[str]:
    for role in ROLES:
        if role == APP:
            continue
        yield f"### {role}"
        yield next(each.purpose for each in ALL_ROLES if each.name == role)
        functions = [each for each in api.functions_of(role) if APP not in each.roles]
        if functions:
            yield table(
                ("function", "what it does", "runs with"),
                ((f"`{_call(each)}`".replace("\n", " "), each.said[""], _rights(each.owner)) for each in functions),
            )
        shared = dict.fromkeys(each.name for each in api.functions_of(role) if APP in each.roles)
        if shared:
            yield f"Of the functions above: {_names(shared)}."
        for relation in api.relations_of(role):
            if not relation.commands(APP):
                columns = ", ".join(f"`{each.name}` {short(each.type)}" for each in relation.columns)
                held = "; ".join(
                    f"{command} of {_names(names)}" if names else command
                    for command, names in relation.commands(role).items()
                )
                yield f"**{relation.name}** ({held}): {relation.comment} {columns}."
        above = [each.name for each in api.relations_of(role) if each.commands(APP)]
        if above:
            yield f"Of the tables above, as it is told there: {_names(above)}."


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """Give the URL of a database with every migration: the one given, or one of a throwaway cluster."""
    if url:
        yield url
        return
    cluster = Cluster.create_throwaway()
    try:
        made = cluster.url("api_reference")
        for command in ("init", "migrate"):
            words = [sys.executable, "-m", "portaldb", command, "--database", made]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield made
    finally:
        cluster.destroy()


def main(argv: list[str]) -> int:
    """Write both; return 1 where the contract is refused."""
    with database(argv[0] if argv else None) as url, psycopg.connect(url) as connection:
        api = read(connection)
    PAGE.write_text(page(api, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    refusals = api_contract.write(api)
    for refusal in refusals:
        sys.stderr.write(f"{refusal}\n")
    return 1 if refusals else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
