"""The page of `portaldb verify --html`, as a real browser shows it: a planted leak is red, and everything fits."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import outcomes
import pytest
from browser import Page, browser
from conftest import Portaldb, copy_database, drop_database
from psycopg import conninfo
from support import ask

from portaldb.verify import page

RED = {"light": "rgb(179, 38, 30)", "dark": "rgb(255, 123, 114)"}
LEAK = (
    "[...document.querySelectorAll('#matrix button.cell')].find(e => e.ariaLabel.startsWith('public.users, a user:'))"
)
SHOWN = "document.getElementById('evidence').open"


@pytest.fixture(scope="module")
def leaking(
    server: str, templates: Callable[[str], str], portaldb: Portaldb, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Run the command on a database in which a service may change a user's role."""
    name, file = "test_verify_page", tmp_path_factory.mktemp("page") / "isolation.html"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)
    url = conninfo.make_conninfo(server, dbname=name)
    ask(url, "GRANT UPDATE (role) ON public.users TO portal_app")
    assert portaldb("verify", "--live", "--html", str(file), database=url).returncode == 1
    yield file
    drop_database(server, name)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Start the browser."""
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Make a page of every part of a run, good and bad, with text that would break out of a careless one."""
    file = tmp_path / "made-up.html"
    file.write_text(page.render(outcomes.made_up()), encoding="utf-8")
    return file


def within(page: Page) -> None:
    """Hold a page to its window: what is wider scrolls in a frame of its own; and to a silent console."""
    assert page.ask("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert page.said == []


def test_page_carries_everything_and_fetches_nothing(leaking: Path) -> None:
    """The leak is in it once, with its evidence; nothing is loaded from anywhere; and it stays small."""
    text = leaking.read_text(encoding="utf-8")
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    cells = [dict(zip(data["fields"], (data["values"][n] for n in row), strict=True)) for row in data["cells"]]
    (leak,) = (cell for cell in cells if not cell["ok"])
    assert (leak["action"], leak["observed"]) == ("UPDATE (role) on public.users", "allowed")
    assert leak["statement"].startswith('UPDATE "public"."users" SET "role"')
    assert not re.search(r"\b(src|href)=|https?:|url\(|@import|fetch\(", text.split('type="application/json">')[0])
    # Three megabytes for 20,000 cells
    assert len(text) / len(cells) < 150


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_page_shows_a_planted_leak_in_red(tab: Page, leaking: Path, width: int, scheme: str) -> None:
    """The leaking cell is red with a cross, and a click opens the statement that leaks."""
    tab.open(leaking, width, dark=scheme == "dark")
    assert tab.ask("document.getElementById('verdict').textContent") == "✗ not as meant"
    assert tab.ask(f"[...{LEAK}.querySelectorAll('i')].map(e => e.textContent).join('')") == "s·✗·"
    colour = f"getComputedStyle({LEAK}.querySelector('i.bad')).backgroundColor"
    assert tab.ask(colour) == RED[scheme]
    # The privilege is the role's, so it is red for each who acts as it, and for nobody else
    assert tab.ask("document.querySelectorAll('#matrix button.cell.bad').length") == 9
    tab.click(LEAK)
    assert tab.ask(SHOWN)
    first = tab.ask("document.querySelector('#body article.bad').innerText")
    assert 'UPDATE "public"."users" SET "role" = DEFAULT' in first
    assert "meant: refused" in first
    within(tab)
    tab.press("Escape")
    assert not tab.ask(SHOWN)


def test_page_is_usable_by_keyboard(tab: Page, leaking: Path) -> None:
    """The matrix is one stop of the Tab key, the arrows move in it, Enter opens and Escape leads back."""
    tab.open(leaking, 1400)
    assert tab.ask("document.querySelectorAll('#matrix tbody button[tabindex=\"0\"]').length") == 1
    tab.ask("document.querySelector('#matrix tbody button[tabindex=\"0\"]').focus()")
    before = tab.ask("document.activeElement.textContent")
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    tab.press("ArrowDown")
    here = tab.ask("document.activeElement.ariaLabel")
    assert here.startswith("public.mcp_servers, a user:"), f"from {before}"
    tab.press("Enter")
    assert tab.ask(SHOWN)
    tab.press("Escape")
    assert tab.ask("document.activeElement.ariaLabel") == here


@pytest.mark.parametrize("width", [1400, 390])
def test_page_header_stays_in_sight(tab: Page, leaking: Path, width: int) -> None:
    """However far one scrolls, the verdict is there; the relation's name stays beside the cells of the last actor."""
    tab.open(leaking, width)
    tab.ask("scrollTo(0, document.documentElement.scrollHeight)")
    assert tab.ask("scrollY") > 0
    assert tab.ask("document.getElementById('verdict').getBoundingClientRect().top >= 0")
    frame = "document.getElementById('matrix')"
    assert tab.ask(f"{frame}.parentElement.id === '' && !!{frame}.closest('.frame')")
    tab.ask(f"{frame}.closest('.frame').scrollLeft = 9999")
    left = f"{frame}.querySelector('tbody th').getBoundingClientRect().left"
    assert tab.ask(f"{left} >= {frame}.closest('.frame').getBoundingClientRect().left")


@pytest.mark.parametrize("width", [1400, 390])
def test_page_shows_lints_tests_and_mutants(tab: Page, made_up: Path, width: int) -> None:
    """Each part has its section and its number; text from the database stays text."""
    tab.open(made_up, width)
    said = tab.ask("document.getElementById('main').innerText")
    assert "✗ 1 / 3" in said
    for each in (
        "</script><b>a fault</b>", "<!-- <script>", "Accepted: A reason.", "✗ first", "not run: elsewhere",
        "✗ survived: drop policy on public.teams", "lives for a reason: drop trigger on public.jobs", "COPY",
    ):  # fmt: skip
        assert each in said
    assert tab.ask("document.querySelectorAll('#main article b b').length") == 0
    within(tab)
