"""Measure what services call: each function beside the bare statement, direct and through PgBouncer."""

import hashlib
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import click
import psycopg
from psycopg import conninfo

from bench import page
from bench.database import migrated
from bench.measure import pgbench, pgbench_times, rates_by_turns
from bench.pooler import pooling
from portaldb.cluster import Cluster
from portaldb.errors import PortalError
from portaldb.queries import split

DATABASE = "bench_api"
CLIENTS = 4
SERVERS = [str(uuid.UUID(hashlib.md5(f"server {n}".encode(), usedforsecurity=False).hexdigest())) for n in range(1, 51)]
"""What bulk_enable is given."""
BARE, OURS = "bench_bare", "portal_app"
DIRECT, POOLED = "direct, prepared", "PgBouncer, planned each time"

ANYBODY = "random(1, :users)"
NEXT = ":users - :bulk + 1 + mod(:client_id * :each + :i, :bulk)"
"""Of the last users the next, and no other client's: once each."""

RATES = (
    "| what a service does | how | beside | theirs | ours | throughput of theirs | of single turns | aim | met |\n"
    "|---|---|---|---:|---:|---:|---:|---|---|"
)
TIMES = "| what a service reads | how | median | 99 in 100 under | aim | met |\n|---|---|---:|---:|---|---|"
FEED = (
    "| an UPDATE that the feed tells of | without the feed | with it | throughput of without | of single turns "
    "| somebody listens | throughput of without | of single turns |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Case:
    """A function, the bare statement beside it, and the shape of the script that both stand in."""

    what: str
    shape: str
    how: str
    beside: str
    theirs: str
    ours: str
    aim: float = 0.8
    who: str = ANYBODY
    options: str = ""
    role: str = BARE
    """Theirs."""
    pages: tuple[float, float] = (0, 1)


@dataclass(frozen=True)
class Reading:
    """A statement of which one client takes the time."""

    what: str
    shape: str
    how: str
    query: str
    who: str
    aim: float
    """Milliseconds that the median stays under."""
    pages: tuple[float, float] = (0, 1)
    """Where in the trail it begins: from 0, the oldest, to 1."""


SESSION = ("the indexed SELECT", "bare_session", "authenticate")
IN_CONTEXT = ("the indexed SELECT and `set_app_context()`", "bare_session_and_context", "authenticate", 1.0)
ENTRY = ("the INSERT", "bare_entry", "create_audit_log")
BULK = ("50 UPDATEs", "single_updates", "bulk_enable", 1.0, NEXT)

CASES = (
    Case("`authenticate`", "statement", DIRECT, *SESSION),
    Case("`authenticate`, in a transaction", "request", DIRECT, *SESSION),
    Case("`authenticate`, in a transaction", "request", DIRECT, *IN_CONTEXT),
    Case("`authenticate`", "statement", POOLED, *SESSION),
    Case("`authenticate`, in a transaction", "request", POOLED, *SESSION),
    Case("`authenticate`, in a transaction", "request", POOLED, *IN_CONTEXT),
    Case("`create_audit_log`", "alone", DIRECT, *ENTRY),
    Case("`create_audit_log`, no wait for the disk", "alone", DIRECT, *ENTRY, options="-c synchronous_commit=off"),
    Case("`create_audit_log`, in a transaction", "in_transaction", DIRECT, *ENTRY),
    Case("`create_audit_log`, in a transaction", "in_transaction", POOLED, *ENTRY),
    Case("`bulk_enable` of 50", "in_transaction", DIRECT, *BULK),
    Case("`bulk_enable` of 50", "in_transaction", DIRECT, "50 UPDATEs by portal_app", *BULK[1:], role=OURS),
    Case("`bulk_enable` of 50", "in_transaction", POOLED, *BULK),
)

CHANGE = Case("an UPDATE", "statement", DIRECT, "itself", "change", "change")
FEEDS = ((False, False), (True, False), (True, True))
"""Whether the feed's triggers are there, and whether somebody listens."""

READINGS = (
    Reading("`user_dashboard` of one user", "alone", DIRECT, "dashboard", ANYBODY, 1),
    Reading("`user_dashboard` of one user, in a transaction", "in_transaction", POOLED, "dashboard", ANYBODY, 1),
    Reading("a page of the trail, everyone's, in a transaction", "in_transaction", POOLED, "page_of_all", "1", 5),
)
PAGES = [
    Reading(f"a page of the trail, {what}", "alone", DIRECT, query, who, 5, pages)
    for what, query, who, pages in (
        ("everyone's, the newest", "page_of_all", "1", (1, 1)),
        ("everyone's, anywhere", "page_of_all", "1", (0, 1)),
        ("everyone's, the oldest", "page_of_all", "1", (0, 0.0001)),
        ("one's own of one in a hundred, anywhere", "page_of_own", "2", (0, 1)),
        ("one's own of one in a hundred, the oldest", "page_of_own", "2", (0, 0.001)),
        ("one's own of about ten", "page_of_own", ANYBODY, (1, 1)),
        ("a user's of one in a hundred, anywhere", "page_of_user", "1", (0, 1)),
        ("an action's, anywhere", "page_of_action", "1", (0, 1)),
        ("a rare action's, anywhere", "page_of_rare_action", "1", (0, 1)),
        ("a server's, anywhere", "page_of_server", "1", (0, 1)),
    )
]


@click.command()
@click.option("--users", default=1_000_000, show_default=True, help="Users, with a session and two servers each.")
@click.option("--bulk", default=800, show_default=True, help="Users of them with fifty configurations.")
@click.option("--trail", default=10_000_000, show_default=True, help="Rows of the audit trail.")
@click.option("--months", default=12, show_default=True, help="Its monthly partitions.")
@click.option("--runs", default=5, show_default=True, help="Turns of each side.")
@click.option("--seconds", default=3, show_default=True, help="How long a turn takes.")
@click.option("--calls", default=0, help="Transactions of each client in a turn, in place of seconds.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(
    users: int, bulk: int, trail: int, months: int, runs: int, seconds: int, calls: int, write: Path | None
) -> None:
    """Measure the API's functions beside bare statements, what it takes to read, and what the change feed costs.

    Both sides of a line run by turns, with pgbench, on the same tables of one server that this makes. Leave the
    machine alone meanwhile; it takes about half an hour, and 20 GB of disk.

    \b
    Example:  python -m bench.api --write docs/benchmark-api.md
    """
    ends = ("-t", str(calls)) if calls else ("-T", str(seconds))
    names = {role: f"dbname={DATABASE} connect_query='SET ROLE {role}'" for role in (BARE, OURS)}
    cluster = Cluster.create_throwaway(durable=True)
    url = cluster.url(DATABASE)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            pooling(url, "pool_mode = transaction", databases=names) as pooled,
        ):
            span = _fill(url, users, bulk, trail, months)
            described = page.machine(cluster, ("alembic", "sqitch", "psql"))
            bench = Bench(cluster, pooled, Path(folder) / "script.sql", users, bulk, trail, span, runs, ends)
            lines = [
                *(RATES, *_told(bench.rates()), ""),
                *(TIMES, *_told(bench.times()), ""),
                *(bench.offset(), ""),
                *(FEED, *_told(bench.feed())),
            ]
    except PortalError as error:
        raise click.ClickException(str(error)) from None
    finally:
        cluster.destroy()
    told = (
        f"{users:,} users and sessions, {trail:,} rows of the trail in {months} months, {runs} turns of "
        f"{f'{calls} transactions a client' if calls else f'{seconds} s'}; "
        f"{CLIENTS} clients, where no other number is told, and one where times are taken."
    )
    text = "\n".join([*lines, "", told, "", described])
    click.echo(text)
    if write:
        page.write(write, text)


