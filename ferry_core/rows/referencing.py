"""Reads the keys of rows by what they reference: rows that a cascade may have changed, and rows without a parent.

The key literals are as in ``bounds``. Used by ``workers.related_rows`` and ``workers.orphans``.
"""

from collections.abc import Sequence
from itertools import groupby, islice

from ferry_core.errors import ServerRole
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import refuse_warnings
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.codecs import codec
from ferry_core.tables.nullable import rendered
from ferry_core.tables.predicates import after, order_by, where
from ferry_core.tables.table import Key, KeyLiterals, KeySet, Table, TableName


def index_hint(session: Session, cascade: Cascade, role: ServerRole) -> str:
    """FORCE INDEX with an index of the child that begins with the constraint's columns; without one, no index at all.

    InnoDB needs one for the constraint, and its definition is part of SHOW CREATE TABLE; a target table that the user
    made may lack it. An index over prefixes will not do: under a collation by the Unicode algorithm ('ß' = 'ss') equal
    values may have different prefixes, and the servers leave out such rows. FORCE INDEX refuses invisible (MariaDB:
    ignored) ones.
    """
    name = _name(cascade.child, role)
    rows = session.query(
        "SELECT index_name, IF(sub_part IS NULL, HEX(column_name), NULL) FROM information_schema.statistics"
        f" WHERE table_schema = {string(name.schema)} AND table_name = {string(name.name)} AND index_type = 'BTREE'"
        f" AND NOT {session.version.hidden_index} ORDER BY index_name, seq_in_index"
    )
    wanted = {column.name.encode().hex().upper().encode() for column in cascade.referencing}
    for index, parts in groupby(rows, key=lambda row: row[0] or b""):
        if {part for _, part in islice(parts, len(wanted))} == wanted:
            return f" FORCE INDEX ({identifier(index.decode())})"
    return " USE INDEX ()"


def referencing_keys(
    session: Session,
    cascade: Cascade,
    role: ServerRole,
    values: Sequence[KeyLiterals],
    *,
    behind: KeyLiterals | None,
    limit: int,
    hint: str,
    lock_clause: str,
) -> list[KeyLiterals]:
    """Keys of the child's rows that reference one of ``values``, in the key's order, from after ``behind`` on.

    ``hint`` comes from ``index_hint``.
    """
    child = cascade.child
    chosen = where(Key("", cascade.referencing), KeySet(tuple(values)))
    more = f" AND {after(child.key, behind)}" if behind is not None else ""
    return _keys(
        session,
        child,
        f"FROM {_name(child, role).sql}{hint} WHERE {chosen}{more}"
        f" ORDER BY {order_by(child.key)} LIMIT {limit}{lock_clause}",
    )


def orphan_keys(target: Session, cascade: Cascade, behind: KeyLiterals | None, limit: int) -> list[KeyLiterals]:
    """Keys of the target's rows of the child that reference a row which the target does not have."""
    child = cascade.child
    alias = identifier("ferry parent")
    own = [f"{child.target.sql}.{identifier(column.name)}" for column in cascade.referencing]
    theirs = [f"{alias}.{identifier(column.name)}" for column in cascade.referenced]
    equal = " AND ".join(f"{one} = {other}" for one, other in zip(theirs, own, strict=True))
    present = " AND ".join(f"{one} IS NOT NULL" for one in own)
    more = f" AND {after(child.key, behind)}" if behind is not None else ""
    parent = f"SELECT 1 FROM {cascade.parent.target.sql} AS {alias} WHERE {equal}"
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
    return [rendered(table, row) for row in rows]
