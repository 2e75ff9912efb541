"""The first super_admin, whom nobody inside the database could make: the owner does, and the audit trail says so."""

from dataclasses import dataclass

from portaldb.database import Connection, query, translated
from portaldb.errors import RefusedError, UsageError


@dataclass(frozen=True)
class Promoted:
    """A user, and whether anything was changed."""

    id: str
    email: str
    changed: bool


def promote(connection: Connection, who: str) -> Promoted:
    """Make a user a super_admin, with its audit entry; `who` is an id, an Azure object id or an address.

    Raises UsageError where nobody is meant, RefusedError where several are, or one who is deactivated.
    """
    with translated("promoting a user"), connection.transaction():
        connection.execute(query("session", "become"), {"role": "mcp_admin"})
        found = connection.execute(query("users", "find"), {"who": who}).fetchall()
        if not found:
            raise UsageError(
                f"No user has the id, the Azure object id or the address {who!r}. Users are made when they first sign "
                "in: let them sign in once, then run this again."
            )
        if len(found) > 1:
            ids = ", ".join(str(row["id"]) for row in found)
            raise RefusedError(
                f"{len(found)} users have the address {who!r}, and nothing was changed. Run this again with the id of "
                f"the one who is meant: {ids}."
            )
        user = found[0]
        if not user["is_active"] or user["is_erased"]:
            raise RefusedError(
                f"The user {user['id']} is {'erased' if user['is_erased'] else 'deactivated'}, and nothing was "
                "changed. Promote somebody who is active; a super_admin reactivates whom they deactivated."
            )
        if user["role"] != "super_admin":
            connection.execute(query("users", "promote"), {"id": user["id"]})
            connection.execute(query("users", "audit"), {"id": user["id"], "before": user["role"]})
        return Promoted(str(user["id"]), user["email"], user["role"] != "super_admin")
