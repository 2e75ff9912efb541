"""The command surface of portaldb: what can be typed, and nothing else. The work is in the package."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from portaldb import __version__
from portaldb.errors import FindingsError, PortalError, RefusedError

F = TypeVar("F", bound=Callable[..., Any])


def _refuse_password(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from_argv = _ctx.get_parameter_source("database") == click.core.ParameterSource.COMMANDLINE
    if not value or not from_argv:
        return value
    from portaldb.database import has_password

    if has_password(value):
        raise click.UsageError(
            "the URL given with --database holds a password, and every user of this machine can read a "
            "command line. Put the URL in the DATABASE_URL variable, or the password in PGPASSWORD or ~/.pgpass."
        )
    return value


def database_option(command: F) -> F:
    """Add --database, the way to the server, to a command."""
    return click.option(
        "--database",
        envvar="DATABASE_URL",
        metavar="URL",
        callback=_refuse_password,
        help="Connection URL or libpq string, without a password. Default: DATABASE_URL, then libpq's "
        "PG* variables, then the private cluster of this checkout.",
    )(command)


def json_option(command: F) -> F:
    """Add --json, the report for machines, to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")(command)


def report_option(name: str, what: str) -> Callable[[F], F]:
    """Add an option that writes a report into a file."""
    return click.option(
        f"--{name}", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=f"Write {what}."
    )


