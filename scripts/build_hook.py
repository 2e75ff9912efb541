"""Carry cli.py and the SQL inside the package when a wheel is built (an editable install reads the tree itself)."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = {
    "cli.py": "portaldb/cli.py",
    "deploy/postgresql.conf": "portaldb/sql/deploy/postgresql.conf",
    "migrations": "portaldb/sql/migrations",
    "functions": "portaldb/sql/functions",
    "policies": "portaldb/sql/policies",
    "seeds": "portaldb/sql/seeds",
    "tests/sql": "portaldb/sql/tests/sql",
}
"""What stands at the top of the tree, where a reader looks for it, and its place in the wheel."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling has no types here
    """hatchling finds it by this base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the carried files to a standard wheel."""
        if version == "standard":
            build_data["force_include"].update(CARRIED)
