"""The target's indexes that matter for a copy. Used by ``copier`` before its first statement for a table, and by the
verification.
"""

from weakref import WeakKeyDictionary

from ferry_core.errors import DataError
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.describe import usable_index
from ferry_core.tables.table import Table


def target_key_index(session: Session, table: Table) -> str:
    """The UNIQUE index over the key's columns in the key's order. Its name may differ from the source's.

    For columns that the spec names any index that begins with them.
    """
    rows = session.query(
        "SELECT index_name, GROUP_CONCAT(HEX(column_name) ORDER BY seq_in_index), COUNT(sub_part)"
        f" FROM information_schema.statistics WHERE table_schema = {string(table.target.schema)}"
        f" AND table_name = {string(table.target.name)} AND (non_unique = 0 OR {int(table.key.promised)})"
        f" AND {usable_index(session.version)}"
        " GROUP BY index_name HAVING COUNT(*) = COUNT(column_name) ORDER BY index_name <> 'PRIMARY', index_name"
    )
    wanted = [column.name.lower() for column in table.key.columns]
    for name, columns, prefixes in rows:
        parts = [bytes.fromhex(part).decode().lower() for part in (columns or b"").decode().split(",")]
        # Servers ignore the case of a column's name. Preflight has compared the lengths of prefixes.
        if table.key.promised:
            parts = parts[: len(wanted)]
        if parts == wanted and (prefixes != b"0") is table.key.prefixed and name is not None:
            return name.decode()
    kind = "index that begins with" if table.key.promised else "UNIQUE index over"
    raise DataError(
        Reason.TARGET_KEY_MISSING,
        f"{table.target} has no {kind} ({', '.join(column.name for column in table.key.columns)}), the key "
        f"of {table.source}; add it, or let the Ferry create the table",
    )


_known: WeakKeyDictionary[Table, str] = WeakKeyDictionary()


def known_key_index(session: Session, table: Table) -> str:
    """The same, asked for once; empty if the target has no such index (now)."""
    if table not in _known:
        try:
            _known[table] = target_key_index(session, table)
        except DataError:
            return ""
    return _known[table]


def has_hash_unique(session: Session, table: Table) -> bool:
    """Whether a UNIQUE index is enforced by MariaDB itself, not by InnoDB: an index over TEXT or BLOB, or USING
    HASH.
    """
    return table.secondary_unique and bool(
        session.number(
            f"SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = {string(table.target.schema)}"
            f" AND table_name = {string(table.target.name)} AND non_unique = 0 AND index_type = 'HASH'"
        )
    )
