"""Measure what tenant isolation costs: our policies beside no RLS, the specification's policies, the usual advice."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg

from bench import page
from bench.database import migrated
from bench.measure import pgbench
from portaldb.cluster import Cluster
from portaldb.queries import split

CLIENTS = 4
MODES = {"prepared": "prepared", "transaction": "prepared, in a transaction", "extended": "planned each time"}
"""Planned once a connection; the same in a transaction that sets its context; planned anew, as some drivers do."""

PREPARED = ("prepared",)
PLANNED = ("prepared", "extended")

OURS, WHERE, SPEC, ADVICE, FUNCTION = "portal_app", "bench_where", "bench_spec", "bench_advice", "bench_function"
NAMES = {WHERE: "no RLS, WHERE", SPEC: "spec's policies", ADVICE: "usual advice", FUNCTION: "functions for our view"}

USER = "1000 * random(1, :thousands) + 2 + random(0, 90)"
"""An active standard user, of those before the first who is deactivated in a thousand."""
LEAD = "1000 * random(1, :thousands)"
"""A team_admin, narrowed to the twenty members of a team."""

HEAD = (
    "| what a user does | statements | beside | theirs | ours | throughput of theirs | of single pairs | aim | met |\n"
    "|---|---|---|---:|---:|---:|---:|---|---|"
)


@dataclass(frozen=True)
class Case:
    """A query, as it stands with our policies and as others need it."""

    what: str
    ours: str
    theirs: str
    beside: str = WHERE
    aim: float = 0.85
    """The least share of their throughput."""
    who: str = USER
    modes: tuple[str, ...] = PREPARED


LIST = "SELECT id, server_id, enabled, container_state, config_metadata FROM public.user_server_configs"
COUNT = "SELECT count(*) FROM public.user_server_configs"
POINT = "SELECT id, enabled, encrypted_config FROM public.user_server_configs WHERE server_id = :server"
TRAIL = "SELECT id, action, timestamp FROM public.audit_logs"
TRAIL_COUNT = "SELECT count(*) FROM public.audit_logs"
DASHBOARD = "SELECT * FROM public.user_dashboard"
MINE = "user_id = :me"
UPDATE = "UPDATE public.user_server_configs SET enabled = NOT enabled WHERE server_id = :server"
INSERT = (
    "INSERT INTO public.user_sessions (user_id, session_token, expires_at) "
    "VALUES (:me, gen_random_uuid()::text, CURRENT_TIMESTAMP)"
)
TEAM = (
    "user_id IN (SELECT l.user_id FROM public.team_members AS m INNER JOIN public.team_members AS l USING (team_id) "
    "WHERE m.user_id = :me AND m.role = 'admin')"
)

CASES = (
    Case("point read", f"{POINT} AND {MINE}", f"{POINT} AND {MINE}"),
    Case("point read, unfiltered", POINT, f"{POINT} AND {MINE}"),
    Case("list", f"{LIST} WHERE {MINE}", f"{LIST} WHERE {MINE}", modes=tuple(MODES)),
    Case("list, unfiltered", LIST, f"{LIST} WHERE {MINE}", modes=tuple(MODES)),
    Case("count, unfiltered", COUNT, f"{COUNT} WHERE {MINE}"),
    Case("update", f"{UPDATE} AND {MINE}", f"{UPDATE} AND {MINE}"),
    Case("update, unfiltered", UPDATE, f"{UPDATE} AND {MINE}"),
    Case("insert", INSERT, INSERT),
    Case("dashboard, unfiltered", DASHBOARD, f"{DASHBOARD} WHERE {MINE}"),
    Case("list of a narrowed team_admin, unfiltered", LIST, f"{LIST} WHERE {TEAM}", who=LEAD),
    Case("trail, list", f"{TRAIL} WHERE {MINE}", f"{TRAIL} WHERE {MINE}"),
    Case("trail, list, unfiltered", TRAIL, f"{TRAIL} WHERE {MINE}"),
    Case("trail, count, unfiltered", TRAIL_COUNT, f"{TRAIL_COUNT} WHERE {MINE}"),
    Case("count, unfiltered", COUNT, COUNT, beside=SPEC, aim=1000),
    Case("list", f"{LIST} WHERE {MINE}", f"{LIST} WHERE {MINE}", beside=SPEC, aim=0.85),
    Case("trail, count, unfiltered", TRAIL_COUNT, TRAIL_COUNT, beside=SPEC, aim=1000),
    Case("count, unfiltered", COUNT, COUNT, beside=ADVICE, aim=1),
    Case("list", f"{LIST} WHERE {MINE}", f"{LIST} WHERE {MINE}", beside=ADVICE, aim=0.85),
    Case("list", f"{LIST} WHERE {MINE}", f"{LIST} WHERE {MINE}", beside=FUNCTION, aim=1, modes=PLANNED),
    Case("list, unfiltered", LIST, LIST, beside=FUNCTION, aim=1, modes=PLANNED),
)  # fmt: skip


@click.command()
@click.option("--users", default=100_000, show_default=True, help="Users; ten configurations and audit rows each.")
@click.option("--runs", default=5, show_default=True, help="Runs of each side.")
@click.option("--seconds", default=2, show_default=True, help="How long a run takes.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(users: int, runs: int, seconds: int, write: Path | None) -> None:
    """Measure our policies beside no RLS with a hand-written WHERE, the specification's, and the usual advice.

    Both sides of a line run by turns, with pgbench, on the same tables of a server that this makes: a side is a role,
    and the policies name their roles. Leave the machine alone meanwhile; it takes about fifteen minutes.

    \b
    Example:  python -m bench.isolation --write docs/benchmark-isolation.md
    """
    cluster = Cluster.create_throwaway(durable=True)
    try:
        url = cluster.url("bench_isolation")
        _fill(url, users)
        described = page.machine(cluster, ("alembic", "sqitch", "psql"))
        lines = [HEAD]
        with tempfile.TemporaryDirectory() as folder:
            for case in CASES:
                for mode in case.modes:
                    bench = _Run(cluster, Path(folder) / "script.sql", mode, seconds, users // 1000 - 10)
                    lines.append(_measure(bench, case, runs))
                    click.echo(lines[-1], err=True)
    finally:
        cluster.destroy()
    told = (
        f"{users:,} users, {10 * users:,} configurations and audit rows, {CLIENTS} clients, {runs} runs of {seconds} s."
    )
    text = "\n".join([*lines, "", told, "", described])
    click.echo(text)
    if write:
        page.write(write, text)


def _query(name: str) -> str:
    return split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))[name]


def _fill(url: str, users: int) -> None:
    migrated(url)
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_query("fill").encode(), {"users": users})
        connection.execute(_query("sides").encode())
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


@dataclass(frozen=True)
class _Run:
    """How pgbench is run: where, with which script, for how long; users are picked from so many thousands."""

    cluster: Cluster
    script: Path
    mode: str
    seconds: int
    thousands: int


def _measure(run: _Run, case: Case, runs: int) -> str:
    """Run both sides by turns and return the line of the table; the first pair fills the caches."""
    pairs = []
    for _ in range(runs + 1):
        theirs = _pgbench(run, case.beside, case.theirs, case.who)
        pairs.append((_pgbench(run, OURS, case.ours, case.who), theirs))
    shares = [mine / other for mine, other in pairs[1:]]
    mine, other = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
    digits = 0 if mine / other >= 10 else 2  # noqa: PLR2004 - a matter of reading
    cells = (
        case.what,
        MODES[run.mode],
        NAMES[case.beside],
        f"{other:,.0f}/s" if other >= 10 else f"{other:.1f}/s",  # noqa: PLR2004
        f"{mine:,.0f}/s",
        f"**{mine / other:,.{digits}f}**",
        f"{min(shares):,.{digits}f} to {max(shares):,.{digits}f}",
        f"{case.aim:,.{0 if case.aim > 1 else 2}f}",
        "yes" if mine / other >= case.aim else "no",
    )
    return f"| {' | '.join(cells)} |"


def _pgbench(run: _Run, role: str, query: str, who: str) -> float:
    """Return transactions a second as a role."""
    shape = _query("in_transaction" if run.mode == "transaction" else "alone").format(query=query)
    run.script.write_text(_query("script").format(who=who) + "\n" + shape, encoding="utf-8")
    mode = "extended" if run.mode == "extended" else "prepared"
    argv = ("-M", mode, "-D", "n=0", "-D", f"thousands={run.thousands}", "-c", str(CLIENTS), "-j", "2")
    return pgbench(run.cluster, "bench_isolation", run.script, *argv, "-T", str(run.seconds), options=f"-c role={role}")


if __name__ == "__main__":
    main()