def _told(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        click.echo(line, err=True)
        yield line


def _query(name: str) -> str:
    return split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))[name]


def _fill(url: str, users: int, bulk: int, trail: int, months: int) -> tuple[float, float]:
    """Fill a database; return when its trail begins, and now."""
    migrated(url)
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute(_query("users").encode(), {"users": users, "bulk": bulk})
        found = connection.execute(_query("months").encode(), {"months": months}).fetchall()
        for name, since, until in found:
            given = {"users": users, "rows": trail // months, "from": since, "to": until}
            connection.execute(_query("trail").format(table=name).encode(), given)
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        return min(since for _, since, _ in found).timestamp(), time.time()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _share(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str, str]:
    """Return how many times their median ours is; that as a cell, and the spread of single turns."""
    share = statistics.median(ours) / statistics.median(theirs)
    shares = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return share, f"**{share:.2f}**", f"{min(shares):.2f} to {max(shares):.2f}"


def _rate(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f}/s"


class Way(TypedDict, total=False):
    """The arguments of `pgbench` that say where it connects to."""

    options: str
    through: str


@dataclass(frozen=True)
class Bench:
    """What is measured: a server, the way to it through PgBouncer, the sizes of what is in it."""

    cluster: Cluster
    pooled: str
    script: Path
    users: int
    bulk: int
    trail: int
    span: tuple[float, float]
    """When the trail begins, and now; seconds since 1970."""
    runs: int
    ends: tuple[str, str]
    """The option of pgbench that ends a turn."""

    def rates(self) -> Iterator[str]:
        """Compare each function's throughput with the bare statement's."""
        for case in CASES:
            sides = [partial(self.rate, case, case.theirs, case.role), partial(self.rate, case, case.ours, OURS)]
            theirs, ours = rates_by_turns(sides, self.runs)
            share, cell, spread = _share(ours, theirs)
            met = "yes" if share >= case.aim else "no"
            cells = (_rate(theirs), _rate(ours), cell, spread, f"{case.aim:g}", met)
            yield _row(case.what, case.how, case.beside, *cells)

    def rate(self, case: Case, name: str, role: str) -> float:
        """Return the transactions a second of one side."""
        ends = self.ends
        if case.who == NEXT:
            # What is on already is no more to be measured: each client takes its own users, once.
            ends = ("-t", str(self.bulk // CLIENTS))
            self.reset()
        argv = (*self.script_of(case, name), "-c", str(CLIENTS), "-j", "2", *ends)
        return pgbench(self.cluster, DATABASE, self.script, *argv, **self.way(case.how, role, case.options))

    def times(self) -> Iterator[str]:
        """Take the times of what one client reads."""
        for reading in (*READINGS, *PAGES):
            turns = []
            for _ in range(self.runs + 1):
                argv = (*self.script_of(reading, reading.query), "-c", "1", *self.ends)
                times = sorted(pgbench_times(self.cluster, DATABASE, self.script, *argv, **self.way(reading.how, OURS)))
                turns.append((times[len(times) // 2], times[len(times) * 99 // 100]))
            median, last = (statistics.median(side) for side in zip(*turns[1:], strict=True))
            cells = (f"**{median:.2f} ms**", f"{last:.2f} ms", f"under {reading.aim:g} ms")
            yield _row(reading.what, reading.how, *cells, "yes" if median < reading.aim else "no")

    def offset(self) -> str:
        """Take the time of the page in the middle, where it is asked for by its number."""
        with psycopg.connect(self.cluster.url(DATABASE), cursor_factory=psycopg.ClientCursor) as connection:
            for _ in range(2):  # the first fills the caches
                began = time.perf_counter()
                connection.execute(_query("offset").encode(), {"offset": self.trail // 2}).fetchall()
                took = time.perf_counter() - began
        return f"The page in the middle by `OFFSET {self.trail // 2:,}`, as the superuser: {took * 1000:,.0f} ms."

    def feed(self) -> Iterator[str]:
        """Compare an UPDATE without the feed's triggers, with them, and with somebody who listens."""
        for clients in (1, 16):
            sides = [partial(self.change, clients, feed=feed, heard=heard) for feed, heard in FEEDS]
            without, feed, heard = rates_by_turns(sides, self.runs)
            told = (_rate(feed), *_share(feed, without)[1:], _rate(heard), *_share(heard, without)[1:])
            yield _row(f"{clients} client{'s' if clients > 1 else ''}", _rate(without), *told)

    def change(self, clients: int, *, feed: bool, heard: bool) -> float:
        """Return the transactions a second of clients that change rows."""
        with psycopg.connect(self.cluster.url(DATABASE)) as connection:
            connection.execute(_query("feed").replace("{does}", "ENABLE" if feed else "DISABLE").encode())
        argv = (*self.script_of(CHANGE, CHANGE.ours), "-c", str(clients), "-j", "2", *self.ends)
        with _listening(self.cluster.url(DATABASE)) if heard else nullcontext():
            return pgbench(self.cluster, DATABASE, self.script, *argv, **self.way(DIRECT, BARE))

    def reset(self) -> None:
        """Switch everything off that bulk_enable is to switch on."""
        with psycopg.connect(
            self.cluster.url(DATABASE), autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as connection:
            for statement in _query("reset").split(";\n"):
                connection.execute(statement.encode(), {"users": self.users, "bulk": self.bulk})

    def script_of(self, what: Case | Reading, name: str) -> tuple[str, ...]:
        """Write the script; return the options of pgbench that go with it."""
        query = _query(name)
        if name == "single_updates":
            query = "\n".join(query.replace("{server}", server) for server in SERVERS)
        query = query.replace("{servers}", f"{{{','.join(SERVERS)}}}").replace("{server}", SERVERS[0])
        self.script.write_text(_query(what.shape).format(who=what.who, query=query) + "\n", encoding="utf-8")
        first, last = self.span
        since, until = (int(first + (last - first) * place) for place in what.pages)
        given = {"users": self.users, "bulk": self.bulk, "each": self.bulk // CLIENTS, "i": 0}
        given |= {"oldest": since, "newest": until}
        variables = (word for name, value in given.items() for word in ("-D", f"{name}={value}"))
        return "-M", "prepared" if what.how == DIRECT else "extended", *variables

    def way(self, how: str, role: str, options: str = "") -> Way:
        """Return how pgbench gets to the database as a role."""
        if how == DIRECT:
            return {"options": f"-c role={role} {options}"}
        return {"through": conninfo.make_conninfo(self.pooled, dbname=role)}


@contextmanager
def _listening(url: str) -> Iterator[None]:
    """Hear what the feed tells, during the block."""
    done = threading.Event()

    def hear(connection: psycopg.Connection) -> None:
        while not done.is_set():
            for _ in connection.notifies(timeout=0.2):
                pass

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN portal_config")
        thread = threading.Thread(target=hear, args=[connection])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


if __name__ == "__main__":
    main()
