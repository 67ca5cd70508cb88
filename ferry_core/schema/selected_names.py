"""The names of the selected tables, prepared for comparison with statements.

Made by the stream, used by ``statements``.
"""

from collections.abc import Callable, Collection, Iterator

from ferry_core.schema.tokens import UNKNOWN
from ferry_core.tables.table import TableName


class SelectedNames:
    """The selected tables by name (``fold``: ignoring case).

    Built once, so that a statement costs the same for any number of tables.
    """

    def __init__(self, selected: Collection[TableName], *, fold: bool) -> None:
        self.fold: Callable[[str], str] = str.lower if fold else str
        self.by_name = {(self.fold(table.schema), self.fold(table.name)): table for table in selected}


class NamesInStatement:
    """The selected tables by every name that a statement may use for them."""

    def __init__(self, selected: SelectedNames, default_schema: str) -> None:
        self._fold = selected.fold
        self._default = self._fold(default_schema)
        self._by_name = selected.by_name

    def of_chain(self, chain: tuple[str, ...]) -> Iterator[TableName]:
        """``t``, ``s.t``, ``s.t.column`` or ``t.column``: every selected table that these words may mean."""
        parts = [self._fold(part) for part in chain]
        for schema, name in [(self._default, parts[0]), *[tuple(parts[:2])] * (len(parts) > 1)]:
            yield from self._found(schema, name)

    def exactly(self, chain: tuple[str, ...]) -> Iterator[TableName]:
        """The selected table with this name, where a table's name is expected."""
        parts = tuple(self._fold(part) for part in chain)
        yield from self._found(*(parts if len(parts) == 2 else (self._default, parts[-1])))

    def _found(self, schema: str, name: str) -> Iterator[TableName]:
        """The table with this name, or every table that it may mean if some characters are unknown."""
        if UNKNOWN in schema or UNKNOWN in name:
            for (its_schema, its_name), table in self._by_name.items():
                if _may_be(schema, its_schema) and _may_be(name, its_name):
                    yield table
        elif (schema, name) in self._by_name:
            yield self._by_name[schema, name]

    def in_schema(self, schema: str | None) -> frozenset[TableName]:
        """All selected tables of a schema; None is the default schema."""
        wanted = self._default if schema is None else self._fold(schema)
        return frozenset(table for (owner, _), table in self._by_name.items() if _may_be(wanted, owner))

    def mentioned_in(self, text: str) -> frozenset[TableName]:
        """For text that cannot be parsed: a selected table or schema named anywhere in it counts as a change."""
        lowered = text.lower()
        return frozenset(
            table
            for table in self._by_name.values()
            if UNKNOWN in text or table.name.lower() in lowered or table.schema.lower() in lowered
        )


def _may_be(text: str, name: str) -> bool:
    return len(text) == len(name) and all(one in (UNKNOWN, other) for one, other in zip(text, name, strict=True))