def emit_json(value: object) -> None:
    """Print a report for machines; dates in ISO 8601, paths as text."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="portaldb")
def cli() -> None:
    """Apply and check the mcp_portal database.

    \b
    On a new server:   portaldb init, then portaldb migrate
    Every day:         portaldb status
    Before a change:   portaldb plan
    """


def _say(line: str, *, passing: bool = False) -> None:
    """Print a line of progress; on standard error, so that standard output is the report alone.

    A passing line is overwritten by the next on a terminal, and left out elsewhere.
    """
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", err=True, nl=not passing)
    elif not passing:
        click.echo(line, err=True)


def _wrapped(sentence: str, *, err: bool = False) -> None:
    click.echo(click.wrap_text(sentence, width=min(100, shutil.get_terminal_size().columns)), err=err)


wait_option = click.option(
    "--wait", type=float, default=0, metavar="SECONDS", help="Try this long while the server is starting."
)


@cli.command()
@database_option
@click.option(
    "--locale", default="en_US.utf8", show_default=True, help="Collation and character type of a new database."
)
@click.option("--dry-run", is_flag=True, help="Print the SQL and change nothing.")
@wait_option
def init(database: str | None, locale: str, dry_run: bool, wait: float) -> None:
    """Make the roles, the database, its extensions and grants.

    Needs a superuser, or a managed server's login with CREATEROLE and CREATEDB. Run it again whenever you like:
    it does what is missing and nothing else. The database is the one that the URL names, mcp_portal by default.

    \b
    Example:  portaldb init --database postgresql://postgres@db.example/mcp_portal
    """
    from portaldb.bootstrap import init as run
    from portaldb.database import resolve

    outcome = run(resolve(database), locale=locale, dry_run=dry_run, wait=wait, say=_say)
    if dry_run:
        click.echo("\n\n".join(outcome.done) or "-- nothing is missing")
    elif not outcome.done and not outcome.forbidden:
        click.echo("Nothing was missing. Next: portaldb migrate")
    else:
        click.echo(
            f"Ready: {len(outcome.done)} statements ran, {len(outcome.forbidden)} were forbidden. "
            "Next: portaldb migrate"
        )


source_option = click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder that holds migrations/, functions/, policies/, seeds/. Default: those of this release.",
)


@cli.command()
@database_option
@source_option
@click.option("--to", metavar="N", help="Stop after this migration: a number or an id.")
@click.option("--dry-run", is_flag=True, help="Run everything in one transaction and roll it back.")
@click.option(
    "--lock-timeout",
    type=float,
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long a statement may wait for a lock before it lets traffic pass and tries again.",
)
@click.option(
    "--retry-for",
    type=float,
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a migration that met a lock is tried again.",
)
@wait_option
def migrate(
    database: str | None,
    source: Path | None,
    to: str | None,
    dry_run: bool,
    lock_timeout: float,
    retry_for: float,
    wait: float,
) -> None:
    """Apply the pending migrations, each in a transaction of its own.

    It never waits behind a lock for longer than --lock-timeout, and may be killed at any moment: the next run
    goes on from there.

    \b
    Example:  portaldb migrate --to 12 --lock-timeout 1
    """
    from portaldb import engine
    from portaldb.database import resolve
    from portaldb.layout import sql_root
    from portaldb.source import read

    options = engine.Options(lock_timeout=lock_timeout, retry_for=retry_for)
    done = engine.migrate(
        resolve(database), read(source or sql_root()), to=to, options=options, wait=wait, dry_run=dry_run, say=_say
    )
    if not done:
        click.echo("Nothing to do: every migration is applied.")
    elif dry_run:
        click.echo(f"{len(done)} migrations would apply. Nothing was changed.")
    else:
        click.echo(f"{len(done)} migrations applied. Next: portaldb status")


@cli.command()
@database_option
@source_option
@click.option("--to", metavar="N", help="Stop after this migration: a number or an id.")
@click.option("--no-sql", is_flag=True, help="Leave the statements out; show what they lock, rewrite and scan.")
@json_option
def plan(database: str | None, source: Path | None, to: str | None, no_sql: bool, as_json: bool) -> None:
    """Show what migrate would do: the SQL, the locks it takes, what it rewrites or scans.

    Writes nothing and needs no rights beyond reading the record of migrations.

    \b
    Example:  portaldb plan --no-sql
    """
    from portaldb import database as db
    from portaldb import engine, report
    from portaldb import plan as planning
    from portaldb.layout import sql_root
    from portaldb.source import read

    url = db.resolve(database)
    migrations = read(source or sql_root())
    with db.connect(url, name="portaldb plan") as connection, db.reading(connection):
        pending = engine.pending(engine.look(connection, migrations), engine.up_to(migrations, to))
        planned = planning.build(connection, pending, db.facts(connection).version)
    if as_json:
        emit_json({"migrations": [each.as_dict() for each in planned.migrations], "notes": planned.notes})
    else:
        report.plan(planned, db.describe(url), with_sql=not no_sql)


@cli.command()
@database_option
@source_option
@click.option("--check", is_flag=True, help="Exit with 1 when anything is not applied, or not as its file says.")
@json_option
def status(database: str | None, source: Path | None, check: bool, as_json: bool) -> None:
    """Show which migrations are applied, pending, edited, missing, out of order or failed.

    \b
    Example:  portaldb status --check
    """
    from portaldb import database as db
    from portaldb import history, report
    from portaldb.layout import sql_root
    from portaldb.source import read

    url = db.resolve(database)
    migrations = read(source or sql_root())
    with db.connect(url, name="portaldb status") as connection, db.reading(connection):
        entries = history.compare(migrations, history.records(connection))
    clean = all(entry.state in history.CLEAN for entry in entries)
    if as_json:
        emit_json({"clean": clean, "migrations": [entry.as_dict() for entry in entries]})
    else:
        report.status(entries, db.describe(url))
    if check and not clean:
        raise FindingsError("Not clean. `portaldb migrate` applies what is pending; the notes above say the rest.")


def _confirmed(question: str, nothing: str = "nothing was undone") -> bool:
    """Ask; where nobody can answer, say how a script answers."""
    try:
        answer = click.confirm(question, err=True)
        if not sys.stdin.isatty():
            click.echo(err=True)  # nobody typed the end of the question's line
        return answer
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise RefusedError(f"Nobody answered, so {nothing}. In a script, add --yes.") from None


@cli.command()
@database_option
@source_option
@click.option("--to", metavar="N", help="Undo everything after this migration; 0 undoes all.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Undo the last N migrations.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--lock-timeout",
    type=float,
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long a statement may wait for a lock before it lets traffic pass and tries again.",
)
def rollback(
    database: str | None, source: Path | None, to: str | None, steps: int | None, yes: bool, lock_timeout: float
) -> None:
    """Undo migrations, latest first, after showing what would be lost.

    \b
    Example:  portaldb rollback --steps 1
    """
    from portaldb import database as db
    from portaldb import engine, loss, report
    from portaldb.layout import sql_root
    from portaldb.source import read

    if (to is None) == (steps is None):
        raise click.UsageError("say how far: either --to N (0 undoes all) or --steps N.")
    url = db.resolve(database)
    migrations = read(source or sql_root())
    with db.connect(url, name="portaldb rollback") as connection:
        db.require_owner(db.facts(connection))
        with db.reading(connection, role=db.OWNER):
            entries = engine.look(connection, migrations, engine.ROLLBACK_REFUSED)
            chosen = engine.chosen_for_rollback(entries, to=to, steps=steps)
            losses = loss.of(connection, chosen)
    if not chosen:
        click.echo("Nothing to undo.")
        return
    report.losses(losses, db.describe(url))
    if not yes and not _confirmed(f"Undo {len(chosen)} migration{'s' if len(chosen) > 1 else ''}?"):
        click.echo("Nothing was undone.")
        return
    done = engine.rollback(url, migrations, chosen, options=engine.Options(lock_timeout=lock_timeout), say=_say)
    click.echo(f"{len(done)} migrations undone.")


@cli.command()
@click.argument("kind", metavar="migration|function|policy|seed")
@click.argument("name")
@source_option
@click.option("--non-transactional", is_flag=True, help="For one statement such as CREATE INDEX CONCURRENTLY.")
def new(kind: str, name: str, source: Path | None, non_transactional: bool) -> None:
    """Make a migration and its way back from a template, with the next number.

    \b
    Example:  portaldb new migration add_widgets
    """
    from portaldb.scaffold import new as make

    for path in make(kind, name, source=source, transactional=not non_transactional):
        click.echo(os.path.relpath(path))
    click.echo("Write them, then: portaldb lint && portaldb plan", err=True)


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--tool",
    "tools",
    multiple=True,
    type=click.Choice(["portaldb", "sqlfluff", "squawk"]),
    help="Apply this tool's rules alone; may be given more than once. Default: all three.",
)
@json_option
def lint(paths: tuple[Path, ...], tools: tuple[str, ...], as_json: bool) -> None:
    """Check the SQL files: our own rules (docs/lint.md), sqlfluff's and squawk's.

    \b
    Example:  portaldb lint migrations/0004_users.sql
    """
    from portaldb import lint as linter

    report = linter.run(paths, tools or linter.TOOLS)
    if as_json:
        emit_json(report.as_dict())
    else:
        for finding in report.findings:
            click.echo(str(finding))
    closing = report.conclude()
    if not as_json:
        click.echo(closing)


@cli.command()
@database_option
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what is meant to be: a thing as the report names it, * for any text. May be repeated.",
)
@json_option
def drift(database: str | None, ignore: tuple[str, ...], as_json: bool) -> None:
    """Compare the live catalog with what the migrations make: both ways, to the last grant.

    Any login will do: it reads the catalog and writes nothing. Migrations that are pending are left out.
    The exit code is 1 when anything is missing, extra or different.

    \b
    Example:  portaldb drift --ignore 'grant CONNECT on database to exporter'
    """
    from portaldb import database as db
    from portaldb import drift as work
    from portaldb import drift_report
    from portaldb.layout import sql_root
    from portaldb.source import read

    url = db.resolve(database)
    with db.connect(url, name="portaldb drift") as connection, db.reading(connection):
        outcome = work.look(connection, read(sql_root()), ignore)
    if as_json:
        emit_json(outcome.as_dict())
    else:
        drift_report.show(outcome, db.describe(url))
    if outcome.differences:
        raise FindingsError("" if as_json else drift_report.advice(outcome))


@cli.command()
@database_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="reconcile.sql",
    show_default=True,
    help="Where the script goes that mends what differs.",
)
@click.option("--force", is_flag=True, help="Overwrite that file.")
@click.option(
    "--apply",
    "script",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run the script that you have read, and adopt the database if nothing differs then.",
)
@click.option("--yes", is_flag=True, help="Adopt a database in which everything matches.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what is to stay as it is: a thing as the report names it, * for any text. May be repeated.",
)
@click.option(
    "--lock-timeout",
    type=float,
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long a statement of the script may wait for a lock before everything is rolled back.",
)
@json_option
def baseline(
    database: str | None,
    output: Path,
    force: bool,
    script: Path | None,
    yes: bool,
    ignore: tuple[str, ...],
    lock_timeout: float,
    as_json: bool,
) -> None:
    """Adopt a database that was built by hand from the schema document.

    It compares, and writes a script that mends what differs, for you to read. Nothing is changed until you give
    that script back with --apply: it runs in one transaction, which is committed only if nothing differs any more.
    Rows, and tables and columns of your own, stay as they are. Run portaldb init first.

    \b
    Example:  portaldb baseline && less reconcile.sql && portaldb baseline --apply reconcile.sql
    """
    from portaldb import baseline as work
    from portaldb import baseline_report as report
    from portaldb import database as db
    from portaldb import engine
    from portaldb.layout import sql_root
    from portaldb.source import read

    url, migrations = db.resolve(database), read(sql_root())
    if script or yes:
        options = engine.Options(lock_timeout=lock_timeout)
        done = work.adopt(url, migrations, script, ignored=ignore, options=options, say=_say)
        if as_json:
            emit_json({"adopted": [each.id for each in done]})
        else:
            click.echo(f"{len(done)} migrations adopted, up to {done[-1].id}. Next: portaldb status")
        return
    with db.connect(url, name="portaldb baseline") as connection, db.reading(connection):
        found = work.look(connection, migrations, ignore)
        major = connection.info.server_version // 10000
    if as_json:
        emit_json(found.as_dict())
    else:
        report.show(found, db.describe(url))
    if found.differences:
        work.write(output, work.script(found, db.describe(url), major), force=force)
        raise report.verdict(found, output)


@cli.command()
@database_option
@source_option
@click.option("--live", is_flag=True, help="Try the database itself, in a transaction that is rolled back.")
@click.option("--mutate", is_flag=True, help="Then weaken each rule in turn, and fail where nothing would notice.")
@click.option(
    "--access",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The intended access. Default: access.toml of this release.",
)
@click.option("--context", metavar="NAME", help="The setting that names the user; default: what the access file says.")
@click.option("--without-pgtap", is_flag=True, help="Leave the pgTAP tests out; the report says so.")
@report_option("junit", "JUnit's XML")
@report_option("sarif", "SARIF 2.1.0, for code scanning")
@report_option("html", "one HTML page")
@json_option
def verify(
    database: str | None,
    source: Path | None,
    live: bool,
    mutate: bool,
    access: Path | None,
    context: str | None,
    without_pgtap: bool,
    junit: Path | None,
    sarif: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Prove tenant isolation: try what everyone can reach, and compare with what they are meant to.

    Without --live it makes a database from the migrations on the same server, runs the pgTAP tests there as well,
    and drops it afterwards. With --live, existing rows are neither read nor locked. Needs a superuser. The exit code
    is 1 when anything is not as meant, or with --mutate when a weakening goes unnoticed; 4, before anything runs, when
    a report could not be written.

    \b
    Example:  portaldb verify --junit isolation.xml --html isolation.html
    """
    if live and mutate:
        raise click.UsageError(
            "--mutate weakens policies, grants and roles, and a running database is no place for that: even in a "
            "transaction that is rolled back, its locks would stop everyone. Leave --live out: a database made from "
            "the migrations has the same rules."
        )
    from portaldb.database import resolve
    from portaldb.layout import sql_root
    from portaldb.source import read
    from portaldb.verify import access as intended
    from portaldb.verify import export, files, page, pgtap, places, report, run
    from portaldb.verify import sarif as sarif_log

    files.require(path for path in (junit, sarif, html) if path)
    click.get_current_context().call_on_close(lambda: _say("", passing=True))  # an error stands on a line of its own
    url, root = resolve(database), source or sql_root()
    meant = intended.read(access or intended.DEFAULT, setting=context)
    migrations = read(root) if source or not (live and access) else []
    if live:
        outcome = run.verify(url, meant, live=True, say=_say)
    else:
        tests = pgtap.choose(url, meant, root, left_out=without_pgtap)
        with run.throwaway(url, migrations, _say, meant.setup) as target:
            outcome = pgtap.add(run.verify(target, meant, live=False, say=_say), target, tests, say=_say)
            if mutate and outcome.ok:
                from portaldb.verify import mutation

                outcome = mutation.mutated(outcome, target, migrations, tests.files)
    _say("", passing=True)
    if junit:
        files.write(junit, export.junit(outcome))
    if sarif:
        files.write(sarif, sarif_log.render(outcome, places.find(meant, migrations)))
    if html:
        files.write(html, page.render(outcome))
    if as_json:
        emit_json(export.as_dict(outcome))
    else:
        report.show(outcome)
    if outcome.ok:
        return
    if mutate and outcome.mutants is not None:
        advice = report.UNNOTICED
    else:
        advice = "Isolation does not hold as it is meant to: docs/verify.md tells how to read it."
        advice += " Nothing was mutated: a suite that is red already notices anything." if mutate else ""
    raise FindingsError("" if as_json else advice)


