"""A made-up outcome with every part good and bad, and text that would break out of a careless report."""

from portaldb.verify import access
from portaldb.verify.cells import Cell, Trial
from portaldb.verify.labels import Labels
from portaldb.verify.outcome import Lint, LintFinding, Mutant, Outcome, TestFile
from portaldb.verify.trial import Result

HOSTILE = '</script><b>a fault</b> & "quotes" ]]> \x07\x00\ufffe'


def made_up() -> Outcome:
    """Return it; its random ids differ from call to call, as those of runs do."""
    lints = [
        Lint("0001_fine", "warning", "Nothing.", ""),
        Lint("0002_bad", "error", "</script><b>a fault</b>", "A fix."),
    ]
    findings = [
        LintFinding(lints[1], "public.users", "<!-- <script>"),
        LintFinding(lints[1], "public.x", "", "A reason."),
    ]
    labels = Labels()
    alpha, beta = labels.text("@alpha"), labels.text("@beta")
    trial = Trial("portal_app", f"SELECT FROM users WHERE id = '{beta}'")
    cells: list[tuple[Cell, str | frozenset[str], str]] = [
        (Cell("user", "public.users", "select", "refused", what="COPY", trial=trial), "refused", "no"),
        (Cell("user", "public.users", "select", frozenset({alpha}), what="rows", right="own", trial=trial),
            frozenset({alpha}), "1 of the synthetic rows"),
        (Cell("other", "public.users", "select", frozenset({beta}), what="rows", right="own", trial=trial),
            frozenset({alpha, beta}), f"2 rows, {alpha} too: \x07"),
        (Cell("portal_app", "public.users", "truncate", "refused"), "unknown", "one"),
        (Cell("portal_app", "public.users", "truncate", "refused", trial=trial), "allowed", "another"),
        (Cell("everyone", "public.users", "entry", "as meant", what="catalog"), "not as meant", "gone"),
        (Cell("portal_app", "portal_api", "set role", "refused", trial=trial), "allowed", "done"),
    ]  # fmt: skip
    return Outcome(
        "here", False, access.read(), labels, [Result(*each) for each in cells], 1.0, 170000,
        lints=findings, linted=lints,
        tests=[
            TestFile("a.sql", 3, (f"first {HOSTILE}",)), TestFile("b.sql", 0, (), "elsewhere"), TestFile("c.sql", 9),
        ],
        mutants=[
            Mutant("drop policy", "public.users", "DROP POLICY a", "noticed"),
            Mutant("drop policy", "public.teams", "DROP POLICY b", ""),
            Mutant("drop trigger", "public.jobs", "DROP TRIGGER c", "", "A reason."),
        ],
    )  # fmt: skip
