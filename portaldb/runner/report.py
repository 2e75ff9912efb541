"""How the runner's work stands, for a person to read."""

from typing import Any

import click


def show(found: dict[str, Any], where: str) -> None:
    """Print it."""
    states = (
        ", ".join(f"{rows} {state}" for state, rows in found["states"].items()) or "no configuration is switched on"
    )
    click.echo(f"{where}: {states}.")
    if found["waiting"]["rows"]:
        click.echo(f"Waiting: {found['waiting']['rows']}, the oldest since {_time(found['waiting']['since'])}.")
    for each in found["errors"]:
        again = f"; next attempt {_time(each['next_retry_at'])}" if each["next_retry_at"] else ""
        times = f", {each['restart_count']} in a row" if each["restart_count"] else ""
        click.echo(f"{each['config_id']}  {each['reason']}: {each['message']}{times}{again}")
    for each in found["leases"]:
        click.echo(f"{each['owner']} works on {each['rows']}, until {_time(each['until'])} at least.")


def _time(when: Any) -> str:  # noqa: ANN401 - a datetime of the driver's
    return f"{when:%Y-%m-%d %H:%M:%S %z}"