@cli.command(hidden=True)
@database_option
@click.option("--write", is_flag=True, help="Write the file where it is not current.")
def manifest(database: str | None, write: bool) -> None:
    """Check that the shipped list of what the migrations make is current; with --write, make it.

    It applies every migration to a database of its own on the server, which it drops; the server's major version
    is the one that the list is for. Needs a superuser.

    \b
    Example:  portaldb manifest --write
    """
    from portaldb import database as db
    from portaldb import manifest as work
    from portaldb.layout import sql_root
    from portaldb.source import read

    fresh, path, current = work.current(db.resolve(database), read(sql_root()), _say)
    if not current and write:
        path.parent.mkdir(exist_ok=True)
        path.write_text(work.render(fresh), encoding="utf-8")
        click.echo(f"Written: {path.name}, {len(fresh.entries)} things from {len(fresh.migrations)} migrations.")
    elif not current:
        raise FindingsError(
            f"portaldb/manifests/{path.name} is not what the migrations make on PostgreSQL {fresh.major}. "
            "Make it anew with: portaldb manifest --write"
        )
    else:
        click.echo(f"Current: {path.name}, {len(fresh.entries)} things from {len(fresh.migrations)} migrations.")


keys_option = click.option(
    "--keys",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The key file. Default: PORTALDB_KEYS_FILE; to read, also PORTALDB_KEYS or PORTALDB_KEYS_COMMAND.",
)
enc_option = click.option(
    "--enc",
    type=click.Choice(["A256CBC-HS512", "A256GCM"]),
    default="A256CBC-HS512",
    show_default=True,
    help="What the key is for. SQL neither reads nor writes A256GCM.",
)


@cli.group()
def keys() -> None:
    """Make, list, change and rotate the keys of the encrypted values.

    \b
    They are a JWK Set in a file that nobody else can read; docs/encryption.md.
    A new key:   portaldb keys add        every service reads the new set, then
                 portaldb keys promote    every service reads it again, then
                 portaldb keys rotate     beside people at work, then
                 portaldb keys retire     the old one
    """


