"""The rules that the SQL files keep, beyond what sqlfluff and squawk know; docs/lint.md tells each with its fix.

A rule is a function from a file to the lines at fault. What is about SQL is read from PostgreSQL's own parse tree.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from portaldb.layout import FOLDERS
from portaldb.source import Script, Statement, UnparsableError
from portaldb.tree import Tree, nodes, strings

Found = Iterator[tuple[int, str]]
"""Lines and what is wrong there."""

ROLLBACK = ".rollback.sql"
DIRECTIVES = ("depends", "transactional", "irreversible", "loses", "no-rls")

_STEM = re.compile(r"^\d{4}_[a-z][a-z0-9]*(?:_[a-z0-9]+)*$")
_DIRECTIVE = re.compile(r"^--\s*([a-z][a-z-]*):(?:\s+(.*?))?\s*$")
_ALLOW = re.compile(r"^--\s*lint: allow ([a-z-]+): (\S.*)$")
_SENTENCE = re.compile(r"^-- [A-Z\d'\"`(].*[.!?]$")
_ACCENT = 0.75  # how alike two words must be for one to be the other misspelt

_SHORT_TABLE_NAMES = {"user_sessions": ("sessions",), "user_server_configs": ("user_configs",)}
"""The short forms that the schema document uses in index names."""

_GIVEN_NAMES = frozenset(
    {
        "idx_active_users", "idx_running_containers",  # indexes
        "user_configs_isolation", "admin_configs_access",  # policies
    }
)  # fmt: skip
"""Names that the schema document gives outside its own pattern; they stay."""

_TRANSACTION_CONTROL = {
    "TRANS_STMT_BEGIN": "BEGIN",
    "TRANS_STMT_START": "START TRANSACTION",
    "TRANS_STMT_COMMIT": "COMMIT",
    "TRANS_STMT_ROLLBACK": "ROLLBACK",
    "TRANS_STMT_SAVEPOINT": "SAVEPOINT",
    "TRANS_STMT_RELEASE": "RELEASE",
    "TRANS_STMT_ROLLBACK_TO": "ROLLBACK TO",
}

_CONSTRAINTS = {
    "CONSTR_PRIMARY": "PRIMARY KEY",
    "CONSTR_UNIQUE": "UNIQUE",
    "CONSTR_CHECK": "CHECK",
    "CONSTR_FOREIGN": "FOREIGN KEY",
    "CONSTR_EXCLUSION": "EXCLUDE",
}


@dataclass(frozen=True)
class File:
    """One file under a rule's eyes: its bytes, its text, and its statements where the parser knows them."""

    path: Path
    shown: str
    """The path as the report names it."""
    data: bytes
    script: Script
    series: "Series"

    @property
    def is_rollback(self) -> bool:
        """Whether the file is a way back."""
        return self.path.name.endswith(ROLLBACK)

    @property
    def stem(self) -> str:
        """The name without `.sql` or `.rollback.sql`."""
        return self.path.name.removesuffix(ROLLBACK).removesuffix(".sql")

    @property
    def folder(self) -> str:
        """The folder of the series that the file lies in."""
        return self.path.parent.name

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines."""
        return self.script.text.split("\n")

    @cached_property
    def header(self) -> list[tuple[int, str]]:
        """The comment lines before the first statement, numbered."""
        rows = []
        for number, text in enumerate(self.lines, 1):
            if text.strip() and not text.startswith("--"):
                break
            rows.append((number, text))
        return rows

    @cached_property
    def fault(self) -> UnparsableError | None:
        """Why the parser does not know the text, or None."""
        try:
            _ = self.script.statements
        except UnparsableError as error:
            return error
        return None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statements; none where the parser does not know the text, which the rule `syntax` reports."""
        return () if self.fault else self.script.statements

    @cached_property
    def allowed(self) -> dict[str, int]:
        """The rules that this file is excused from, each with the line that gives the reason."""
        found = ((number, _ALLOW.match(text)) for number, text in enumerate(self.lines, 1))
        return {match[1]: number for number, match in found if match}

    def line_of(self, directive: str) -> int:
        """Return the line of a directive in the header, or 1."""
        return next((number for number, text in self.header if text.startswith(f"-- {directive}:")), 1)

    def line_at(self, node: Tree, statement: Statement) -> int:
        """Return the line of a node of the parse tree, whose `location` counts bytes of the whole file."""
        location = node.get("location")
        if not location:
            return statement.line
        return self.script.text.encode()[:location].count(b"\n") + 1


