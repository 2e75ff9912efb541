"""Write what is said elsewhere already: pages of docs/ from command, errors, lints and access file; pgTAP's lists.

Run it after a change of cli.py, portaldb/errors.py or portaldb/access.toml: python scripts/reference.py
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cli import cli  # noqa: E402 - the checkout's own, wherever this is run from
from portaldb import errors  # noqa: E402
from portaldb.verify import access, lints  # noqa: E402
from scripts import access_reference  # noqa: E402

WIDTH = 100
BEGIN, END = "<!-- codes: begin -->", "<!-- codes: end -->"
LINTS_BEGIN, LINTS_END = "<!-- lints: begin -->", "<!-- lints: end -->"

INTRODUCTION = """\
# Commands

What `--help` says, command by command. This page is made from it (`python scripts/reference.py`): change `cli.py`.

Every command that talks to a server finds it by `--database`, else by `DATABASE_URL`, else by libpq's own `PG*`
variables and service files, else it is the private cluster of the checkout, if that runs. Progress and warnings go to
standard error, the report alone to standard output. Exit codes: [exit-codes.md](exit-codes.md).
"""

OTHER_CODES = {
    0: "Done, or there was nothing to do.",
    2: "The command line cannot be understood: an unknown command, option or value.",
    130: "Interrupted (Ctrl-C). What was unfinished was rolled back; the same command goes on from there.",
    141: "The reader of the output went away, as `head` does when it has seen enough.",
}
"""The exit codes that no error class has, and what 2 means to the command line itself."""


def contexts(command: click.Command = cli, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Return a context for every command, groups before what they hold; its path is what a person types."""
    name = command.name if parent else "portaldb"
    context = click.Context(command, parent, name, terminal_width=WIDTH, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            if not inner.hidden:
                yield from contexts(inner, context)


def commands_page() -> str:
    """Return docs/commands.md."""
    parts = [INTRODUCTION]
    for context in contexts():
        parts.append(f"## {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


def codes() -> dict[int, str]:
    """Return what each exit code means, in the words of the class that carries it."""
    found = dict(OTHER_CODES)
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, errors.PortalError):
            said = re.sub(r" \(exit code \d+\)", "", (each.__doc__ or "").strip().splitlines()[0])
            found[each.exit_code] = f"{found[each.exit_code]} {said}" if each.exit_code in found else said
    return dict(sorted(found.items()))


def codes_page(page: str) -> str:
    """Return docs/exit-codes.md with its table made anew."""
    rows = [f"| {code} | {meaning} |" for code, meaning in codes().items()]
    table = "\n".join(["| code | what happened |", "|---:|---|", *rows])
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table}\n{END}", page, flags=re.DOTALL)


def lints_page(page: str) -> str:
    """Return docs/verify-lints/README.md with its table made anew."""
    rows = [f"| [{each.stem}]({each.stem}.md) | {each.level} | {each.fault} |" for each in lints.all_lints()]
    table = "\n".join(["| lint | level | fault |", "|---|---|---|", *rows])
    return re.sub(
        f"{LINTS_BEGIN}.*{LINTS_END}", lambda _: f"{LINTS_BEGIN}\n{table}\n{LINTS_END}", page, flags=re.DOTALL
    )


def ci_page(page: str) -> str:
    """Return docs/ci.md with the workflow as the file has it, which a test runs."""
    begin, end = "<!-- workflow: begin -->", "<!-- workflow: end -->"
    workflow = (ROOT / "docs/ci/github-actions.yml").read_text(encoding="utf-8")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n```yaml\n{workflow}```\n{end}", page, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Return all of them as they should be."""
    lints_path = ROOT / "docs/verify-lints/README.md"
    codes_path, grants_path, intended = ROOT / "docs/exit-codes.md", ROOT / "tests/sql/grants.sql", access.read()
    return {
        ROOT / "docs/commands.md": commands_page(),
        codes_path: codes_page(codes_path.read_text(encoding="utf-8")),
        ROOT / "docs/access.md": access_reference.page(intended),
        ROOT / "docs/ci.md": ci_page((ROOT / "docs/ci.md").read_text(encoding="utf-8")),
        grants_path: access_reference.grants(intended, grants_path.read_text(encoding="utf-8")),
        lints_path: lints_page(lints_path.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