@keys.command("generate")
@keys_option
@enc_option
def keys_generate(key_file: Path | None, enc: str) -> None:
    """Make a new key file with one key, the primary.

    The file must not be there yet, and nobody but you can read it.

    \b
    Example:  portaldb keys generate --keys /etc/portal/keys.json
    """
    from portaldb.encryption import key_file as files
    from portaldb.encryption import key_set
    from portaldb.encryption.keyring import Enc, State

    path, key = files.place(key_file), key_set.new_key(Enc(enc), State.PRIMARY)
    files.create(path, {"keys": [key]})
    click.echo(f"{path}: {key['kid']} is the primary key. Keep a copy where no copy of the database is.")


@keys.command("list", short_help="List the keys, and how many rows each has.")
@keys_option
@database_option
@json_option
def keys_list(key_file: Path | None, database: str | None, as_json: bool) -> None:
    """List the keys, and how many rows each has where a database can be asked.

    \b
    Example:  portaldb keys list --keys /etc/portal/keys.json
    """
    from portaldb import database as db
    from portaldb.encryption import Keyring, key_check, key_report

    keyring, rows = Keyring.load(key_file), None
    try:
        url = db.resolve(database)
        with db.connect(url, name="portaldb keys list") as connection:
            rows = key_check.count(connection)
    except PortalError as error:
        _wrapped(f"Without the rows of each key. {error}", err=True)
    if as_json:
        emit_json({"keys": key_check.listed(keyring.keys, rows)})
    else:
        key_report.keys(keyring.keys, rows)


@keys.command("add", short_help="Add a new key, or the keys of another set.")
@keys_option
@enc_option
@click.option("--from", "other", metavar="FILE|-", help="Take over the keys of another JWK Set; - is standard input.")
def keys_add(key_file: Path | None, enc: str, other: str | None) -> None:
    """Add a new key, which opens and does not write yet; or those of another set.

    \b
    Example:  portaldb keys add --keys /etc/portal/keys.json
    """
    from portaldb.encryption import base64url, key_set, sources
    from portaldb.encryption import key_file as files
    from portaldb.encryption.keyring import Enc, Keyring, State

    path = files.place(key_file)
    if other:
        text = sys.stdin.read() if other == "-" else sources.read(Path(other))
        Keyring.from_json(text)
        others = base64url.parse_object(text)
    else:
        others = {"keys": [key_set.new_key(Enc(enc), State.KNOWN)]}
    new = files.change(path, lambda document: key_set.take_over(document, others))
    for key in new:
        click.echo(f"{key.kid} is known now.")
    if new:
        click.echo("Next: let every service read the set, then portaldb keys promote KID", err=True)
    else:
        click.echo("Nothing to do: every key is there already.")


@keys.command("promote", short_help="Make a known key the primary, the one that writes.")
@click.argument("kid")
@keys_option
def keys_promote(kid: str, key_file: Path | None) -> None:
    """Make a known key the primary, the one that writes; the old primary becomes known.

    KID may be the beginning of one. Every service must know the key before: one that does not could not open what
    the others write.

    \b
    Example:  portaldb keys promote qB3f
    """
    from portaldb.encryption import key_file as files
    from portaldb.encryption import key_set

    path = files.place(key_file)
    chosen = files.change(path, lambda document: key_set.promote(document, kid))
    click.echo(f"{chosen.kid} is the primary key. Next: let every service read the set, then portaldb keys rotate")


@keys.command("retire", short_help="Retire a key that no row has any more.")
@click.argument("kid")
@keys_option
@database_option
@click.option("--undo", is_flag=True, help="Make a retired key known again.")
def keys_retire(kid: str, key_file: Path | None, database: str | None, undo: bool) -> None:
    """Retire a key that no row has any more; it stays in the set for old backups.

    KID may be the beginning of one. The primary is refused, and so is a key that rows still have: the database is
    asked, and where it cannot be, nothing is changed.

    \b
    Example:  portaldb keys retire qB3f
    """
    from portaldb import database as db
    from portaldb.encryption import key_check, key_set, rotation
    from portaldb.encryption import key_file as files
    from portaldb.encryption.key_set import Document
    from portaldb.encryption.keyring import State

    path = files.place(key_file)
    if undo:
        key = files.change(path, lambda document: key_set.restore(document, kid))
        click.echo(f"{key.kid} is known again.")
        return
    url = db.resolve(database)
    with db.connect(url, name="portaldb keys retire") as connection, rotation.alone(connection):

        def retire(document: Document) -> tuple[str, int]:
            found = key_set.require_retirable(document, kid)
            claims = key_check.require_no_rows(connection, key_set.keyring(document), found.kid)
            key_set.set_state(document, found.kid, State.RETIRED)
            return found.kid, claims

        retired, claims = files.change(path, retire)
    click.echo(f"{retired} is retired: it opens no row of {db.describe(url)}. Next: let every service read the set.")
    if claims:
        _wrapped(
            f"Rows that carry its kid without being opened by it: {claims:,}. portaldb keys check lists them.", err=True
        )


@keys.command("check", short_help="Check the set, and every value against it.")
@keys_option
@database_option
@click.option("--open", "opens", is_flag=True, help="Open every value, and show none.")
@click.option("--without-database", is_flag=True, help="Look at the set alone.")
@json_option
def keys_check(key_file: Path | None, database: str | None, opens: bool, without_database: bool, as_json: bool) -> None:
    """Check that the set is sound, and that every value is of one of its keys and where it belongs.

    The exit code is 1 when anything is not: it is listed by the row's id, with the reason.

    \b
    Example:  portaldb keys check --open
    """
    from contextlib import ExitStack

    from portaldb import database as db
    from portaldb.encryption import Keyring, key_check, key_report

    keyring, path = Keyring.load(key_file), key_check.file_of(key_file)
    url = None if without_database else db.resolve(database)
    with ExitStack() as stack:
        connection = None if url is None else stack.enter_context(db.connect(url, name="portaldb keys check"))
        _, watch = stack.enter_context(key_report.progress(_say, "checking"))
        found = key_check.check(keyring, path, connection, opens=opens, watch=watch)
    if as_json:
        emit_json(found.as_dict())
    else:
        key_report.checked(found, None if url is None else db.describe(url))
    if not found.sound:
        raise FindingsError(
            "" if as_json else "Not everything is as it should be. docs/encryption.md tells what to do."
        )


