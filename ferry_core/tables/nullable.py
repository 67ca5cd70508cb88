"""A UNIQUE index over columns that may be NULL is a table's key as long as no row has NULL in them. So are columns that
the spec names (``tables.rules[].key``), as long as no two rows have equal values in them either.

Without NULL it names rows as any key does. A row with NULL has no name: UNIQUE does not apply to it, and no list of
keys finds it. So the index is a key only if no row has NULL when chunks may be read (``consistency.table_start``), and
every event after that is looked at (``binlog.walker``). Whoever meets NULL raises ``KeyUnusable``: the run starts
again, and from then on the table is one without a key (``run.checkpoints`` records it). It never becomes one with a key
again.

Equal values need no look at events: an event's key is read again, with all rows that have it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ferry_core.errors import ConfigError, DataError, KeyUnusable
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Row, Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import NO_KEY, Key, KeyLiterals, Table

_CASCADES = re.compile(r"\bON (?:DELETE|UPDATE) (?:CASCADE|SET )")


def may_become_null(definition: str) -> bool:
    """Whether a foreign key may set columns of a table to NULL, of which no event may tell."""
    return _CASCADES.search(definition) is not None


def without_key(table: Table) -> Table:
    """The same table, to be copied whole."""
    return replace(table, key=NO_KEY, secondary_unique=True)


def stored(table: Table) -> str:
    """The text by which a checkpoint remembers that this is the key; empty for every other key.

    Promised columns are a key whichever index gives their order.
    """
    key = table.key
    if not key.conditional:
        return ""
    index = "" if key.promised else key.index_name
    return ", ".join(map(identifier, (index, *(column.name for column in key.columns))))


def has_null(key: Key) -> str:
    """The condition for rows that the key does not name."""
    return " OR ".join(f"{identifier(column.name)} IS NULL" for column in key.columns if column.nullable)


def refuse_unusable(session: Session, tables: Iterable[Table], lock_clause: str = "") -> None:
    """Raise KeyUnusable if rows on the source have NULL in such a key, or equal values in a promised one."""
    for table in tables:
        key = table.key
        if not key.conditional:
            continue
        of = f"SELECT 1 FROM {table.source.sql} FORCE INDEX ({identifier(key.index_name)})"
        if key.nullable and session.query(f"{of} WHERE {has_null(key)} LIMIT 1{lock_clause}"):
            raise key_has_null(table)
        if key.promised:
            names = ",".join(identifier(column.name) for column in key.columns)
            # Without locks: they would block writers until the whole index is read. Equal rows lose nothing meanwhile.
            if session.query(f"{of} GROUP BY {names} HAVING COUNT(*) > 1 LIMIT 1"):
                raise key_not_unique(table)


def with_usable_keys(session: Session, tables: Iterable[Table]) -> list[Table]:
    """These tables, each with the first of its keys that is usable now, if there is one."""
    return [_with_usable_key(session, table) for table in tables]


def _with_usable_key(session: Session, table: Table) -> Table:
    for each in (table, *_with_other_keys(table)):
        try:
            refuse_unusable(session, [each])
        except KeyUnusable:
            continue
        except (ConfigError, DataError):
            return table  # it cannot be read, which preflight reports
        return each
    return without_key(table)


def with_stored_key(table: Table, text: str) -> Table:
    """The table with the key that a checkpoint remembers as this text (``stored``); without a key if it has none such.

    A key that was given up was forgotten there.
    """
    known = (each for each in (table, *_with_other_keys(table)) if not each.key.conditional or stored(each) == text)
    return next(known, without_key(table))


def _with_other_keys(table: Table) -> Iterator[Table]:
    return (replace(table, key=key) for key in table.other_keys)


def rendered(table: Table, row: Row | Sequence[bytes | None]) -> KeyLiterals:
    """A key as a server rendered it."""
    if None in row:
        raise key_has_null(table)
    return tuple((value or b"").decode() for value in row)


def key_has_null(table: Table, why: str = "a row has NULL in it") -> KeyUnusable:
    return KeyUnusable(Reason.KEY_HAS_NULL, _unusable(table, why), table.id)


def key_not_unique(table: Table) -> KeyUnusable:
    return KeyUnusable(Reason.KEY_NOT_UNIQUE, _unusable(table, "rows have equal values in it"), table.id)


def _unusable(table: Table, why: str) -> str:
    names = ", ".join(column.name for column in table.key.columns)
    return (
        f"the key ({names}) of {table.id} does not name every row any more ({why}): from now on the table is copied "
        "whole, as one without a key"
    )
