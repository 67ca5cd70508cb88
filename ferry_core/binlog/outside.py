"""A table that is not selected, but a foreign key changes rows of a selected one together with its rows.

The server logs these rows, so nothing is to be done for its events but to refuse those whose cascades were not logged:
by a server that was started with ``innodb_native_foreign_keys=ON`` in between. ``selected`` finds these tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic

from ferry_core.binlog import unresumable
from ferry_core.binlog.followed import M
from ferry_core.binlog.tracked import hides_cascades
from ferry_core.schema.cascades import Reference
from ferry_core.schema.definition import parse
from ferry_core.tables.table import KeyLiterals, TableName


class OutsideParent(Generic[M]):
    """In place of a ``TrackedTable``. It changes no key of ``followed``, one of its children."""

    def __init__(self, name: TableName, followed: M) -> None:
        self._name = name
        self.followed = followed

    def keys(self, kind: int, data: bytes, _end: int) -> list[bytes]:
        if hides_cascades(kind, data):
            raise unresumable.hidden_cascade(self._name)
        return []

    def references(self, _kind: int, _data: bytes, _end: int) -> Sequence[tuple[M, list[Reference]]]:
        return ()

    def filter_values(self, _kind: int, _data: bytes, _end: int) -> None:
        return None

    def decode(self, raw: bytes) -> KeyLiterals:
        raise AssertionError(f"{len(raw)} bytes of a key of {self._name}")


def outside_parents(followed: Iterable[M]) -> Mapping[TableName, M]:
    """Tables that foreign keys with cascades of these ones reference, each with one that does."""
    return {
        key.references: one
        for one in followed
        if "FOREIGN KEY" in one.table.definition
        for key in parse(one.table.definition, one.table.source).foreign_keys
        if key.cascades
    }
