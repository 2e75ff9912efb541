"""What is known of PostgreSQL's own types, functions and kinds of object by their names."""

import re

from portaldb.tree import Tree, nodes, quoted, strings


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


RELATIONS = frozenset(f"OBJECT_{each}" for each in ("TABLE", "VIEW", "INDEX", "SEQUENCE", "MATVIEW", "FOREIGN_TABLE"))
PARTS = frozenset(f"OBJECT_{each}" for each in ("TRIGGER", "POLICY", "RULE", "TABCONSTRAINT"))
"""Objects that are named with the table they belong to."""

SERIAL = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})

BUILT_IN = _set(
    """
    bigint bit bool boolean box bpchar bytea char cidr circle citext date datemultirange daterange float4 float8
    hstore inet int int2 int4 int4multirange int4range int8 int8multirange int8range integer interval json jsonb
    jsonpath line lseg macaddr macaddr8 money name nummultirange numeric numrange oid path pg_lsn point polygon
    real regclass regproc regprocedure regrole regtype smallint text time timestamp timestamptz timetz
    tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector uuid varbit varchar xid xid8 xml
    """
)
"""Types that are no domain: PostgreSQL's own, and those of its usual extensions."""

COERCIBLE = _set(
    """
    bit bpchar cidr citext inet interval numeric oid regclass regtype text time timestamp timestamptz timetz
    varbit varchar
    """
)
"""Types that a column of some other type, or of another length, can become without a rewrite."""

_VOLATILE = _set(
    """
    clock_timestamp currval gen_random_bytes gen_random_uuid gen_salt lastval nextval random setval timeofday
    uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 uuidv4 uuidv7
    """
)
"""Functions that give another value for every row, whatever schema their extension lies in."""

_STEADY = _set(
    """
    abs age array_agg array_append array_length array_position array_remove array_to_string ascii avg bool_and
    bool_or btrim cardinality ceil ceiling char_length chr concat concat_ws convert_from convert_to count
    current_database current_schema current_setting current_user date_part date_trunc daterange decode digest
    encode exp extract floor format generate_series has_table_privilege hashtext hmac initcap int4range
    int8range isfinite json_agg json_build_array json_build_object jsonb_agg jsonb_array_elements
    jsonb_array_elements_text jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_object_agg
    jsonb_object_keys jsonb_set jsonb_strip_nulls jsonb_typeof lag lead left length ln log lower lpad ltrim
    make_date make_interval make_timestamp make_timestamptz max md5 min mod now num_nonnulls num_nulls numrange
    octet_length pg_backend_pid pg_get_constraintdef pg_get_functiondef pg_get_indexdef pg_get_viewdef
    pg_relation_size pg_table_size pg_total_relation_size pg_typeof position power quote_ident quote_literal
    quote_nullable rank regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table repeat replace
    reverse right round row_number row_to_json rpad rtrim session_user set_config sha224 sha256 sha384 sha512
    sign split_part sqrt starts_with statement_timestamp string_agg string_to_array strpos substr substring sum
    timezone to_char to_date to_json to_jsonb to_number to_regclass to_regprocedure to_timestamp
    transaction_timestamp translate trim trunc tsrange tstzrange txid_current unnest upper uuid_nil uuid_ns_dns
    uuid_ns_url width_bucket
    """
)
"""Functions of PostgreSQL's own that give one value for a statement, and lock no table."""


def volatility(expression: Tree) -> tuple[bool | None, str]:
    """Say whether an expression gives another value for every row (None: it cannot be told), and why."""
    unknown = ""
    for tag, node in nodes(expression):
        if tag != "FuncCall":
            continue
        name = strings(node["funcname"])
        if name[-1] in _VOLATILE:
            return True, f"{name[-1]}() gives another value for every row"
        if not _is_own(name) or name[-1] not in _STEADY:
            unknown = unknown or f"{quoted(name)}() is written into every row, where it is volatile"
    return (None, unknown) if unknown else (False, "")


def _is_own(name: list[str]) -> bool:
    """Say whether a function's name can be one of PostgreSQL's own."""
    return len(name) == 1 or name[0] == "pg_catalog"


def is_harmless(call: Tree) -> bool:
    """Say whether a function that a query calls is known to lock no table."""
    name = strings(call["funcname"])
    return name[0] == "pg_catalog" or name[-1] in _VOLATILE or (_is_own(name) and name[-1] in _STEADY)


def type_name(node: Tree) -> str:
    """Return a TypeName's name, without its length and the schema of PostgreSQL's own types."""
    names = strings(node.get("names", []))
    return quoted(names[1:] if names[:1] == ["pg_catalog"] else names)


def is_built_in(name: str) -> bool:
    """Say whether a type is known to be no domain."""
    return name.rpartition(".")[2] in BUILT_IN


def is_column(expression: Tree, column: str) -> bool:
    """Say whether an expression is the column itself, cast or not."""
    while "TypeCast" in expression:
        expression = expression["TypeCast"]["arg"]
    return strings(expression.get("ColumnRef", {})) == [column]


def options_on(options: list[Tree]) -> set[str]:
    """Return the names of the options that are on."""
    on = set()
    for each in options:
        argument = each["DefElem"].get("arg", {})
        said = [node.get("sval", node.get("boolval", True)) for _, node in nodes(argument)] or [True]
        if said[-1] not in (False, "false", "off"):
            on.add(each["DefElem"]["defname"])
    return on


def object_words(kind: str) -> str:
    """Set a kind of object as words: OBJECT_FOREIGN_TABLE is 'foreign table'."""
    words = {
        "OBJECT_DOMCONSTRAINT": "constraint",
        "OBJECT_LARGEOBJECT": "large object",
        "OBJECT_MATVIEW": "materialized view",
        "OBJECT_OPCLASS": "operator class",
        "OBJECT_OPFAMILY": "operator family",
        "OBJECT_STATISTIC_EXT": "statistics object",
        "OBJECT_TABCONSTRAINT": "constraint",
    }
    return words.get(kind, kind.removeprefix("OBJECT_").lower().replace("_", " "))


def spelt(name: str) -> str:
    """Set a node's name as words: CreateFooStmt is 'create foo'."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Stmt")).lower()
