"""What a person gets by `pip install`: the package alone, with its SQL, working where there is no checkout."""

import io
import os
import re
import secrets
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import ROOT, clean_environment, drop_database
from psycopg import conninfo

from portaldb.layout import FOLDERS
from scripts import reference

HEAVY = ("psycopg", "rich", "pgparse", "yoyo", "sqlfluff", "docker", "asyncio")
"""What costs a tenth of a second and more to import, and no help needs."""


def call(*argv: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program outside the checkout and return what it printed; fail the test with its words."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=clean_environment() | {"PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def carried() -> dict[str, bytes]:
    """Return the SQL of the tree, by its place below the wheel's portaldb/sql/."""
    return {
        str(path.relative_to(ROOT)): path.read_bytes() for folder in FOLDERS for path in (ROOT / folder).glob("*.sql")
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the sdist, and the wheel from that sdist, as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture
def wheel(built: dict[str, Path]) -> Iterator[zipfile.ZipFile]:
    """Open the wheel."""
    with zipfile.ZipFile(built[".whl"]) as archive:
        yield archive


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do `pip install .` in a fresh environment, dependencies and all, and return its programs' folder."""
    return install(tmp_path_factory.mktemp("environment"), ROOT)


def install(folder: Path, *what: str | Path) -> Path:
    """Make an environment, install into it, and return its programs' folder."""
    call(sys.executable, "-m", "venv", folder, cwd=folder)
    call(folder / "bin/python", "-m", "pip", "install", "--quiet", *what, cwd=folder)
    return folder / "bin"


def site_packages(programs: Path) -> Path:
    """Return where an environment keeps its packages."""
    (found,) = programs.parent.glob("lib/python*/site-packages")
    return found


def test_wheel_puts_the_package_alone_into_site_packages(wheel: zipfile.ZipFile) -> None:
    """No cli, scripts or tests lie about in site-packages, where another project's would shadow them."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"portaldb", next(top for top in tops if top.endswith(".dist-info"))}


def test_wheel_carries_the_tree_s_sql_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    """A release applies what was reviewed: the same files, no more and no fewer."""
    inside = {
        name.removeprefix("portaldb/sql/"): wheel.read(name)
        for name in wheel.namelist()
        if re.match(rf"portaldb/sql/({'|'.join(FOLDERS)})/", name)
    }
    assert inside == carried()
    tests = {name.rpartition("/")[2] for name in wheel.namelist() if name.startswith("portaldb/sql/tests/sql/")}
    assert tests == {path.name for path in (ROOT / "tests/sql").iterdir()}, "verify runs pgTAP from the wheel too"
    assert wheel.read("portaldb/cli.py") == (ROOT / "cli.py").read_bytes()


def test_sdist_carries_the_tree_s_sql_byte_for_byte(built: dict[str, Path]) -> None:
    """Who builds from the sdist applies the same."""
    with tarfile.open(built[".gz"]) as archive:
        files = {
            member.name.split("/", 1)[1]: (archive.extractfile(member) or io.BytesIO()).read()
            for member in archive
            if member.isfile()
        }
    assert {name: text for name, text in files.items() if name.split("/")[0] in FOLDERS} == carried()


def test_installed_command_works_from_an_empty_directory(installed: Path, server: str, tmp_path: Path) -> None:
    """init, migrate, status and verify need no checkout: the wheel has the SQL, pgTAP's tests too."""
    name = f"test_{secrets.token_hex(6)}"
    command, url = installed / "portaldb", conninfo.make_conninfo(server, dbname=name)
    assert call(command, "--version", cwd=tmp_path).startswith("portaldb, version ")
    assert "portaldb migrate" in call(command, "--help", cwd=tmp_path)
    try:
        call(command, "init", cwd=tmp_path, DATABASE_URL=url)
        assert f"{len(carried()) // 2} migrations applied" in call(command, "migrate", cwd=tmp_path, DATABASE_URL=url)
        call(command, "status", "--check", cwd=tmp_path, DATABASE_URL=url)
        assert "✓ pgTAP" in call(command, "verify", cwd=tmp_path, DATABASE_URL=url)
    finally:
        drop_database(server, name)
    assert list(tmp_path.iterdir()) == []
    where = call(installed / "python", "-c", "import portaldb; print(portaldb.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site_packages(installed))


def test_editable_install_leaves_only_the_way_to_the_tree(tmp_path: Path) -> None:
    """`pip install -e .` copies nothing that could grow stale."""
    folder = tmp_path / "environment"
    call(sys.executable, "-m", "venv", folder, cwd=tmp_path)
    before = set(site_packages(folder / "bin").iterdir())
    call(folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", ROOT, cwd=tmp_path)
    added = {path.name for path in set(site_packages(folder / "bin").iterdir()) - before}
    assert {re.sub(r"-[\d.]+\.dist-info$", ".dist-info", name) for name in added} == {
        "_editable_impl_mcp_portal_database.pth",
        "mcp_portal_database.dist-info",
    }
    assert (folder / "bin/portaldb").exists()


def test_cli_py_runs_in_a_checkout(tmp_path: Path) -> None:
    """`python cli.py` is the same command, from wherever it is called."""
    assert "portaldb migrate" in call(sys.executable, ROOT / "cli.py", "--help", cwd=tmp_path)


COMMANDS = {context.command_path: context.command for context in reference.contexts()}


@pytest.mark.parametrize("path", COMMANDS)
def test_command_has_help_with_an_example(path: str) -> None:
    """Every command says what it does in a sentence and shows itself in use, its own name spelt out."""
    command = COMMANDS[path]
    said = command.help or ""
    assert re.match(r"[A-Z].*?[.:]$", said.strip().splitlines()[0])
    if not isinstance(command, click.Group):
        assert re.search(rf"Example:  .*\b{path}\b", said)


@pytest.mark.parametrize("page", reference.pages(), ids=lambda page: str(page.name))
def test_reference_page_is_what_the_command_says(page: Path) -> None:
    """Pages of docs/ and pgTAP's lists are made anew when the command or the access file changes."""
    wanted = reference.pages()[page]
    assert page.read_text(encoding="utf-8") == wanted, "stale: run `python scripts/reference.py`"


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """No command loads the driver or the parser to show its help; --version and completion neither."""
    script = (
        "import os, sys, click\n"
        "from portaldb.layout import load_cli\n"
        "load_cli()\n"
        "cli = (sys.modules.get('cli') or sys.modules['portaldb.cli']).cli\n"
        f"for words in {[path.split()[1:] for path in COMMANDS]!r}:\n"
        "    cli.main([*words, '--help'], 'portaldb', standalone_mode=False)\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert "HEAVY []" in call(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(ROOT))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell: str, tmp_path: Path) -> None:
    """`_PORTALDB_COMPLETE=bash_source portaldb` is what a shell's start-up file evaluates."""
    command = Path(sys.executable).with_name("portaldb")
    said = call(command, cwd=tmp_path, _PORTALDB_COMPLETE=f"{shell}_source")
    assert f"_PORTALDB_COMPLETE={shell}_complete" in said


def test_completion_completes_a_command(tmp_path: Path) -> None:
    """`portaldb mi<TAB>` is `portaldb migrate`."""
    words = {"_PORTALDB_COMPLETE": "bash_complete", "COMP_WORDS": "portaldb mi", "COMP_CWORD": "1"}
    assert call(Path(sys.executable).with_name("portaldb"), cwd=tmp_path, **words) == "plain,migrate\n"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--version"], 0),
        (["nonsense"], 2),
        (["status", "--no-such-option"], 2),
        (["status", "--database", "host=/nowhere dbname=x"], 3),
    ],
)
def test_exit_code_is_the_documented_one(argv: list[str], code: int, tmp_path: Path) -> None:
    """A script can tell a wrong word from an unreachable server."""
    argv = [sys.executable, "-m", "portaldb", *argv]
    done = subprocess.run(argv, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert code in reference.codes()
    assert "Traceback" not in done.stderr


def test_exit_code_of_a_closed_pipe_is_not_that_of_a_finding(tmp_path: Path) -> None:
    """`portaldb … | head` ends with 141 and says nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "portaldb", "migrate", "--help"]
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            argv, cwd=tmp_path, env=clean_environment(), stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")
