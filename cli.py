"""The command surface of portaldb: what can be typed, and nothing else. The work is in the package."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from portaldb import __version__
from portaldb.errors import FindingsError, PortalError

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
