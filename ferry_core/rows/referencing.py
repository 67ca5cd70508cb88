"""Reads the keys of rows by what they reference: rows that a cascade may have changed, and rows without a parent.

The key literals are as in ``bounds``. Used by ``workers.related_rows`` and ``workers.orphans``.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, islice

from ferry_core.errors import ConnectionLost, ServerRole
from ferry_core.mysql.abandoned import end_abandoned, is_late
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import next_bound, refuse_warnings
from ferry_core.rows.target_keys import known_key_index
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.codecs import codec
from ferry_core.tables.nullable import rendered
from ferry_core.tables.predicates import after, order_by, where
from ferry_core.tables.table import Key, KeyLiterals, KeyRange, KeySet, Table, TableName

WALKED_ROWS = 20_000
"""Of the child, in one statement."""


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


class OrphanWalk:
    """Looks for rows of the child that reference a row which the target does not have, on the target.

    One statement over all rows might never end in time: each step looks at so many rows of the child.
    """

    def __init__(self, cascade: Cascade, behind: KeyLiterals | None = None) -> None:
        self._cascade = cascade
        self._behind = behind
        self.rows = WALKED_ROWS
        self.ended = False

    def step(self, target: Session) -> list[KeyLiterals]:
        """Keys of such rows among the next ones. If the answer is late, the next step looks at fewer."""
        child = self._cascade.child
        index = known_key_index(target, child)
        walked = replace(child, source=child.target, key=replace(child.key, index_name=index), filter_index="")
        try:
            hi = next_bound(target, walked, self._behind, self.rows)
            keys = _orphan_keys(target, self._cascade, KeyRange(self._behind, hi), index)
        except ConnectionLost as error:
            if is_late(error):
                end_abandoned(target)
                self.rows = max(1, self.rows // 2)
            raise
        self._behind, self.ended = hi, hi is None
        return keys


def _orphan_keys(target: Session, cascade: Cascade, among: KeyRange, index: str) -> list[KeyLiterals]:
    child = cascade.child
    alias = identifier("ferry parent")
    own = [f"{child.target.sql}.{identifier(column.name)}" for column in cascade.referencing]
    theirs = [f"{alias}.{identifier(column.name)}" for column in cascade.referenced]
    equal = " AND ".join(f"{one} = {other}" for one, other in zip(theirs, own, strict=True))
    present = " AND ".join(f"{one} IS NOT NULL" for one in own)
    parent = f"SELECT 1 FROM {cascade.parent.target.sql} AS {alias} WHERE {equal}"
    hint = f" FORCE INDEX ({identifier(index)})" if index else ""
    return _keys(
        target,
        child,
        f"FROM {child.target.sql}{hint} WHERE {where(child.key, among)} AND {present} AND NOT EXISTS ({parent})"
        f" ORDER BY {order_by(child.key)}",
    )


def _name(table: Table, role: ServerRole) -> TableName:
    return table.source if role is ServerRole.SOURCE else table.target


def _keys(session: Session, table: Table, rest: str) -> list[KeyLiterals]:
    literals = ",".join(codec(column, session.flavor).key_literal() for column in table.key.columns)
    rows = session.query(f"SELECT {literals} {rest}")
    refuse_warnings(session, table)
    return [rendered(table, row) for row in rows]
