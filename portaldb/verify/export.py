"""The report for machines: JSON, and JUnit's XML as CI reads it."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from portaldb.verify import tell
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return the whole outcome; the cells that are not as meant stand again by themselves. None: not run."""
    return {
        "ok": outcome.ok,
        "where": outcome.where,
        "live": outcome.live,
        "postgresql": outcome.version // 10000,
        "seconds": round(outcome.seconds, 2),
        "cells": len(outcome.results),
        "failures": [tell.as_dict(outcome, result) for result in outcome.failures],
        "lints": {
            "rules": [asdict(lint) | {"page": lint.page} for lint in outcome.linted],
            "findings": [
                {
                    "ok": finding.ok,
                    "lint": finding.lint.stem,
                    "level": finding.lint.level,
                    "object": finding.object,
                    "detail": finding.detail,
                    "accepted": finding.accepted,
                }
                for finding in outcome.lints
            ],
        },
        "pgtap": _parts(outcome.tests),
        "mutants": _parts(outcome.mutants),
        "results": [tell.as_dict(outcome, result) for result in outcome.results],
    }


def _parts(parts: Any) -> list[dict[str, Any]] | None:  # noqa: ANN401 - tests or mutants
    return None if parts is None else [{"ok": part.ok, **asdict(part)} for part in parts]


@dataclass(frozen=True)
class Case:
    """A test case of JUnit's: whose it is, its name, and a failure's sentence and evidence, or why it was let pass."""

    suite: str
    name: str
    failure: str = ""
    evidence: str = ""
    skipped: str = ""


def junit(outcome: Outcome) -> str:
    """Return JUnit's XML: a suite a relation with a case a cell, and one each for the lints, pgTAP and the mutants."""
    suites: dict[str, list[Case]] = {}
    for case in _cases(outcome):
        suites.setdefault(case.suite, []).append(case)
    everything = [case for cases in suites.values() for case in cases]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="portaldb verify" {_counts(everything)} time="{outcome.seconds:.3f}">',
    ]
    for name, cases in suites.items():
        # The time of one suite is not known: it is all of them that take so long.
        lines.append(f'  <testsuite name={_attribute(name)} {_counts(cases)} time="0">')
        lines += map(_case, cases)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _cases(outcome: Outcome) -> Iterator[Case]:
    for result in outcome.results:
        yield _cell(outcome, result)
    found = {finding.lint.stem for finding in outcome.lints}
    for lint in outcome.linted:
        if lint.stem not in found:
            yield Case("lints", lint.stem)
    for finding in outcome.lints:
        fault = f"{finding.object}: {finding.lint.fault} {finding.detail}".strip()
        yield Case(
            "lints", f"{finding.lint.stem}: {finding.object}", "" if finding.ok else fault,
            f"{finding.lint.fix}\n{finding.lint.page}", finding.accepted,
        )  # fmt: skip
    for file in outcome.tests or ():
        said = f"{len(file.failed)} of {file.assertions} failed: {file.failed[0]}" if file.failed else ""
        yield Case("pgTAP", file.name, said, "\n".join(file.failed), file.skipped)
    for mutant in outcome.mutants or ():
        yield Case(
            "mutants", f"{mutant.kind}: {mutant.object}: {mutant.statement}",
            "" if mutant.ok else "Nothing noticed this weakening.", mutant.statement,
            "" if mutant.killed_by else mutant.accepted,
        )  # fmt: skip


def _cell(outcome: Outcome, result: Result) -> Case:
    name = f"{result.cell.actor}: {tell.action(result)}"
    if result.ok:
        return Case(result.cell.relation, name)
    evidence = f"{tell.statement(outcome, result)}\n{outcome.labels.told(result.answer)}".strip()
    return Case(result.cell.relation, name, tell.sentence(outcome, result), evidence)


def _counts(cases: list[Case]) -> str:
    failed = sum(bool(case.failure) for case in cases)
    skipped = sum(bool(case.skipped and not case.failure) for case in cases)
    return f'tests="{len(cases)}" failures="{failed}" errors="0" skipped="{skipped}"'


def _case(case: Case) -> str:
    head = f'    <testcase classname={_attribute(case.suite)} name={_attribute(case.name)} time="0"'
    if case.failure:
        failure = (
            f'<failure type="failure" message={_attribute(case.failure)}>{escape(_legal(case.evidence))}</failure>'
        )
        return f"{head}>{failure}</testcase>"
    if case.skipped:
        return f"{head}><skipped message={_attribute(case.skipped)}/></testcase>"
    return f"{head}/>"


def _attribute(text: str) -> str:
    return quoteattr(_legal(text))


def _legal(text: str) -> str:
    r"""Write what XML 1.0 has no way to hold (§2.2), such as a bell, as \x07."""
    return _ILLEGAL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
