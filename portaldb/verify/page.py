"""The report as one self-contained page: actors across, relations down, each cell opening its evidence."""

import json
from pathlib import Path
from typing import Any

from portaldb.verify import export, tell
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result

_TEMPLATE = Path(__file__).with_name("page.html")

_FIELDS = (
    "ok", "actor", "relation", "command", "column", "what", "right", "action", "expected", "observed", "statement",
    "answer",
)  # fmt: skip


def render(outcome: Outcome) -> str:
    """Return the page."""
    whole = export.as_dict(outcome)
    data = {key: whole[key] for key in ("ok", "where", "live", "postgresql", "seconds", "lints", "pgtap", "mutants")}
    data["without_tests"] = outcome.without_tests
    data |= _packed([_cell(outcome, result) for result in outcome.results])
    tried = {result.cell.relation for result in outcome.results if result.cell.command == "select"}
    relations = dict.fromkeys(result.cell.relation for result in outcome.results if result.cell.relation in tried)
    data["relations"] = sorted(relations, key=lambda name: name not in outcome.access.relations)
    data["actors"] = [
        {"name": actor.name, "title": actor.title, "role": actor.role, "who": tell.named(actor)}
        for actor in outcome.access.actors
    ]
    # Inside a script element only "</" and "<!--" mean anything.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text)


def _cell(outcome: Outcome, result: Result) -> dict[str, Any]:
    return tell.as_dict(outcome, result) | {"action": tell.action(result), "right": result.cell.right}


def _packed(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Write each different value once, and a cell as the numbers of its values: a tenth of the size."""
    numbers: dict[str, int] = {}
    rows = [
        [numbers.setdefault(json.dumps(cell[field], ensure_ascii=False), len(numbers)) for field in _FIELDS]
        for cell in cells
    ]
    return {"fields": _FIELDS, "values": list(map(json.loads, numbers)), "cells": rows}
