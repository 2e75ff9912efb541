"""Code that runs, or is kept to run later: DO, CALL, functions, extensions."""

from collections.abc import Iterator

from portaldb.locks.dispatch import handles, read
from portaldb.locks.effect import NO_LOCK, Effect, takes, unknown
from portaldb.locks.queries import query
from portaldb.source import UnparsableError, split
from portaldb.tree import Tree, nodes, quoted, strings


@handles("CreateFunctionStmt")
def _create_function(node: Tree) -> Iterator[Effect]:
    yield takes("", NO_LOCK, "a function is made or replaced; no table waits")
    options = {each["DefElem"]["defname"]: each["DefElem"].get("arg", {}) for each in node.get("options", [])}
    body = node.get("sql_body")
    if body is None and strings(options.get("language", {})) == ["sql"]:
        text = strings(options.get("as", {}))
        try:
            body = [each.tree for each in split(text[0])] if text else None
        except UnparsableError:
            body = None  # the server will say so
    yield from query(body, calls=False)


@handles("DoStmt")
def _do(node: Tree) -> Iterator[Effect]:
    options = {each["DefElem"]["defname"]: strings(each["DefElem"]["arg"]) for each in node["args"]}
    if options.get("language", ["plpgsql"]) != ["plpgsql"]:
        yield unknown(f"DO runs code in {options['language'][0]}")
        return
    found = list(_plpgsql(options["as"][0]))
    yield from found or [takes("", NO_LOCK, "DO runs code that reads and writes no table")]


def _plpgsql(body: str) -> Iterator[Effect]:
    """Yield what the statements written in a PL/pgSQL block do; what is put together at run time is not known."""
    import pgparse

    mark = "$portaldb_do$"
    function = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS {mark}{body}{mark}"
    try:
        parsed = pgparse.parse_pgsql(function)
    except pgparse.PGQueryError as error:
        yield unknown(f"DO runs code that this parser cannot read: {error.message}")
        return
    dynamic = [node["query"] for tag, node in nodes(parsed) if tag in _DYNAMIC and "query" in node]
    for tag, node in nodes(parsed):
        if tag == "PLpgSQL_expr":
            wrapped = {tag: node}
            yield from _executed(node["query"]) if wrapped in dynamic else _static(node["query"])


_DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors")


def _static(text: str) -> Iterator[Effect]:
    """Yield what a statement or an expression of PL/pgSQL does."""
    for sql in (text, f"SELECT {text}", f"SELECT {text.partition(':=')[2] or text.partition('=')[2]}"):
        try:
            statements = split(sql)
        except UnparsableError:
            continue
        for each in statements:
            yield from (effect for effect in read(each.tree) if effect.lock)
        return
    yield unknown(f"DO runs what this parser cannot read: {text}")


def _executed(text: str) -> Iterator[Effect]:
    """Yield what EXECUTE does, where its text is a constant."""
    tree = split(f"SELECT {text}")[0].tree
    value = tree["SelectStmt"]["targetList"][0]["ResTarget"]["val"]
    constant = value.get("A_Const", {}).get("sval", {}).get("sval")
    if constant is None:
        yield unknown("DO runs EXECUTE of a text that is put together at run time")
        yield from (effect for effect in query(tree) if effect.lock)
        return
    try:
        statements = split(constant)
    except UnparsableError as error:
        yield unknown(f"DO runs EXECUTE of a text that this parser cannot read: {error}")
        return
    for each in statements:
        yield from read(each.tree)


@handles("CallStmt")
def _call(node: Tree) -> Iterator[Effect]:
    yield unknown(f"CALL runs {quoted(strings(node['funccall']['funcname']))}(), which may do anything")


@handles("ExecuteStmt")
def _execute(node: Tree) -> Iterator[Effect]:
    yield unknown(f"the prepared statement {node['name']} runs")


@handles("CreateExtensionStmt", "AlterExtensionStmt")
def _extension(node: Tree) -> Iterator[Effect]:
    yield unknown(f"the script of the extension {node['extname']} runs")
