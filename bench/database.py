"""A database with every migration applied, for the benchmarks of what is in it."""

from portaldb import bootstrap, engine
from portaldb.layout import sql_root
from portaldb.source import read
from portaldb.verify.run import quiet


def migrated(url: str) -> None:
    """Make the database that the URL names, as `init` and `migrate` do."""
    bootstrap.init(url, locale="C.UTF-8", dry_run=False, wait=0, say=quiet)
    engine.migrate(url, read(sql_root()), to=None, options=engine.Options(), wait=0, dry_run=False, say=quiet)
