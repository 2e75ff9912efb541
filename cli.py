"""The command surface of portaldb: what can be typed, and nothing else. The work is in the package."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from portaldb import __version__
from portaldb.errors import FindingsError, PortalError

if TYPE_CHECKING:
    from portaldb import cluster

F = TypeVar("F", bound=Callable[..., Any])


def _refuse_password(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from portaldb.database import has_password

    from_argv = _ctx.get_parameter_source("database") == click.core.ParameterSource.COMMANDLINE
    if value and from_argv and has_password(value):
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


@cli.group()
def dev() -> None:
    """Run the private PostgreSQL of this checkout.

    \b
    It lives in .portaldb/, needs no rights on the system's clusters, and every
    other command finds it by itself while it runs.
    """


def _wrapped(sentence: str) -> None:
    click.echo(click.wrap_text(sentence, width=min(100, shutil.get_terminal_size().columns)))


def _running(found: "cluster.Cluster") -> str:
    return f"PostgreSQL {found.major()} is running on port {found.port}, with its socket in {found.socket}."


@dev.command("start")
def dev_start() -> None:
    """Start the private cluster; the first time, make it.

    \b
    Example:  portaldb dev start && portaldb init && portaldb migrate
    """
    from portaldb import cluster

    click.echo(_running(cluster.start(_wrapped)))


@dev.command("stop")
def dev_stop() -> None:
    """Stop the private cluster; its data stays.

    \b
    Example:  portaldb dev stop
    """
    from portaldb import cluster

    click.echo("Stopped; the data is kept." if cluster.stop() else "It was not running.")


@dev.command("status")
@json_option
def dev_status(as_json: bool) -> None:
    """Show whether the private cluster runs, and where.

    The exit code is 1 when it does not run.

    \b
    Example:  portaldb dev status
    """
    from portaldb import cluster

    found = cluster.find()
    if as_json:
        emit_json(cluster.report(found))
    elif found and found.running():
        click.echo(f"{_running(found)}\nData: {found.data}\nLog:  {found.log}\nURL:  {found.url()}")
    if not (found and found.running()):
        raise FindingsError("" if as_json else "The private cluster is not running. Start it with: portaldb dev start")


@dev.command("url")
@click.option("--user", default="postgres", show_default=True, help="The role to log in as.")
@click.option("--dbname", default="mcp_portal", show_default=True, help="The database.")
def dev_url(user: str, dbname: str) -> None:
    """Print the private cluster's URL; it holds no password.

    \b
    Example:  pg_dump --schema-only "$(portaldb dev url)"
    """
    from portaldb import cluster

    click.echo(cluster.require().url(dbname, user))


@dev.command("psql", context_settings={"ignore_unknown_options": True})
@click.option("--user", default="postgres", show_default=True, help="The role to log in as.")
@click.option("--dbname", default="mcp_portal", show_default=True, help="The database.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev_psql(user: str, dbname: str, arguments: tuple[str, ...]) -> None:
    """Open psql on the private cluster; ARGUMENTS are handed to it.

    \b
    Example:  portaldb dev psql --user mcp_admin -c '\\dt'
    """
    from portaldb import cluster

    found = cluster.require()
    os.execv(found.programs / "psql", ["psql", found.url(dbname, user), *arguments])  # noqa: S606 - psql takes over


@dev.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
def dev_reset(yes: bool) -> None:
    """Remove the private cluster and all in it, and start an empty one.

    \b
    Example:  portaldb dev reset --yes && portaldb init && portaldb migrate
    """
    from portaldb import cluster

    found = cluster.find()
    if found and not yes:
        click.confirm(f"Every database in {found.base} will be lost. Go on?", abort=True)
    click.echo(_running(cluster.reset(_wrapped)))


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
        click.secho("Interrupted. What was not finished was rolled back; the same command goes on from there.", err=True)
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone (`portaldb plan | head`): nothing more to say, and no traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
