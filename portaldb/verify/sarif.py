"""The report as SARIF 2.1.0, which code scanning services show beside the code (OASIS, sarif-v2.1.0)."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from portaldb import __version__
from portaldb.verify import tell
from portaldb.verify.outcome import Lint, Outcome
from portaldb.verify.places import Places

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True)
class Found:
    """A result: its rule and level, what it is about, what is said, and what makes it the same in another run."""

    rule: str
    level: str
    object: str
    message: str
    same: tuple[str, ...]
    accepted: str = ""


def render(outcome: Outcome, places: Places) -> str:
    """Return the log: a rule for the matrix, for pgTAP, for the mutants and for each lint; what is good is left out."""
    lints = dict.fromkeys([*outcome.linted, *(finding.lint for finding in outcome.lints)])
    rules = [*_RULES, *map(_lint_rule, lints)]
    order = {rule["id"]: place for place, rule in enumerate(rules)}
    seen: Counter[str] = Counter()
    results = [_result(found, order[found.rule], places, seen) for found in _found(outcome)]
    run = {
        "tool": {"driver": {"name": "portaldb verify", "version": __version__, "rules": rules}},
        "automationDetails": {"id": "portaldb verify/", "description": {"text": f"Tenant isolation: {outcome.where}."}},
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if outcome.ok else 1}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _rule(name: str, short: str, full: str, level: str = "error") -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": full},
        "defaultConfiguration": {"level": level},
        # What GitHub sorts alerts by: 7.0 and more is high, 4.0 and more is medium.
        "properties": {"tags": ["security"], "security-severity": "8.0" if level == "error" else "4.0"},
    }


_RULES = [
    _rule(
        "isolation",
        "Somebody reaches what they are not meant to, or not what they are.",
        "A statement was tried as an actor, and what it reached is not what the access file says. Correct the policy "
        "or the grant in a new migration, or the access file where the access is meant. See docs/verify.md.",
    ),
    _rule(
        "pgtap",
        "A pgTAP assertion failed.",
        "A test in tests/sql does not hold on a database that the migrations make. Run it with pg_prove.",
    ),
    _rule(
        "mutant",
        "A weakening went unnoticed.",
        "The database was weakened by one statement and every check stayed green. Add what would notice it to the "
        "access file or the tests, or list it in the access file with a reason.",
    ),
]


def _lint_rule(lint: Lint) -> dict[str, Any]:
    return _rule(lint.stem, lint.fault, f"{lint.fault} {lint.fix} See {lint.page}.", lint.level)


def _found(outcome: Outcome) -> Iterator[Found]:
    for result in outcome.failures:
        cell = result.cell
        evidence = f"\n{tell.statement(outcome, result)}\n→ {outcome.labels.told(result.answer)}" if cell.trial else ""
        same = (cell.actor, cell.relation, cell.command, cell.column, cell.what, outcome.labels.told(cell.only))
        yield Found("isolation", "error", cell.relation, tell.sentence(outcome, result) + evidence, same)
    for finding in outcome.lints:
        message = f"{finding.object}: {finding.detail or finding.lint.fault} {finding.lint.fix}"
        yield Found(
            finding.lint.stem, finding.lint.level, finding.object, message, (finding.object, finding.detail),
            finding.accepted,
        )  # fmt: skip
    for file in outcome.tests or ():
        for said in file.failed:
            yield Found("pgtap", "error", file.name, f"{file.name}: {said}", (file.name, said))
    for mutant in outcome.mutants or ():
        if not mutant.killed_by:
            message = f"{mutant.kind} on {mutant.object} went unnoticed: {mutant.statement}"
            what = (mutant.kind, mutant.object, mutant.statement)
            yield Found("mutant", "error", mutant.object, message, what, mutant.accepted)


def _result(found: Found, index: int, places: Places, seen: Counter[str]) -> dict[str, Any]:
    same = hashlib.sha256("\0".join((found.rule, *found.same)).encode()).hexdigest()[:32]
    seen[same] += 1
    place = places.of(found.object)
    physical = {"artifactLocation": {"uri": _uri(place.path)}, "region": {"startLine": place.line}}
    kind = "function" if "(" in found.object else "resource"
    result: dict[str, Any] = {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": found.level,
        "message": {"text": found.message},
        "locations": [
            {
                "physicalLocation": physical,
                "logicalLocations": [{"fullyQualifiedName": found.object, "kind": kind}],
            }
        ],
        # GitHub reads this name alone; ours holds labels and no id that is random.
        "partialFingerprints": {"primaryLocationLineHash": f"{same}:{seen[same]}"},
    }
    if found.accepted:
        result["suppressions"] = [{"kind": "external", "justification": found.accepted}]
    return result


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
