"""The report files of verify: JSON, JUnit's XML, SARIF; and that a file which cannot be written is refused at once."""

import json
import os
import re
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import outcomes
import pytest
from conftest import ROOT, MakeDatabase, Portaldb
from support import ask, one, paragraph

from portaldb.errors import RefusedError
from portaldb.source import read
from portaldb.verify import export, files, places, report, sarif
from portaldb.verify.outcome import Outcome

SCHEMA = json.loads((ROOT / "tests/py/data/sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
"""The schema of SARIF 2.1.0 as published (OASIS; errata 01), its descriptions left out."""


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """Make up an outcome."""
    return outcomes.made_up()


def sarif_of(outcome: Outcome) -> dict[str, Any]:
    """Return the run of the SARIF log, held to the schema."""
    log = json.loads(sarif.render(outcome, places.find(outcome.access, read(ROOT))))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    found: dict[str, Any] = run
    return found


# SARIF ---------------------------------------------------------------------------------------------------


def test_sarif_has_a_rule_for_each_part_and_a_result_for_each_fault(outcome: Outcome) -> None:
    """What is as meant is left out; what is accepted is suppressed with its reason."""
    run = sarif_of(outcome)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["isolation", "pgtap", "mutant", "0001_fine", "0002_bad"]
    results = run["results"]
    assert [result["ruleId"] for result in results].count("isolation") == len(outcome.failures) == 5
    assert [result["ruleId"] for result in results].count("pgtap") == 1
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in results)
    accepted = {result["ruleId"]: result["suppressions"] for result in results if "suppressions" in result}
    reason = [{"kind": "external", "justification": "A reason."}]
    assert accepted == {"0002_bad": reason, "mutant": reason}
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]


def test_sarif_is_the_same_in_another_run(outcome: Outcome) -> None:
    """The fingerprints hold no random id, and each result has its own, so that an alert stays the same alert."""
    prints = [each["partialFingerprints"]["primaryLocationLineHash"] for each in sarif_of(outcome)["results"]]
    again = [each["partialFingerprints"]["primaryLocationLineHash"] for each in sarif_of(outcomes.made_up())["results"]]
    assert prints == again
    assert len(set(prints)) == len(prints)
    assert sarif_of(outcome)["results"] == sarif_of(outcomes.made_up())["results"]


def test_sarif_names_the_line_that_creates_the_object(outcome: Outcome) -> None:
    """A table's fault stands beside its CREATE TABLE; what no migration makes, beside its entry in the access file."""
    found = places.find(outcome.access, read(ROOT))
    for thing, start in (
        ("public.users", "CREATE TABLE public.users ("),
        ("public.users.email", "CREATE TABLE public.users ("),
        ("public.user_dashboard", "CREATE VIEW public.user_dashboard"),
        ("public.app_team_ids()", "CREATE OR REPLACE FUNCTION public.app_team_ids()"),
        ("policy teams_isolation on public.teams", "CREATE POLICY teams_isolation ON public.teams"),
        ("public.audit_logs_2031_07", "CREATE TABLE public.audit_logs ("),
        ("public._yoyo_log", "[relations._yoyo_log]"),
        ("portal_runner", "portal_runner      = {}"),
    ):
        place = found.of(thing)
        assert (ROOT / place.path).read_text(encoding="utf-8").splitlines()[place.line - 1].startswith(start), thing


def test_sarif_of_a_clean_run_has_no_result(outcome: Outcome) -> None:
    """And says that the run succeeded."""
    good = [result for result in outcome.results if result.ok]
    run = sarif_of(replace(outcome, results=good, lints=[], tests=None, mutants=None))
    assert (run["results"], run["invocations"][0]["exitCode"]) == ([], 0)


# JUnit and JSON ------------------------------------------------------------------------------------------


def test_junit_has_a_suite_for_each_part(outcome: Outcome) -> None:
    """Counts agree with cases, what is accepted or skipped itself says why, and no character breaks the XML."""
    root = ET.fromstring(export.junit(outcome))  # noqa: S314 - our own text
    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["public.users", "portal_api", "lints", "pgTAP", "mutants"]
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert set(element.keys()) == {"name", "tests", "failures", "errors", "skipped", "time"}
        assert element.get("tests") == str(len(cases))
        assert element.get("failures") == str(sum(case.find("failure") is not None for case in cases))
        assert element.get("skipped") == str(sum(case.find("skipped") is not None for case in cases))
        assert all(set(case.keys()) == {"classname", "name", "time"} and len(case) <= 1 for case in cases)
    assert [root.get(key) for key in ("tests", "failures", "skipped")] == ["16", "8", "3"]
    (said,) = [each.get("message") or "" for each in suites["pgTAP"].iter("failure")]
    assert '</script><b>a fault</b> & "quotes" ]]> \\x07\\x00\\xfffe' in said
    assert [each.get("message") for each in root.iter("skipped")] == ["A reason.", "elsewhere", "A reason."]


