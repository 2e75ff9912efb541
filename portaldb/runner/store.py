"""What the runner reads and writes in the database; each call is one statement, and none is held open."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from portaldb import database as db
from portaldb.database import Connection, query
from portaldb.errors import RefusedError, UsageError
from portaldb.runner.reconcile import Row


@dataclass(frozen=True)
class Claim:
    """A configuration in hand, by the token that fences earlier holders off."""

    id: UUID
    token: int


class Store:
    """Two connections as portal_runner: one that listens, and one for all else, which may be used from any thread."""

    def __init__(self, url: str, owner: str, lease: float) -> None:
        """Connect. Raises what `database.connect` does, and RefusedError behind a transaction pooler."""
        self._owner, self._lease = owner, timedelta(seconds=lease)
        self._work: Connection = db.connect(url, name="portaldb runner")
        try:
            with db.translated("becoming portal_runner"):
                db.require_direct(self._work, url)
                self._work.execute(query("runner", "become"))
            self._ears: Connection = db.connect(url, name="portaldb runner: listening")
        except BaseException:
            self._work.close()
            raise
        self._ears.execute(query("runner", "listen"))

    def close(self) -> None:
        """Close both."""
        self._ears.close()
        self._work.close()

    def _ask(self, name: str, **values: object) -> list[dict[str, Any]]:
        cursor = self._work.execute(query("runner", name), values)
        return cursor.fetchall() if cursor.description else []

    def instance(self) -> str:
        """Return the name of this database among those on one engine."""
        return str(self._ask("instance")[0]["instance"])

    def heard(self, seconds: float) -> bool:
        """Wait for a notice that another session sent; False where none came in time."""
        own = self._work.info.backend_pid
        return any(notice.pid != own for notice in self._ears.notifies(timeout=seconds, stop_after=1))

    def rows(self, seen: Iterable[UUID] = (), only: UUID | None = None) -> list[Row]:
        """Return what wants a container or is said to have one, and the configurations given."""
        # Not by way of dictionaries: there may be many.
        with self._work.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(query("runner", "rows"), {"seen": list(seen), "only": only}).fetchall()

    def pending(self, ids: Iterable[UUID]) -> None:
        """Say of configurations that stood still that they wait for their turn."""
        self._ask("pending", ids=list(ids))

    def claim(self, config_id: UUID) -> Claim | None:
        """Take a configuration in hand; None where another runner has it, or it is gone."""
        token = self._ask("claim", id=config_id, owner=self._owner, lease=self._lease)[0]["token"]
        return Claim(config_id, token) if token else None

    def renew(self, claim: Claim) -> bool:
        """Hold it longer; False where another has taken it over."""
        return bool(self._ask("renew", id=claim.id, token=claim.token, owner=self._owner, lease=self._lease))

    def release(self, claim: Claim) -> None:
        """Let go of it."""
        self._ask("release", id=claim.id, token=claim.token, owner=self._owner)

    def release_all(self) -> None:
        """Let go of everything."""
        self._ask("release_all", owner=self._owner)

    def leased(self) -> set[UUID]:
        """Return what any runner has in hand."""
        return {row["config_id"] for row in self._ask("leased")}

    def secret(self, config_id: UUID) -> str | None:
        """Return the encrypted configuration."""
        found = self._ask("secret", id=config_id)
        return found[0]["encrypted_config"] if found else None

    def record(
        self,
        claim: Claim,
        state: str,
        *,
        container_id: str | None = None,
        reason: str | None = None,
        message: str | None = None,
        restart_count: int = 0,
        retry_after: float | None = None,
        wanted: str | None = None,
        seen: str | None = None,
        served: datetime | None = None,
    ) -> bool:
        """Write state, notes and audit entry; False, and nothing is written, where the claim is another's by now."""
        written = self._ask(
            "record",
            id=claim.id,
            token=claim.token,
            state=state,
            container_id=container_id,
            reason=reason,
            message=message,
            restart_count=restart_count,
            retry_after=None if retry_after is None else timedelta(seconds=retry_after),
            generation_wanted=wanted,
            generation_seen=seen,
            restart_served=served,
        )
        return bool(written[0]["held"])

    def audit_removed(self, config_id: UUID, container_id: str) -> None:
        """Write that a container is gone which no configuration wanted."""
        self._ask("audit_removed", id=config_id, container_id=container_id)


def container(connection: Connection, row: str) -> str:
    """Return the container of a row, by its id or the beginning of it. Raises UsageError and RefusedError."""
    with db.reading(connection, role="portal_runner"):
        found = connection.execute(query("runner", "find"), {"row": row}).fetchall()
    if len(found) != 1:
        which = "No configuration has" if not found else "More than one configuration has"
        raise UsageError(f"{which} an id that begins with '{row}'. ROW is the id of a row of user_server_configs.")
    if not found[0]["container_id"]:
        state = found[0]["state"] or "pending"
        raise RefusedError(f"{found[0]['id']} has no container: it is '{state}'. 'portaldb runner status' tells more.")
    return str(found[0]["container_id"])


def status(connection: Connection) -> dict[str, Any]:
    """Return how the runner's work stands."""
    with db.reading(connection, role="portal_runner"):
        found = {
            name: connection.execute(query("runner", name)).fetchall()
            for name in ("states", "waiting", "errors", "leases")
        }
    return found | {
        "states": {row["state"]: row["rows"] for row in found["states"]},
        "waiting": found["waiting"][0],
    }
