"""The report as one self-contained page: actors across, relations down, each cell opening its evidence."""

import json
from pathlib import Path

from portaldb.verify import export, tell
from portaldb.verify.outcome import Outcome

_TEMPLATE = Path(__file__).with_name("page.html")


def render(outcome: Outcome) -> str:
    """Return the page."""
    data = export.as_dict(outcome)
    data.pop("failures")
    for told, result in zip(data["results"], outcome.results, strict=True):
        told |= {"who": tell.who(outcome, result), "action": tell.action(result), "right": result.cell.right}
    tried = {result.cell.relation for result in outcome.results if result.cell.command == "select"}
    data["relations"] = list(dict.fromkeys(r.cell.relation for r in outcome.results if r.cell.relation in tried))
    data["relations"].sort(key=lambda name: name not in outcome.access.relations)
    data["actors"] = [{"name": actor.name, "title": actor.title, "role": actor.role} for actor in outcome.access.actors]
    # Inside a script element only "</" could end it early.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return _TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text)
