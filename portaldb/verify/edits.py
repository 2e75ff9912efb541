"""Single-step changes of an expression or a function's body: a condition let go, a comparison turned, a word replaced.

They are textual and know SQL's tokens, not its grammar: some changes are no SQL any more, and the server says which.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<skip>\s+|--[^\n]*|/\*.*?\*/)"
    r"|(?P<string>[eE]?'(?:[^'\\]|''|\\.)*')"
    r'|(?P<word>"(?:[^"]|"")*"|[A-Za-z_]\w*)'
    r"|(?P<sign><=|>=|<>|!=|:=|::|->>|->|@>|<@|=>|=|<|>|.)",
    re.DOTALL,
)
_OPENS = {"WHERE", "ON", "HAVING", "IF", "ELSIF", "WHEN"}
_CLOSES = {
    "THEN", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "RETURNING", "UNION", "HAVING", "WINDOW", "LOOP", "INNER",
    "LEFT", "JOIN", "WHERE", "SET", "WHEN", "ELSE", "END",
}  # fmt: skip
_QUERIES = {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "VALUES", "CONFLICT"}
_TURNED = {"=": "<>", "<>": "=", "!=": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
_WORD = re.compile(r"'[a-z][a-z_]*'")


@dataclass(frozen=True)
class Edit:
    """A changed text, and what was changed in words; `kind` is condition, comparison or literal."""

    kind: str
    told: str
    text: str


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        return self.text.upper()


def edits(text: str) -> Iterator[Edit]:
    """Yield each change of a text once: conditions, comparisons, literals."""
    seen = {text}
    for edit in _all(text, _tokens(text)):
        if edit.text not in seen:
            seen.add(edit.text)
            yield edit


def _all(text: str, tokens: list[_Token]) -> Iterator[Edit]:
    yield from _conditions(text, tokens)
    yield from _comparisons(text, tokens)
    for token in tokens:
        # A literal of one word is a name that something is compared with, and not a message, a format or an id.
        if _WORD.fullmatch(token.text):
            yield _edit("literal", text, token.start, token.end, f"{token.text[:-1]}_else'")


def _tokens(text: str) -> list[_Token]:
    found, depth = [], 0
    for match in _TOKEN.finditer(text):
        if match["skip"] is None:
            depth -= match[0] == ")"
            found.append(_Token(match[0], match.start(), match.end(), depth))
            depth += match[0] == "("
    return found


def _edit(kind: str, text: str, start: int, end: int, new: str) -> Edit:
    old = " ".join(text[start:end].split())
    around = " ".join(text[max(0, start - 30) : start].split())
    told = f"{old} → {new}" if kind == "condition" else f"… {around} {old} → {new}"
    return Edit(kind, told, text[:start] + new + text[end:])


def _conditions(text: str, tokens: list[_Token]) -> Iterator[Edit]:
    """Let each arm of an AND hold always, each arm of an OR never, and take each guard away."""
    for place, token in enumerate(tokens):
        opens = token.word if token.word in _OPENS else ""
        if not opens and token.text != "(" and place:
            continue
        # An expression by itself opens at its first token.
        start = place if not place and token.text != "(" and not opens else place + 1
        depth = token.depth + (token.text == "(")
        end = _end(tokens, start, depth, bounded=bool(opens))
        arms, links = _arms(tokens, start, end, depth)
        if start == end or (len(arms) == 1 and not opens) or tokens[start].word in _QUERIES:
            continue
        if opens in ("IF", "ELSIF") and len(arms) > 1:
            yield _edit("condition", text, tokens[start].start, tokens[end - 1].end, "false")
        for number, (first, last) in enumerate(arms):
            beside = {link for link in (links[number - 1 : number] + links[number : number + 1]) if link}
            new = "true" if "AND" in beside or (not beside and opens not in ("IF", "ELSIF")) else "false"
            yield _edit("condition", text, tokens[first].start, tokens[last - 1].end, new)


def _end(tokens: list[_Token], start: int, depth: int, *, bounded: bool) -> int:
    for place in range(start, len(tokens)):
        token = tokens[place]
        if token.depth < depth or (token.depth == depth and (token.text == ";" or (bounded and token.word in _CLOSES))):
            return place
    return len(tokens)


def _arms(tokens: list[_Token], start: int, end: int, depth: int) -> tuple[list[tuple[int, int]], list[str]]:
    """Split at the ANDs and ORs of this depth; the AND of a BETWEEN is none."""
    arms, links, first, between = [], [], start, False
    for place in range(start, end):
        token = tokens[place]
        if token.depth != depth:
            continue
        if token.word == "BETWEEN":
            between = True
        elif token.word in ("AND", "OR"):
            if not between:
                arms.append((first, place))
                links.append(token.word)
                first = place + 1
            between = False
    arms.append((first, end))
    return [arm for arm in arms if arm[0] < arm[1]], links


def _comparisons(text: str, tokens: list[_Token]) -> Iterator[Edit]:
    for place, token in enumerate(tokens):
        following = [each.word for each in tokens[place + 1 : place + 4]]
        if token.text in _TURNED:
            yield _edit("comparison", text, token.start, token.end, _TURNED[token.text])
        elif token.word == "IS" and following[:1] == ["NOT"]:
            yield _edit("comparison", text, token.start, tokens[place + 1].end, "IS")
        elif token.word == "IS" and following[:1] in (["NULL"], ["DISTINCT"]):
            yield _edit("comparison", text, token.start, token.end, "IS NOT")
        elif token.word == "IN" and following[:1] == ["("]:
            yield _edit("comparison", text, token.start, token.end, "NOT IN")
        elif token.word in ("EXISTS", "BETWEEN") and (not place or tokens[place - 1].word != "NOT"):
            yield _edit("comparison", text, token.start, token.end, f"NOT {token.text}")
        elif token.word == "NOT" and following[:1] in (["EXISTS"], ["BETWEEN"], ["IN"]):
            yield _edit("comparison", text, token.start, token.end, "")