@keys.command("rotate", short_help="Re-encrypt every value under the primary key.")
@keys_option
@database_option
@click.option("--dry-run", is_flag=True, help="Open everything, change nothing, and tell what would happen.")
@click.option(
    "--bind",
    is_flag=True,
    help="Bind values that are bound to nothing to their row; SQL's two-argument decrypt_sensitive_data opens them no "
    "more.",
)
@click.option(
    "--legacy-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Convert the schema document's old format too; the file holds its key, and nobody else may read it.",
)
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N", help="Rows a transaction."
)
@click.option(
    "--pause",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="How long to leave the database alone between batches.",
)
@json_option
def keys_rotate(
    key_file: Path | None,
    database: str | None,
    dry_run: bool,
    bind: bool,
    legacy_key: Path | None,
    batch: int,
    pause: float,
    as_json: bool,
) -> None:
    """Re-encrypt every value that is not under the primary key, beside people at work.

    It may be killed at any moment: every row opens, and the same command goes on from there. Rows that cannot be
    re-encrypted are left as they are and listed by id and reason; the exit code is 1 then.

    \b
    Example:  portaldb keys rotate --dry-run && portaldb keys rotate
    """
    from portaldb import database as db
    from portaldb.encryption import Keyring, key_report, legacy, rotation

    Keyring.load(key_file)  # what is wrong with the keys is told before anything else
    url = db.resolve(database)
    options = rotation.Options(
        batch=batch,
        pause=pause,
        bind=bind,
        dry_run=dry_run,
        legacy_key=legacy.read_key(legacy_key) if legacy_key else None,
    )
    with (
        db.connect(url, name="portaldb keys rotate") as connection,
        key_report.progress(_say, "opening" if dry_run else "re-encrypting") as (say, watch),
        key_report.until_interrupted(say) as stopped,
    ):
        found = rotation.rotate(
            connection,
            lambda: Keyring.load(key_file),
            options,
            say,
            watch=lambda each: watch(*key_report.of(each)),
            stopped=stopped,
        )
    if as_json:
        emit_json(found.as_dict())
    else:
        key_report.rotated(found, db.describe(url))
    if not found.finished:
        raise KeyboardInterrupt
    if found.failed:
        raise FindingsError("" if as_json else "The rows above were left as they were. docs/encryption.md tells more.")


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="N",
    help="Processes at once, each with a connection.",
)


@cli.group(invoke_without_command=True)
@database_option
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    metavar="FOLDER",
    help="Where the backup goes; it must be there.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["directory", "custom"]),
    default="directory",
    show_default=True,
    help="pg_dump's: a folder that several processes write, or one file that one process writes.",
)
@jobs_option
@click.option("--plain", is_flag=True, help="Also the schema and the rows as SQL: schema_DATE.sql, data_DATE.sql.")
@click.option(
    "--compress",
    type=click.IntRange(0, 9),
    metavar="LEVEL",
    help="0 for not at all. Default: pg_dump's own.",
)
@click.option(
    "--keep", type=click.IntRange(1), metavar="N", help="Then remove this database's backups but for the latest N."
)
@json_option
@click.pass_context
def backup(
    context: click.Context,
    database: str | None,
    folder: Path,
    form: str,
    jobs: int,
    plain: bool,
    compress: int | None,
    keep: int | None,
    as_json: bool,
) -> None:
    """Back up the database: every row, the roles without passwords, and a manifest.

    It disturbs nobody, and no file has its name before it is whole: full_backup_DATE.dump, roles_DATE.sql, and last
    manifest_DATE.json. Needs a member of portal_backup, or a superuser. The key file is never in it; docs/backup.md.

    \b
    Example:  portaldb backup --folder /backup/postgres --keep 14
    """
    if context.invoked_subcommand:
        return
    from portaldb import database as db
    from portaldb.backup import make, report

    options = make.Options(form, jobs, plain, compress, keep)
    with report.progress() as (_tell, begin):
        made = make.make(db.resolve(database), folder, options, begin("backing up"))
    if as_json:
        emit_json(made.as_dict())
    else:
        report.made(made)


@backup.command("verify", short_help="Check a backup by restoring it.")
@click.argument("path", metavar="BACKUP", type=click.Path(path_type=Path))
@database_option
@click.option("--checksums", is_flag=True, help="Hold the files to their checksums alone; no server is asked.")
@jobs_option
@json_option
def backup_verify(path: Path, database: str | None, checksums: bool, jobs: int, as_json: bool) -> None:
    """Check a backup: its checksums, then a restore into a database of its own, which is dropped.

    BACKUP is any of its files, or a folder, whose latest is meant. There every table is compared with the manifest,
    and the catalog with what the migrations make. The server need not be the one that was backed up; its login makes
    databases. The exit code is 9 for a backup that is damaged, 1 where the catalog has drifted.

    \b
    Example:  portaldb backup verify /backup/postgres
    """
    from portaldb import database as db
    from portaldb.backup import check, report
    from portaldb.layout import sql_root
    from portaldb.source import read

    with report.progress() as (tell, begin):
        if checksums:
            found = check.checksums(path, begin("reading"))
        else:
            url = db.resolve(database)
            found = check.verify(url, path, read(sql_root()), jobs=jobs, say=tell, watch=begin("comparing"))
    if as_json:
        emit_json(found.as_dict())
    else:
        report.checked(found)
    if found.differences:
        raise FindingsError("" if as_json else "The rows are whole; the database had drifted when it was backed up.")


