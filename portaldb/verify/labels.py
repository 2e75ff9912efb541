"""The ids that the labels of an access file stand for: other ones in each run, so that no real row is met."""

import re
import uuid
from collections.abc import Iterable
from typing import Any

from psycopg import sql

_LABEL = re.compile(r"'(@[\w-]+)'")


class Labels:
    """A dictionary of labels and ids, both ways; an id that was not given is made when its label is first asked for."""

    def __init__(self, given: dict[str, str] | None = None) -> None:
        self._ids: dict[str, str] = dict(given or {})
        self._labels: dict[str, str] = {}

    def value(self, value: Any) -> Any:  # noqa: ANN401 - a value of the access file
        """Return what stands in the database for a value of the access file."""
        if not (isinstance(value, str) and value.startswith("@")):
            return value
        label = value[1:]
        if label not in self._ids:
            made = str(uuid.uuid4())
            self._ids[label], self._labels[made] = made, label
        return self._ids[label]

    def text(self, value: Any) -> str:  # noqa: ANN401
        """Return a key's value as the server writes it."""
        return str(self.value(value))

    def name(self, text: str) -> str:
        """Return the label of an id that came back from the server, or the text itself."""
        return self._labels.get(text, text)

    def told(self, statement: str) -> str:
        """Write a statement with labels where its ids stand."""
        for made, label in self._labels.items():
            statement = statement.replace(made, f"@{label}")
        return statement

    def literal(self, value: Any) -> sql.Composable:  # noqa: ANN401
        """Write a value of the access file as SQL; { sql = '…' } is SQL already."""
        if isinstance(value, dict):
            return sql.SQL(value["sql"])
        return sql.Literal(self.value(value))

    def filled(self, text: str) -> str:
        """Put ids where a statement has labels, '@alpha'."""
        return _LABEL.sub(lambda match: self.literal(match[1]).as_string(None), text)

    def array(self, values: Iterable[Any]) -> sql.Composable:
        """Write values as an array that takes the type of what it is compared with."""
        inside = ",".join('"' + self.text(value).replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
        return sql.Literal("{" + inside + "}")
