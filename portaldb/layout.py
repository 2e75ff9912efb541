"""Where the SQL and the command surface lie: inside the package in a wheel, beside it in a checkout."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

FOLDERS = ("migrations", "functions", "policies", "seeds")
"""The folders that share one number series, in the order a reader meets them."""

_PACKAGE = Path(__file__).resolve().parent


def in_checkout() -> bool:
    """Say whether this is a source tree (or an editable install of one) and not an installed wheel."""
    return not (_PACKAGE / "sql").is_dir()


def sql_root() -> Path:
    """Return the folder that holds migrations/, functions/, policies/ and seeds/, and pgTAP's tests in tests/sql/."""
    return _PACKAGE.parent if in_checkout() else _PACKAGE / "sql"


def load_cli() -> Callable[[], None]:
    """Import cli.py from where it lies and return its entry point."""
    if in_checkout():
        # The tree has cli.py at its top; only a checkout needs its own folder on the path.
        root = str(_PACKAGE.parent)
        if root not in sys.path:
            sys.path.insert(0, root)
        module = importlib.import_module("cli")
    else:
        module = importlib.import_module("portaldb.cli")
    return cast("Callable[[], None]", module.main)