@cli.command()
@click.argument("path", metavar="BACKUP", type=click.Path(path_type=Path))
@database_option
@click.option("--clean", is_flag=True, help="Replace what is in the database, in one transaction, after asking.")
@click.option("--data-only", is_flag=True, help="Rows alone, into tables that migrate has made, in one transaction.")
@click.option("--roles", is_flag=True, help="Make the roles that the server has not got, without passwords.")
@jobs_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restore(
    path: Path,
    database: str | None,
    clean: bool,
    data_only: bool,
    roles: bool,
    jobs: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Restore a backup into a database that init has made, under this name or another.

    BACKUP is any of its files, or a folder, whose latest is meant. Its checksums are looked at before anything is
    changed, and every table is compared with the manifest at the end. Needs a member of mcp_admin. The exit code is 9
    where the backup is damaged, 4 where the database is not empty.

    \b
    Example:  portaldb init && portaldb restore /backup/postgres/full_backup_20260131_020000.dump
    """
    from portaldb import database as db
    from portaldb.backup import report
    from portaldb.backup import restore as work

    url = db.resolve(database)
    with report.progress() as (_tell, begin):
        planned = work.plan(url, path, work.Options(clean, data_only, roles, jobs), begin("reading"))
    if planned.removes:
        report.removes(planned, db.describe(url))
        if not yes and not _confirmed("Replace them by the backup?", "nothing was changed"):
            click.echo("Nothing was changed.")
            return
    with report.progress() as (tell, begin):
        done = work.restore(planned, tell, begin("comparing"))
    if as_json:
        emit_json(done.as_dict())
    else:
        report.restored(done, db.describe(url))


@cli.command()
@database_option
@click.option("--once", is_flag=True, help="Look once, and end; so it does where there is no terminal.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.5),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How often the screen is made anew.",
)
@click.option("--check", is_flag=True, help="Look once, and exit with 1 where there is an alarm.")
@json_option
def monitor(database: str | None, once: bool, every: float, check: bool, as_json: bool) -> None:
    """Show how the database does: connections, partitions, containers, keys, tables, slow statements.

    A login in portal_monitor may see all of it but other sessions' transactions and statements, which take
    pg_read_all_stats. It shows no tenant's row, and works on a standby. Ctrl-C ends it.

    \b
    Example:  portaldb monitor --once --json
    """
    from portaldb import database as db
    from portaldb import monitor as work
    from portaldb import monitor_report as report

    url = db.resolve(database)
    with db.connect(url, name="portaldb monitor") as connection:

        def look() -> work.Look:
            with db.reading(connection):
                return work.look(connection)

        if once or check or as_json or not sys.stdout.isatty():
            found = look()
            if as_json:
                emit_json(found.as_dict())
            else:
                report.show(found)
            if check and found.alarms:
                raise FindingsError()
        else:
            report.live(look, every)


@cli.command()
@database_option
@json_option
def doctor(database: str | None, as_json: bool) -> None:
    """Examine versions, clock, settings, extensions, roles, grants and migrations, and say what to type.

    Any login may ask; what is not shown to it is named. It changes nothing. The exit code is 1 when anything is not
    as it should be.

    \b
    Example:  portaldb doctor --json
    """
    from portaldb import database as db
    from portaldb import doctor as work
    from portaldb.layout import sql_root
    from portaldb.source import read

    url = db.resolve(database)
    with db.connect(url, name="portaldb doctor") as connection, db.reading(connection):
        found = work.examine(connection, read(sql_root()))
    if as_json:
        emit_json(found.as_dict())
    else:
        for each in found.findings:
            click.echo(f"{each.about}: {each.what}\n    {each.do}")
        if found.unseen:
            _wrapped(f"Not shown to this login (GRANT pg_read_all_settings TO …): {', '.join(found.unseen)}.", err=True)
        state = f"{len(found.findings)} findings" if found.findings else "healthy"
        click.echo(f"{db.describe(url)}: {state}; looked at {', '.join(found.looked_at)}.")
    if found.findings:
        raise FindingsError()


@cli.group()
def user() -> None:
    """Make the first super_admin, whom nobody else could make."""


@user.command("promote", short_help="Make a user a super_admin, as the owner.")
@click.argument("who")
@database_option
@json_option
def user_promote(who: str, database: str | None, as_json: bool) -> None:
    """Make a user a super_admin, as the owner of the database; the audit trail says so.

    WHO is the user's id, Azure object id or address; they have signed in before. Whoever is a super_admin makes
    others by the function set_user_role().

    \b
    Example:  portaldb user promote ada@example.org
    """
    from portaldb import database as db
    from portaldb import users

    url = db.resolve(database)
    with db.connect(url, name="portaldb user promote") as connection:
        db.require_owner(db.facts(connection))
        promoted = users.promote(connection, who)
    if as_json:
        emit_json({"id": promoted.id, "email": promoted.email, "changed": promoted.changed})
    elif promoted.changed:
        click.echo(f"{promoted.email} ({promoted.id}) is a super_admin of {db.describe(url)}.")
    else:
        click.echo(f"{promoted.email} ({promoted.id}) is a super_admin already; nothing was changed.")


@cli.group()
def audit() -> None:
    """Read the audit trail, also on a standby.

    \b
    docs/operations.md tells how long it is kept, and what keeps it from being changed.
    """


def _filters(command: F) -> F:
    """Add the options that say which entries are asked for."""
    for option in (
        click.option("--until", metavar="WHEN", help="Entries before it: a date, a moment in ISO 8601, or an age."),
        click.option("--since", metavar="WHEN", help="Entries from it on, as 2026-11-30 or 90m, 12h, 30d."),
        click.option("--resource", metavar="THING", help="A kind of thing, its id, or kind:id."),
        click.option("--action", metavar="ACTION", help="Such as login or role_changed."),
        click.option("--user", metavar="WHO", help="Who did it: their id, Azure object id or address."),
    ):
        command = option(command)
    return command


def _filter(values: dict[str, str | None]) -> Any:  # noqa: ANN401 - the package is imported when it is used
    from portaldb import audit as trail

    since, until = (trail.moment(each) if (each := values.pop(name)) else None for name in ("since", "until"))
    return trail.Filter(**values, since=since, until=until)


@audit.command("export", short_help="Write the trail, or part of it, as JSON Lines or CSV.")
@database_option
@_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file that is there when it is complete, and not before. Default: standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite that file.")
def audit_export(database: str | None, form: str, output: Path | None, force: bool, **chosen: str | None) -> None:
    """Write audit entries in the order of time, of one moment of the database, however many there are.

    Needs a login that is a member of mcp_admin or portal_backup. Times are UTC.

    \b
    Example:  portaldb audit export --since 2026-11-01 --until 2026-12-01 --output november.jsonl
    """
    from portaldb import audit as trail
    from portaldb import audit_report
    from portaldb import database as db

    wanted, url = _filter(chosen), db.resolve(database)
    with db.connect(url, name="portaldb audit export") as connection, audit_report.progress(_say) as watch:
        place = trail.whole_file(output, force=force) if output else trail.standard_output()
        with place as out:
            done = trail.export(connection, wanted, form, out, watch)
    click.echo(f"{done:,} entries of {db.describe(url)}{f' in {output}' if output else ''}.", err=True)


@audit.command("tail", short_help="Show the last entries, and with --follow those that come.")
@database_option
@_filters
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=20, show_default=True, metavar="N")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="How often to look, with --follow.",
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON an entry, as export writes them.")
def audit_tail(
    database: str | None, lines: int, follow: bool, every: float, as_json: bool, **chosen: str | None
) -> None:
    """Show the last audit entries, the newest at the end; with --follow those that come too.

    An entry carries the time at which its transaction began; one that is committed up to five minutes later is
    shown when it comes, out of order.

    \b
    Example:  portaldb audit tail --follow --action login_refused
    """
    from portaldb import audit as trail
    from portaldb import audit_report
    from portaldb import database as db

    wanted, url = _filter(chosen), db.resolve(database)
    with db.connect(url, name="portaldb audit tail") as connection:
        try:
            for entry in trail.tail(connection, wanted, lines, follow=follow, every=every):
                click.echo(trail.as_line(entry) if as_json else audit_report.line(entry))
        except KeyboardInterrupt:
            if not follow:
                raise


@cli.group()
def jobs() -> None:
    """Run the scheduled jobs, where pg_cron does not, and see what they did.

    \b
    docs/operations.md tells what each is for.
    """


@jobs.command("list")
@database_option
@json_option
def jobs_list(database: str | None, as_json: bool) -> None:
    """Show each job: its schedule (GMT), its last run, what came of it, and when it is to run next.

    The exit code is 1 when the last run of a job failed or was lost.

    \b
    Example:  portaldb jobs list
    """
    from portaldb import database as db
    from portaldb import jobs as work
    from portaldb import jobs_report

    url = db.resolve(database)
    with db.connect(url, name="portaldb jobs list") as connection:
        found = work.registry(connection)
    if as_json:
        emit_json([job.as_dict() for job in found])
    else:
        jobs_report.show(found, db.describe(url))
    if any(job.is_active and job.last_result in ("failed", "lost") for job in found):
        raise FindingsError("" if as_json else "A job's last run did not succeed; its note says why.")


@jobs.command("run", short_help="Run one job, or what is due, once or for ever.")
@click.argument("name", required=False)
@database_option
@click.option("--due", is_flag=True, help="Run what is due by its schedule, once.")
@click.option("--daemon", is_flag=True, help="Run jobs when they are due, until SIGTERM or Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=15,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for what is due, with --daemon.",
)
@json_option
def jobs_run(name: str | None, database: str | None, due: bool, daemon: bool, every: float, as_json: bool) -> None:
    """Run a job by NAME now, or with --due or --daemon what its schedule says, where there is no pg_cron.

    Connects directly, as a member of portal_maintenance. Of several runners of what is due, one works. The exit code
    is 1 when a job failed. With --json and --daemon each run is a line of JSON.

    \b
    Example:  portaldb jobs run cleanup-sessions
              portaldb jobs run --daemon
    """
    from portaldb import database as db
    from portaldb import jobs as work

    if (name is not None) + due + daemon != 1:
        raise click.UsageError("say one of these: a job's NAME, --due, --daemon.")
    url = db.resolve(database)
    if daemon:
        work.daemon(
            url,
            lambda found: click.echo(json.dumps(vars(found), default=str) if as_json else work.in_words(found)),
            _say,
            every=every,
        )
        return
    if name is not None:
        one = work.run(url, name)
        done, busy = ([one] if one else []), f"{name} is being run elsewhere; nothing was done."
    else:
        several = work.run_due(url)
        done = several or []
        busy = "Another runner is at work; nothing was done." if several is None else "No job is due."
    if as_json:
        emit_json([vars(each) for each in done])
    else:
        click.echo("\n".join(map(work.in_words, done)) or busy)
    if any(each.result == "failed" for each in done):
        raise FindingsError("" if as_json else "A job failed. What it did in earlier calls stays.")


@jobs.command("sync")
@database_option
def jobs_sync(database: str | None) -> None:
    """Bring pg_cron to what the registry says, as the owner: schedule, change and unschedule.

    Migrations do it by themselves; this is for what was changed by hand, and for a restored database.

    \b
    Example:  portaldb jobs sync
    """
    from portaldb import database as db
    from portaldb import jobs as work

    url = db.resolve(database)
    changed = work.sync(url)
    if changed is None:
        raise RefusedError(
            f"pg_cron is not in {db.describe(url)}, so nothing was scheduled. "
            "`portaldb jobs run --daemon` runs the jobs."
        )
    click.echo(f"{changed} jobs changed in pg_cron." if changed else "pg_cron holds what the registry says already.")


@cli.group()
def runner() -> None:
    """Make a Docker engine match what users have switched on.

    \b
    docs/runner.md tells what it does with a container, a secret and a failure.
    """


@runner.command("run", short_help="Start, stop and watch containers until told to end.")
@database_option
@keys_option
@click.option("--once", is_flag=True, help="Do what is to be done, then end: 1 where a row is in error.")
@click.option("--drain", is_flag=True, help="Stop every container at the end; otherwise they go on running.")
@click.option(
    "--resync",
    type=click.FloatRange(min=0.2),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How often to look where no notice came.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a row stays with a runner that died.",
)
@click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Rows worked on at once.")
@click.option(
    "--allow-image", "images", multiple=True, metavar="PATTERN", help="Start such images alone; may be repeated."
)
@click.option("--require-digest", "digests", is_flag=True, help="Start images alone that are named with a digest.")
@click.option(
    "--allow-network", "networks", multiple=True, metavar="NAME", help="A network that servers may ask for; repeatable."
)
@click.option(
    "--allow-capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="A capability that servers may ask for; repeatable.",
)
@click.option(
    "--memory", type=click.IntRange(8), default=512, show_default=True, metavar="MB", help="Of a container at most."
)
@click.option(
    "--cpus", type=click.FloatRange(0.01), default=1, show_default=True, metavar="N", help="Of a container at most."
)
@click.option(
    "--instance",
    metavar="NAME",
    help="By which its containers are known; default: made of the server's identifier and the database.",
)
@click.option(
    "--listen", metavar="[HOST]:PORT", help="Answer /healthz and /metrics (Prometheus) there; HOST is 127.0.0.1."
)
@json_option
def runner_run(
    key_file: Path | None,
    database: str | None,
    once: bool,
    drain: bool,
    resync: float,
    lease: float,
    workers: int,
    images: tuple[str, ...],
    digests: bool,
    networks: tuple[str, ...],
    capabilities: tuple[str, ...],
    memory: int,
    cpus: float,
    instance: str | None,
    listen: str | None,
    as_json: bool,
) -> None:
    """Start, stop and watch containers, so that the engine matches the table, until SIGTERM or Ctrl-C.

    Connects as a login that is a member of portal_runner, directly and not through a transaction pooler. It may be
    killed at any moment, and several may run: each row is one runner's at a time. With --json its log is JSON lines.

    \b
    Example:  portaldb runner run --keys /etc/portal/keys.json --allow-image 'registry.example/mcp/*'
    """
    from portaldb import database as db
    from portaldb.encryption import Keyring
    from portaldb.runner import loop, settings, store

    policy = settings.Policy(images, digests, networks, capabilities, memory, cpus)
    url = db.resolve(database)
    where = None
    if listen:
        host, _, port = listen.rpartition(":")
        if not port.isdigit():
            raise click.BadParameter("it is HOST:PORT or :PORT", param_hint="--listen")
        where = (host or "127.0.0.1", int(port))
    options = loop.Options(policy, once, drain, resync, lease, workers, instance, as_json, where)
    loop.Runner(url, lambda: Keyring.load(key_file), options).run()
    if once:
        with db.connect(url, name="portaldb runner run") as connection:
            found = store.status(connection)
        if as_json:
            emit_json(found)
        if found["states"].get("error"):
            raise FindingsError("" if as_json else "Rows are in error: portaldb runner status says why.")


@runner.command("status")
@database_option
@json_option
def runner_status(database: str | None, as_json: bool) -> None:
    """Show how many rows are in which state, what waits, what failed and why, and who works on what.

    The exit code is 1 when a row is in error.

    \b
    Example:  portaldb runner status --json
    """
    from portaldb import database as db
    from portaldb.runner import report, store

    url = db.resolve(database)
    with db.connect(url, name="portaldb runner status") as connection:
        found = store.status(connection)
    if as_json:
        emit_json(found)
    else:
        report.show(found, db.describe(url))
    if found["states"].get("error"):
        raise FindingsError()


@runner.command("logs", short_help="Print what the container of a row has said.")
@database_option
@click.argument("row")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="The last N lines alone.")
@click.option("--follow", is_flag=True, help="Go on with what it says from now on, until it ends.")
def runner_logs(database: str | None, row: str, tail: int | None, follow: bool) -> None:
    """Print what the container of ROW has said, as far as its server keeps a log.

    ROW is the id of a row of user_server_configs, or enough of its beginning. By default no log is kept; the
    server's metadata switch it on: {"container": {"logs": true}}.

    \b
    Example:  portaldb runner logs 0c000000 --tail 100
    """
    from portaldb.runner import reach

    reach.logs(database, row, tail, follow)


@runner.command("attach", short_help="Speak with the container of a row over stdio.")
@database_option
@click.argument("row")
def runner_attach(database: str | None, row: str) -> None:
    """Speak with what runs for ROW over standard input and output, as an MCP client does with a local server.

    ROW is the id of a row of user_server_configs, or enough of its beginning. The container goes on when the
    input ends. Everybody who is attached to it hears every answer.

    \b
    Example:  npx @modelcontextprotocol/inspector portaldb runner attach 0c000000
    """
    from portaldb.runner import reach

    reach.attach(database, row)


@cli.group()
def dev() -> None:
    """Run the private PostgreSQL of this checkout.

    \b
    It lives in .portaldb/, needs no rights on the system's clusters, and every
    other command finds it by itself while it runs.
    """


docker_option = click.option("--docker", is_flag=True, help="In a container, where PostgreSQL is not installed.")


@dev.command("start")
@docker_option
def dev_start(docker: bool) -> None:
    """Start the private PostgreSQL; the first time, make it.

    \b
    Example:  portaldb dev start && portaldb init && portaldb migrate
    """
    from portaldb import dev

    _wrapped(dev.start(_wrapped, docker=docker))


@dev.command("stop")
def dev_stop() -> None:
    """Stop the private PostgreSQL; its data stays.

    \b
    Example:  portaldb dev stop
    """
    from portaldb import dev

    click.echo(dev.stop())


@dev.command("status")
@json_option
def dev_status(as_json: bool) -> None:
    """Show whether the private PostgreSQL runs, and where.

    The exit code is 1 when it does not run.

    \b
    Example:  portaldb dev status
    """
    from portaldb import dev

    found = dev.report()
    if as_json:
        emit_json(found)
    elif found["running"]:
        click.echo("\n".join(f"{name:<10} {value}" for name, value in found.items()))
    if not found["running"]:
        raise FindingsError("" if as_json else "PostgreSQL is not running here. Start it with: portaldb dev start")


@dev.command("url")
@click.option("--user", default="postgres", show_default=True, help="The role to log in as.")
@click.option("--dbname", default="mcp_portal", show_default=True, help="The database.")
def dev_url(user: str, dbname: str) -> None:
    """Print the private PostgreSQL's URL; it holds no password.

    \b
    Example:  pg_dump --schema-only "$(portaldb dev url)"
    """
    from portaldb import dev

    click.echo(dev.url(dbname, user))


@dev.command("psql", context_settings={"ignore_unknown_options": True})
@click.option("--user", default="postgres", show_default=True, help="The role to log in as.")
@click.option("--dbname", default="mcp_portal", show_default=True, help="The database.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev_psql(user: str, dbname: str, arguments: tuple[str, ...]) -> None:
    """Open psql on the private PostgreSQL; ARGUMENTS are handed to it.

    \b
    Example:  portaldb dev psql --user mcp_admin -c '\\dt'
    """
    from portaldb import dev

    dev.psql(dbname, user, arguments)


@dev.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@docker_option
def dev_reset(yes: bool, docker: bool) -> None:
    """Remove the private PostgreSQL and all in it, and start an empty one.

    \b
    Example:  portaldb dev reset --yes && portaldb init && portaldb migrate
    """
    from portaldb import dev

    if dev.exists() and not yes:
        click.confirm("Every database in the private PostgreSQL will be lost. Go on?", abort=True)
    _wrapped(dev.reset(_wrapped, docker=docker))


def main() -> None:
    """Run a command and turn what it raises into one paragraph and a documented exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except FindingsError as error:
        if str(error):
            click.secho(str(error), err=True, fg="yellow")
        code = error.exit_code
    except PortalError as error:
        click.secho(f"Error: {error}", err=True, fg="red")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.secho("Interrupted. What was unfinished was rolled back; the same command goes on from there.", err=True)
        code = 130
    except SystemExit as stop:
        # So click ends what nobody reads any more (`portaldb plan | head`): with 1, which is a finding's code here.
        code = 141 if stop.code else 0
    except Exception as error:
        # A server's error that no command foresaw reads as one paragraph too; a bug of ours shows its traceback.
        if not type(error).__module__.startswith("psycopg"):
            raise
        from portaldb.database import server_error

        told = server_error(cast("Any", error), "talking to the server")
        click.secho(f"Error: {told}", err=True, fg="red")
        code = told.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
