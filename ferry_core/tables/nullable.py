"""A UNIQUE index over columns that may be NULL is a table's key as long as no row has NULL in them.

Without NULL it names rows as any key does. A row with NULL has no name: UNIQUE does not apply to it, and no list of
keys finds it. So the index is a key only if no row has NULL when chunks may be read (``consistency.table_start``), and
every event after that is looked at (``binlog.walker``). Whoever meets NULL raises ``KeyHasNull``: the run starts again,
and from then on the table is one without a key (``run.checkpoints`` records it). It never becomes one with a key again.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ferry_core.errors import ConfigError, DataError, KeyHasNull
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
    """The text by which a checkpoint remembers that this index is the key; empty for every other key."""
    key = table.key
    return ", ".join(map(identifier, (key.index_name, *(column.name for column in key.columns)))) * key.nullable


def has_null(key: Key) -> str:
    """The condition for rows that the key does not name."""
    return " OR ".join(f"{identifier(column.name)} IS NULL" for column in key.columns if column.nullable)


def refuse_null(session: Session, tables: Iterable[Table], lock_clause: str = "") -> None:
    """Raise KeyHasNull if the source has a row with NULL in such a key."""
    for table in tables:
        if table.key.nullable and session.query(_first(table) + lock_clause):
            raise key_has_null(table)


def without_null(session: Session, tables: Iterable[Table]) -> list[Table]:
    """These tables, without keys that contain NULL now. A table that cannot be read is left to preflight."""
    found = []
    for table in tables:
        try:
            refuse_null(session, [table])
        except KeyHasNull:
            found.append(without_key(table))
        except (ConfigError, DataError):
            found.append(table)
        else:
            found.append(table)
    return found


def _first(table: Table) -> str:
    hint = f" FORCE INDEX ({identifier(table.key.index_name)})"
    return f"SELECT 1 FROM {table.source.sql}{hint} WHERE {has_null(table.key)} LIMIT 1"


def rendered(table: Table, row: Row | Sequence[bytes | None]) -> KeyLiterals:
    """A key as a server rendered it."""
    if None in row:
        raise key_has_null(table)
    return tuple((value or b"").decode() for value in row)


def key_has_null(table: Table, why: str = "a row has NULL in it") -> KeyHasNull:
    return KeyHasNull(
        Reason.KEY_HAS_NULL,
        f"the UNIQUE index {table.key.index_name} of {table.id} does not name every row any more ({why}): from now on "
        "the table is copied whole, as one without a key",
        table.id,
    )