@dataclass(frozen=True)
class Series:
    """The numbered files of the four folders below one root, by their names alone."""

    root: Path
    stems: dict[str, list[str]] = field(default_factory=dict)
    """For each stem the folders that hold its forward file."""

    @classmethod
    def below(cls, root: Path) -> "Series":
        """Look the names up."""
        stems: dict[str, list[str]] = {}
        for folder in FOLDERS:
            for path in sorted((root / folder).glob("*.sql")):
                if not path.name.endswith(ROLLBACK):
                    stems.setdefault(path.stem, []).append(folder)
        return cls(root, stems)


Check = Callable[[File], Found]
RULES: dict[str, Check] = {}


def _rule(name: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES[name] = check
        return check

    return register


# --- the file ---------------------------------------------------------------------------------------------------


@_rule("text-form")
def _text_form(file: File) -> Found:
    """UTF-8 without a byte order mark, LF, no tabs, one newline at the end."""
    if file.data.startswith(b"\xef\xbb\xbf"):
        yield 1, "The file begins with a byte order mark. Save it as plain UTF-8."
    for byte, what in ((b"\r", "a carriage return; save it with LF line endings"), (b"\t", "a tab; use four spaces")):
        if byte in file.data:
            yield file.data[: file.data.index(byte)].count(b"\n") + 1, f"The line holds {what}."
    if not file.data.endswith(b"\n") or file.data.endswith(b"\n\n"):
        yield len(file.lines), "The file does not end with exactly one newline."


@_rule("file-name")
def _file_name(file: File) -> Found:
    """Four digits and a name in snake_case."""
    if not _STEM.match(file.stem):
        yield 1, "The name is not NNNN_snake_case.sql: four digits, then words in lower case joined by underscores."


@_rule("number-unique")
def _number_unique(file: File) -> Found:
    """One number series across the four folders."""
    twins = [
        f"{folder}/{stem}.sql"
        for stem, folders in file.series.stems.items()
        for folder in folders
        if stem[:4] == file.stem[:4] and (folder, stem) != (file.folder, file.stem)
    ]
    if twins and not file.is_rollback:
        yield 1, f"The number {file.stem[:4]} is also that of {', '.join(twins)}. Give the newer file the next number."


@_rule("header-sentence")
def _header_sentence(file: File) -> Found:
    """Line 1 is a sentence that says what the file is for."""
    if not _SENTENCE.match(file.lines[0]) or _DIRECTIVE.match(file.lines[0]):
        yield 1, "Line 1 is not a comment of one sentence, `-- What this file is for.`, with a capital and a full stop."


@_rule("directive")
def _directive(file: File) -> Found:
    """Directives are spelt as the engine reads them, and say something."""
    for number, text in file.header:
        match = _DIRECTIVE.match(text)
        if not match:
            continue
        name, value = match[1], match[2] or ""
        if name == "transactional" and value not in ("true", "false"):
            yield number, f"`transactional` is true or false, not '{value}'."
        elif name in DIRECTIVES and not value:
            yield number, f"`-- {name}:` says nothing after the colon."
        elif name not in DIRECTIVES and (near := difflib.get_close_matches(name, DIRECTIVES, 1, _ACCENT)):
            yield number, f"`-- {name}:` is not a directive. Is it `-- {near[0]}:`?"
    body = range(len(file.header) + 1, len(file.lines) + 1)
    for number in body:
        match = _DIRECTIVE.match(file.lines[number - 1])
        if match and match[1] in DIRECTIVES:
            yield number, f"`-- {match[1]}:` stands after the first statement, where it is not read. Move it up."


@_rule("depends")
def _depends(file: File) -> Found:
    """Every file but the first says what it builds on, by names that exist and come before it."""
    if file.is_rollback:
        return
    names = file.script.directives.get("depends", "").split()
    first = min(file.series.stems, default=file.stem)
    if not names and file.stem != first:
        yield 1, "The header has no `-- depends: NNNN_name`. Name the files whose objects this one uses."
    for name in names:
        line = file.line_of("depends")
        if name not in file.series.stems:
            near = difflib.get_close_matches(name.rstrip(","), file.series.stems, 1)
            yield line, f"It depends on {name}, which is not there." + (f" Is it {near[0]}?" if near else "")
        elif name >= file.stem:
            yield line, f"It depends on {name}, which does not come before it."


@_rule("rollback")
def _rollback(file: File) -> Found:
    """Every change has its way back beside it, or says why there is none; and only one of the two."""
    irreversible = "irreversible" in file.script.directives
    if file.is_rollback:
        if not file.path.with_name(f"{file.stem}.sql").is_file():
            yield 1, f"There is no {file.stem}.sql that this file would undo."
        return
    beside = file.path.with_name(f"{file.stem}{ROLLBACK}").is_file()
    if not beside and not irreversible:
        yield 1, f"There is no {file.stem}{ROLLBACK} beside it. Write it, or say `-- irreversible: why`."
    if beside and irreversible:
        yield file.line_of("irreversible"), f"It says that it is irreversible, and {file.stem}{ROLLBACK} is there."


@_rule("loses")
def _loses(file: File) -> Found:
    """A way back that throws data away says which, so that `rollback` can ask."""
    if not file.is_rollback or "loses" in file.script.directives:
        return
    for statement in file.statements:
        if what := _throws_away(statement.tree):
            yield statement.line, f"{what} loses data, and the header does not say which. Add `-- loses: what`."
            return


@_rule("syntax")
def _syntax(file: File) -> Found:
    """PostgreSQL's own parser reads the file, and finds a statement in it."""
    if file.fault is None:
        if not file.statements:
            yield 1, "There is no statement in it."
        return
    if not _is_psql(file):
        yield file.script.text.count("\n", 0, file.fault.offset) + 1, f"PostgreSQL's parser says: {file.fault}."


# --- what a statement may be ------------------------------------------------------------------------------------


@_rule("psql-only")
def _psql_only(file: File) -> Found:
    """No meta-commands of psql and no COPY FROM STDIN: no psql reads the file."""
    if line := _is_psql(file):
        yield line, "A psql meta-command or the data of COPY FROM STDIN: no psql reads this file. Write plain SQL."
    for statement in file.statements:
        body = statement.tree.get("CopyStmt", {})
        if body and not body.get("filename"):
            yield statement.line, "COPY through STDIN or STDOUT needs psql. Use INSERT … VALUES."


@_rule("transaction-control")
def _transaction_control(file: File) -> Found:
    """The engine opens and closes the transaction."""
    for statement in file.statements:
        kind = statement.tree.get("TransactionStmt", {}).get("kind", "")
        if kind in _TRANSACTION_CONTROL:
            yield (
                statement.line,
                f"{_TRANSACTION_CONTROL[kind]} would end or nest the transaction that the engine runs the file in. "
                "Take it out.",
            )


@_rule("non-transactional")
def _non_transactional(file: File) -> Found:
    """Outside a transaction a file is one statement that can be run again; inside one there is none that cannot be."""
    if file.script.transactional:
        for statement in file.statements:
            if outside := _outside_transaction(statement.tree):
                yield (
                    statement.line,
                    f"{outside} cannot run in a transaction. Give it a file of its own with `-- transactional: false`.",
                )
        return
    if len(file.statements) > 1:
        yield (
            file.statements[1].line,
            "A file with `-- transactional: false` holds one statement: what stands before a failure would stay. "
            "Move the others to their own files.",
        )
    for statement in file.statements[:1]:
        if not _outside_transaction(statement.tree) and statement.kind != "VacuumStmt":
            yield (
                statement.line,
                "Only CREATE, DROP or REINDEX INDEX CONCURRENTLY, DETACH PARTITION CONCURRENTLY, VACUUM and ANALYZE "
                "can be run again after a crash; this one belongs in a transaction. Take the directive out.",
            )


@_rule("bare-select")
def _bare_select(file: File) -> Found:
    """A SELECT at the top prints rows that nobody reads."""
    for statement in file.statements:
        body = statement.tree.get("SelectStmt")
        if body is not None and "intoClause" not in body:
            yield statement.line, "A bare SELECT returns rows to nobody. Use DO $$ BEGIN PERFORM …; END $$."


@_rule("if-exists")
def _if_exists(file: File) -> Found:
    """A surprise fails: no IF [NOT] EXISTS, but in seeds and where a file must be able to run twice."""
    if file.folder == "seeds" or not file.script.transactional:
        return
    for statement in file.statements:
        for _, node in nodes(statement.tree):
            word = "IF NOT EXISTS" if node.get("if_not_exists") or node.get("skipIfNewValExists") else ""
            word = word or ("IF EXISTS" if node.get("missing_ok") else "")
            if word:
                yield statement.line, f"{word} hides a database that is not as the series left it. Take it out."
                break


# --- what is made -----------------------------------------------------------------------------------------------


@_rule("constraint-name")
def _constraint_name(file: File) -> Found:
    """Every constraint has a name that says its table or its subject."""
    for statement in file.statements:
        table = _table_of(statement.tree)
        for tag, node in nodes(statement.tree):
            kind = _CONSTRAINTS.get(node.get("contype", "")) if tag == "Constraint" else None
            if kind is None:
                continue
            name = node.get("conname", "")
            line = file.line_at(node, statement)
            if not name:
                yield line, f"The {kind} constraint has no name. Write CONSTRAINT … {kind}."
            elif table and name not in _GIVEN_NAMES and (wanted := _constraint_form(kind, name, table)):
                yield line, f"The {kind} constraint is named {name}; the family is {wanted}."


@_rule("object-name")
def _object_name(file: File) -> Found:
    """Indexes are named idx_<table>_…, policies <table>_<rule>."""
    for statement in file.statements:
        node = statement.tree.get("IndexStmt") or statement.tree.get("CreatePolicyStmt")
        if node is None:
            continue
        table = node.get("relation", node.get("table", {})).get("relname", "")
        name = node.get("idxname", node.get("policy_name", ""))
        prefix = "idx_" if "IndexStmt" in statement.tree else ""
        tables = (table, *_SHORT_TABLE_NAMES.get(table, ()))
        if name not in _GIVEN_NAMES and not any(name.startswith(f"{prefix}{each}_") for each in tables):
            what = f"The index {name or '(unnamed)'}" if prefix else f"The policy {name}"
            yield statement.line, f"{what} on {table} is not named {prefix}{table}_….".replace("….", "…")


@_rule("definer-search-path")
def _definer_search_path(file: File) -> Found:
    """SECURITY DEFINER pins its search path, or has a body whose names are resolved when it is created."""
    for statement in file.statements:
        made, changed = statement.tree.get("CreateFunctionStmt"), statement.tree.get("AlterFunctionStmt")
        node = made or changed or {}
        options = [each["DefElem"] for each in node.get("options", node.get("actions", []))]
        definer = any(each["defname"] == "security" and each["arg"]["Boolean"].get("boolval") for each in options)
        if definer and "sql_body" not in node and _search_path(options) != ["pg_catalog", "pg_temp"]:
            name = _dotted(node["funcname"] if made else node["func"]["objname"])
            yield (
                statement.line,
                f"{name} is SECURITY DEFINER and a caller's search path decides what its names mean. Add SET "
                "search_path = pg_catalog, pg_temp, or write the body as BEGIN ATOMIC.",
            )


@_rule("row-security")
def _row_security(file: File) -> Found:
    """A table is closed where it is created: RLS enabled and, but on a partition, forced."""
    if file.is_rollback or "no-rls" in file.script.directives:
        return
    switched = {
        (_dotted_relation(statement.tree["AlterTableStmt"]["relation"]), command["AlterTableCmd"].get("subtype"))
        for statement in file.statements
        if "AlterTableStmt" in statement.tree
        for command in statement.tree["AlterTableStmt"].get("cmds", [])
    }
    for statement, table, partition in _tables_created(file):
        wanted = {"AT_EnableRowSecurity": "ENABLE"} | ({} if partition else {"AT_ForceRowSecurity": "FORCE"})
        for subtype, word in wanted.items():
            if (table, subtype) not in switched:
                yield (
                    statement.line,
                    f"{table} is created without ALTER TABLE {table} {word} ROW LEVEL SECURITY in this file. Add it, "
                    "or say `-- no-rls: why`.",
                )


@_rule("comment")
def _comment(file: File) -> Found:
    """A table says what it is where it is created."""
    if file.is_rollback:
        return
    described = {
        _dotted(statement.tree["CommentStmt"]["object"]["List"]["items"])
        for statement in file.statements
        if statement.tree.get("CommentStmt", {}).get("objtype") == "OBJECT_TABLE"
        and statement.tree["CommentStmt"].get("comment")
    }
    for statement, table, partition in _tables_created(file):
        if not partition and table not in described:
            yield statement.line, f"{table} is created without a COMMENT ON TABLE {table} in this file."


@_rule("schema")
def _schema(file: File) -> Found:
    """What is made or changed says its schema: no search path decides where it goes."""
    for statement in file.statements:
        node = next(iter(statement.tree.values()))
        relation = node.get("view" if statement.kind == "ViewStmt" else "relation", {})
        if "relname" in relation and "schemaname" not in relation and relation.get("relpersistence") != "t":
            yield statement.line, f"{relation['relname']} has no schema. Write public.{relation['relname']}."
        elif statement.kind == "CreateFunctionStmt" and len(node["funcname"]) == 1:
            name = _dotted(node["funcname"])
            yield statement.line, f"The function {name} has no schema. Write public.{name}."


@_rule("allow")
def _allow(file: File) -> Found:
    """An exception names a rule that exists and gives its reason."""
    for number, text in enumerate(file.lines, 1):
        if re.match(r"^--\s*lint:", text):
            match = _ALLOW.match(text)
            if not match:
                yield number, "An exception is written `-- lint: allow RULE: why`."
            elif match[1] not in RULES:
                yield number, f"There is no rule {match[1]}. The rules are in docs/lint.md."


# --- reading the parse tree -------------------------------------------------------------------------------------


def _dotted(names: Sequence[Tree]) -> str:
    return ".".join(strings(list(names)))


def _dotted_relation(relation: Tree) -> str:
    return ".".join(relation[key] for key in ("schemaname", "relname") if key in relation)


def _table_of(tree: Tree) -> str:
    node = next(iter(tree.values()))
    name: str = node.get("relation", {}).get("relname", "") if isinstance(node.get("relation"), dict) else ""
    return name


def _tables_created(file: File) -> Iterator[tuple[Statement, str, bool]]:
    """Yield the lasting tables a file makes, and whether each is a partition."""
    for statement in file.statements:
        node = statement.tree.get("CreateStmt")
        if node is not None and node["relation"].get("relpersistence") != "t":
            yield statement, _dotted_relation(node["relation"]), "partbound" in node
        made = statement.tree.get("CreateTableAsStmt")
        if made is not None and made.get("objtype") == "OBJECT_TABLE":
            relation = made["into"]["rel"]
            if relation.get("relpersistence") != "t":
                yield statement, _dotted_relation(relation), False


def _constraint_form(kind: str, name: str, table: str) -> str:
    """Return the pattern that a constraint's name misses, or ''."""
    forms = {
        "PRIMARY KEY": (rf"{table}_pkey", f"{table}_pkey"),
        "FOREIGN KEY": (rf"{table}_\w+_fkey", f"{table}_<columns>_fkey"),
        "UNIQUE": (rf"unique_\w+|{table}_\w+_key", f"unique_<thing> or {table}_<columns>_key"),
        "CHECK": (rf"valid_\w+|{table}_\w+", f"valid_<thing> or {table}_<rule>"),
        "EXCLUDE": (rf"{table}_\w+", f"{table}_<rule>"),
    }
    pattern, shown = forms[kind]
    return "" if re.fullmatch(pattern, name) else shown


def _search_path(options: list[Tree]) -> list[str]:
    for each in options:
        setting = each.get("arg", {}).get("VariableSetStmt", {}) if each["defname"] == "set" else {}
        if setting.get("name") == "search_path":
            return [arg["A_Const"].get("sval", {}).get("sval", "") for arg in setting.get("args", [])]
    return []


def _outside_transaction(tree: Tree) -> str:
    """Name a statement that PostgreSQL refuses inside a transaction, or return ''."""
    kind, node = next(iter(tree.items()))
    if kind == "IndexStmt" and node.get("concurrent"):
        return "CREATE INDEX CONCURRENTLY"
    if kind == "DropStmt" and node.get("concurrent"):
        return "DROP INDEX CONCURRENTLY"
    if kind == "ReindexStmt" and any(each["DefElem"]["defname"] == "concurrently" for each in node.get("params", [])):
        return "REINDEX CONCURRENTLY"
    if kind == "VacuumStmt" and node.get("is_vacuumcmd"):
        return "VACUUM"
    if kind == "AlterTableStmt":
        for command in node.get("cmds", []):
            if command["AlterTableCmd"].get("def", {}).get("PartitionCmd", {}).get("concurrent"):
                return "DETACH PARTITION CONCURRENTLY"
    return ""


def _throws_away(tree: Tree) -> str:
    """Name a statement that loses rows or columns, or return ''."""
    kind, node = next(iter(tree.items()))
    if kind == "DropStmt" and node["removeType"] in ("OBJECT_TABLE", "OBJECT_SCHEMA"):
        return f"DROP {node['removeType'].removeprefix('OBJECT_')}"
    if kind == "TruncateStmt":
        return "TRUNCATE"
    if kind == "DeleteStmt":
        return "DELETE"
    if kind == "AlterTableStmt" and any(
        each["AlterTableCmd"].get("subtype") == "AT_DropColumn" for each in node.get("cmds", [])
    ):
        return "DROP COLUMN"
    return ""


def _is_psql(file: File) -> int:
    """Return the line of a psql meta-command or of COPY's data, which no parser of SQL can read, or 0."""
    if file.fault is None:
        return 0
    before, rest = file.script.text[: file.fault.offset], file.script.text[file.fault.offset :]
    if rest.startswith("\\"):
        return before.count("\n") + 1
    copy = re.search(r"^[ ]*COPY\b[^;]*\bFROM\s+STDIN\b[^;]*;", before, re.IGNORECASE | re.MULTILINE)
    return before.count("\n", 0, copy.start()) + 1 if copy else 0