def test_json_has_every_part(outcome: Outcome) -> None:
    """`ok` speaks for all of them; null is what was not run."""
    found = export.as_dict(outcome)
    assert not found["ok"]
    assert [each["ok"] for each in found["lints"]["findings"]] == [False, True]
    assert [each["ok"] for each in found["pgtap"]] == [False, True, True]
    assert [each["ok"] for each in found["mutants"]] == [True, False, True]
    clean = replace(outcome, results=[], lints=[], tests=None, mutants=None)
    assert (export.as_dict(clean)["ok"], export.as_dict(clean)["pgtap"]) == (True, None)
    for broken in (outcome.lints, outcome.tests, outcome.mutants):
        field = {"LintFinding": "lints", "TestFile": "tests", "Mutant": "mutants"}[type((broken or [])[0]).__name__]
        assert not export.as_dict(replace(clean, **{field: broken}))["ok"], field  # type: ignore[arg-type]


def test_summary_tells_every_fault_and_the_verdict_last(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    """The failures come first, then a line for each part, then the verdict above the prompt; no colour in a pipe."""
    report.show(replace(outcome, tests=[]))
    report.show(replace(outcome, tests=None, without_tests="left out by --without-pgtap"))
    said = capsys.readouterr().out
    for each in (
        "✗ another tenant's user (tenant beta, as portal_app): SELECT on public.users reaches 2 rows: alpha, beta;",
        "✗ error 0002_bad: public.users: <!-- <script>.\n",
        "drop policy",
        "✗ lints    2 rules; 1 finding, 1 accepted for a written reason",
        "✗ mutants  3 tried, 1 killed",
        "· not run: pgTAP (left out by --without-pgtap)",
    ):
        assert each in said
    assert said.rstrip().splitlines()[-1].startswith("✗ Isolation does not hold: here, PostgreSQL 17")
    assert "\x1b" not in said


# Report files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--junit", "--sarif", "--html"])
def test_report_that_cannot_be_written_is_refused_before_the_run(
    make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path, option: str
) -> None:
    """A folder that is not there is told before anything is tried: no database to verify is needed to learn it."""
    wrong = tmp_path / "nowhere" / "report"
    done = portaldb("verify", "--live", option, str(wrong), database="host=/nowhere dbname=x")
    assert f"The report {wrong} cannot be written: No such file or directory." in paragraph(done, 4)


def test_report_files_must_differ(portaldb: Portaldb, tmp_path: Path) -> None:
    """Two reports would overwrite each other."""
    one_file = str(tmp_path / "report")
    done = portaldb("verify", "--junit", one_file, "--html", one_file, database="host=/nowhere dbname=x")
    assert "Two reports would go into" in paragraph(done, 4)
    assert list(tmp_path.iterdir()) == []


def test_report_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    """A write that stops half way leaves yesterday's report; a link stays a link; nothing is left beside."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("yesterday's")
    link.symlink_to(target)
    files.require([link])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(RefusedError, match="File too large"):
            files.write(link, "today's" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_text() == "yesterday's"
    files.write(link, "today's")
    assert (target.read_text(), link.is_symlink()) == ("today's", True)
    assert sorted(tmp_path.iterdir()) == [link, target]


def test_report_goes_to_a_device_as_it_is() -> None:
    """`--junit /dev/stdout` writes there, and takes no file's place."""
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{writer}")
    files.require([path, path])
    files.write(path, "report")
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "report"


def test_reports_of_a_leak(make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path) -> None:
    """The command writes all of them in one run, and each names the leak."""
    url = make_database(migrate=True)
    ask(url, "ALTER POLICY teams_isolation ON public.teams USING (true)")
    names = {name: tmp_path / name for name in ("junit", "sarif", "html")}
    done = portaldb("verify", "--live", *(f"--{name}={path}" for name, path in names.items()), database=url)
    paragraph(done, 1)
    for name, path in names.items():
        assert "public.teams" in path.read_text(encoding="utf-8"), name
    log = json.loads(names["sarif"].read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    first = log["runs"][0]["results"][0]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "migrations/0011_teams.sql"
    assert re.search(r"SELECT on public.teams reaches 3 rows", first["message"]["text"])
    assert one(url, "SELECT count(*) FROM public.teams") == 0
