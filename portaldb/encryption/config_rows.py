"""The rows that hold encrypted values: as whom they are read, one after the other, and what is wrong with one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from portaldb import database as db
from portaldb.database import Connection, query
from portaldb.encryption import legacy
from portaldb.encryption.envelope import DecryptError, Header, config_context, inspect
from portaldb.encryption.keyring import Key, Keyring, State
from portaldb.errors import RefusedError, RightsError

TABLE = "public.user_server_configs"


class Fault(StrEnum):
    """Why a value is not opened, or not re-encrypted."""

    NOT_AN_ENVELOPE = "not an envelope"
    OLD_FORMAT = "the old format"
    UNKNOWN_KEY = "unknown key"
    RETIRED_KEY = "retired key"
    ANOTHER_ROW = "bound to another row"
    UNREADABLE = "cannot be decrypted"
    REFUSED = "refused by the database"
    LOCKED = "locked by another session all the time"
    RENEWED = "written under another key meanwhile"
    SHARED = "bound to nothing, and in another row too"


@dataclass(frozen=True)
class Row:
    """A row with a value in it."""

    id: UUID
    user_id: UUID
    server_id: UUID
    encrypted_config: str

    @cached_property
    def context(self) -> str:
        """What a value of this row is bound to, if it is bound."""
        return config_context(self.user_id, self.server_id)


@dataclass(frozen=True)
class Finding:
    """One row and what is wrong with it. Nothing of its text is in here."""

    id: UUID
    reason: str

    def as_dict(self) -> dict[str, str]:
        """Return it for machines."""
        return {"id": str(self.id), "reason": self.reason}


def keys_by_kid(keyring: Keyring) -> Mapping[str, Key]:
    """Return every key by its kid, retired ones too."""
    return {key.kid: key for key in keyring.keys}


def header_of(row: Row) -> Header | None:
    """Return what a value claims to be; None for what is no envelope."""
    try:
        return inspect(row.encrypted_config)
    except DecryptError:
        return None


def judge(row: Row, header: Header | None, keys: Mapping[str, Key]) -> Fault | None:
    """Say what is wrong with a value of this header, without opening it; None for nothing."""
    if header is None:
        return Fault.OLD_FORMAT if legacy.looks_old(row.encrypted_config) else Fault.NOT_AN_ENVELOPE
    key = keys.get(header.kid)
    if key is None:
        return Fault.UNKNOWN_KEY
    if key.state is State.RETIRED:
        return Fault.RETIRED_KEY
    if key.enc is not header.enc:
        return Fault.UNREADABLE
    if header.context is not None and header.context != row.context:
        return Fault.ANOTHER_ROW
    return None


def actor(connection: Connection, *, writes: bool = False) -> str:
    """Choose as whom every row is seen: portal_maintenance, the owner, or the login itself.

    Row-Level Security hides rows without a word, and what is hidden would be neither counted nor re-encrypted. So
    raises RightsError, naming what each lacks, where none is sure to see every row and, with `writes`, to change it.
    """
    with db.translated("looking at the login's rights"):
        found = connection.execute(query("keys", "actors")).fetchall()
    if not found:
        raise RefusedError(
            f"The database {connection.info.dbname} has no table {TABLE}: it is not a portal's, or not migrated yet."
        )
    lacks = {row["name"]: _lacks(row, writes=writes) for row in found}
    for name, lack in lacks.items():
        if not lack:
            return str(name)
    login = found[0]["login"]
    told = "; ".join(f"as {name} it {lack}" for name, lack in lacks.items())
    raise RightsError(
        f"The login {login} may not {'re-encrypt' if writes else 'look at'} every row of {TABLE}: {told}. Connect as "
        f"a member of portal_maintenance (GRANT portal_maintenance TO {login};) or of the table's owner; a "
        "superuser can as well."
    )


def _lacks(row: Mapping[str, Any], *, writes: bool) -> str:
    if not row["may_become"]:
        return "is not a member"
    if not row["may_select"]:
        return "may not read the columns id, user_id, server_id and encrypted_config"
    if writes and not row["may_update"]:
        return "may not update encrypted_config"
    if not row["writes_all" if writes else "sees_all"]:
        return "is kept from some rows by Row-Level Security"
    return ""


def every(connection: Connection) -> Iterator[Row]:
    """Read every value, as they are at one moment; inside `database.reading`."""
    with connection.cursor("portaldb_keys") as cursor:
        cursor.itersize = 200
        for found in cursor.execute(query("keys", "every")):
            yield Row(**found)


def count(connection: Connection) -> int:
    """Count the values."""
    row = connection.execute(query("keys", "count_every")).fetchone()
    return int(row["rows"]) if row else 0
