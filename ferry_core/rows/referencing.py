"""Reads the keys of rows by what they reference: rows that a cascade may have changed, and rows without a parent.

The key literals are as in ``bounds``. Used by ``workers.related_rows`` and ``workers.orphans``.
"""

from collections.abc import Sequence

from ferry_core.errors import ServerRole
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import refuse_warnings
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.codecs import codec
from ferry_core.tables.predicates import after, order_by, where
from ferry_core.tables.table import ALL_ROWS, Key, KeyLiterals, KeySet, Table, TableName


def index_over(session: Session, cascade: Cascade, role: ServerRole) -> str:
    """The index of the child that begins with the constraint's columns; empty if there is none.

    InnoDB needs one for the constraint, and its definition is part of SHOW CREATE TABLE; a target table that the user
    made may lack it.
    """
    name = _name(cascade.child, role)
    rows = session.query(
        "SELECT index_name, GROUP_CONCAT(HEX(column_name) ORDER BY seq_in_index) FROM information_schema.statistics"
        f" WHERE table_schema = {string(name.schema)} AND table_name = {string(name.name)} AND index_type = 'BTREE'"
        " GROUP BY index_name ORDER BY index_name"
    )
    wanted = [column.name.encode().hex().upper() for column in cascade.referencing]
    for found, columns in rows:
        if (columns or b"").decode().split(",")[: len(wanted)] == wanted:
            return (found or b"").decode()
    return ""


def referencing_keys(
    session: Session,
    cascade: Cascade,
    role: ServerRole,
    values: Sequence[KeyLiterals],
    *,
    behind: KeyLiterals | None,
    limit: int,
    index: str,
    lock_clause: str,
) -> list[KeyLiterals]:
    """Keys of the child's rows that reference one of ``values``, in the key's order, from after ``behind`` on."""
    child = cascade.child
    chosen = where(Key(index, cascade.referencing), KeySet(tuple(values)))
    forced = f" FORCE INDEX ({identifier(index)})" if index else ""
    more = f" AND {after(child.key, behind)}" if behind is not None else ""
    return _keys(
        session,
        child,
        f"FROM {_name(child, role).sql}{forced} WHERE {chosen}{more}"
        f" ORDER BY {order_by(child.key)} LIMIT {limit}{lock_clause}",
    )


def orphan_keys(target: Session, cascade: Cascade, behind: KeyLiterals | None, limit: int) -> list[KeyLiterals]:
    """Keys of the target's rows of the child that reference a row which the target does not have.

    ``ALL_ROWS`` if nothing names single rows of it.
    """
    child = cascade.child
    alias = identifier("ferry parent")
    own = [f"{child.target.sql}.{identifier(column.name)}" for column in cascade.referencing]
    theirs = [f"{alias}.{identifier(column.name)}" for column in cascade.referenced]
    equal = " AND ".join(f"{one} = {other}" for one, other in zip(theirs, own, strict=True))
    present = " AND ".join(f"{one} IS NOT NULL" for one in own)
    more = f" AND {after(child.key, behind)}" if behind is not None else ""
    parent = f"SELECT 1 FROM {cascade.parent.target.sql} AS {alias} WHERE {equal}"
    if child.whole:
        condition = f"{present} AND NOT EXISTS ({parent})"
        return [ALL_ROWS] if target.query(f"SELECT 1 FROM {child.target.sql} WHERE {condition} LIMIT 1") else []
    return _keys(
        target,
        child,
        f"FROM {child.target.sql} WHERE {present}{more} AND NOT EXISTS ({parent})"
        f" ORDER BY {order_by(child.key)} LIMIT {limit}",
    )


def _name(table: Table, role: ServerRole) -> TableName:
    return table.source if role is ServerRole.SOURCE else table.target


def _keys(session: Session, table: Table, rest: str) -> list[KeyLiterals]:
    literals = ",".join(codec(column, session.flavor).key_literal() for column in table.key.columns)
    rows = session.query(f"SELECT {literals} {rest}")
    refuse_warnings(session, table)
    return [tuple((value or b"").decode() for value in row) for row in rows]
