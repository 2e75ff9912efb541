"""The report for machines: JSON, and JUnit's XML as CI reads it."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from portaldb.verify import tell
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return the whole outcome; the cells that are not as meant stand again by themselves."""
    return {
        "ok": outcome.ok,
        "where": outcome.where,
        "live": outcome.live,
        "postgresql": outcome.version // 10000,
        "seconds": round(outcome.seconds, 2),
        "cells": len(outcome.results),
        "failures": [tell.as_dict(outcome, result) for result in outcome.failures],
        "results": [tell.as_dict(outcome, result) for result in outcome.results],
        "linted": [lint.stem for lint in outcome.linted],
        "lints": [tell.lint_as_dict(finding) for finding in outcome.lints],
    }


def junit(outcome: Outcome, path: Path) -> None:
    """Write JUnit's XML: a suite a relation, a case for each actor, statement and column."""
    suites: dict[str, list[Result]] = {}
    for result in outcome.results:
        suites.setdefault(result.cell.relation, []).append(result)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="portaldb verify" tests="{len(outcome.results)}" failures="{len(outcome.failures)}" '
        f'time="{outcome.seconds:.3f}">',
    ]
    for name, results in suites.items():
        failed = sum(not result.ok for result in results)
        lines.append(f'  <testsuite name={quoteattr(name)} tests="{len(results)}" failures="{failed}">')
        lines += [_case(outcome, result) for result in results]
        lines.append("  </testsuite>")
    lines.append("</testsuites>")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _case(outcome: Outcome, result: Result) -> str:
    name = quoteattr(f"{result.cell.actor}: {tell.action(result)}")
    head = f"    <testcase classname={quoteattr(result.cell.relation)} name={name}"
    if result.ok:
        return f"{head}/>"
    said = tell.sentence(outcome, result)
    evidence = f"{tell.statement(outcome, result)}\n{outcome.labels.told(result.answer)}".strip()
    return f"{head}><failure message={quoteattr(said)}>{escape(evidence)}</failure></testcase>"
