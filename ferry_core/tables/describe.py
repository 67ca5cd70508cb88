"""Reads columns, UNIQUE indexes, sizes and engines of tables from information_schema. Used by ``discovery``."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Row, Session
from ferry_core.mysql.version import ServerVersion
from ferry_core.tables.codecs import GEOMETRIES, TEMPORALS
from ferry_core.tables.keys import Index
from ferry_core.tables.table import Column, TableName

UNLIMITED = (1 << 32) - 1
"""Length in bytes of the longest JSON, geometry or LONGBLOB value."""
NUMBER_BYTES = {"bit": 20, "enum": 20, "set": 20, "float": 24, "double": 24, "uuid": 16, "inet6": 16, "inet4": 4}


def columns_of(session: Session, names: Sequence[TableName]) -> dict[TableName, list[Column]]:
    """All columns of these tables, in table order."""
    rows = rows_of(
        session,
        names,
        "columns",
        "column_name, ordinal_position, data_type, column_type, character_set_name, collation_name, is_nullable, extra,"
        " character_octet_length, numeric_precision",
        order="4",
    )
    columns: dict[TableName, list[Column]] = defaultdict(list)
    for row in rows:
        columns[TableName(_text(row[0]), _text(row[1]))].append(_column(row))
    return columns


def indexes_of(session: Session, names: Sequence[TableName], *, unique: bool = True) -> dict[TableName, list[Index]]:
    """The UNIQUE indexes of these tables, or the others, sorted by name: the same at every start."""
    rows = rows_of(
        session,
        names,
        "statistics",
        f"index_name, column_name, sub_part IS NULL, {usable_index(session.version)}, seq_in_index",
        condition=f"non_unique = {int(not unique)}",
        order="3, 7",
    )
    found: dict[TableName, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[TableName(_text(row[0]), _text(row[1]))][_text(row[2])].append(row)
    return {name: [_index(index, parts) for index, parts in of.items()] for name, of in found.items()}


def usable_index(version: ServerVersion) -> str:
    """The condition on information_schema.statistics for indexes that FORCE INDEX accepts for ranges."""
    return f"index_type = 'BTREE' AND NOT {version.hidden_index}"


class Storage(NamedTuple):
    """Estimated rows, estimated bytes per row, and the engine."""

    rows: int = 0
    row_bytes: int = 0
    engine: str = "InnoDB"


def storage_of(session: Session, names: Sequence[TableName]) -> dict[TableName, Storage]:
    """Sizes and engines of these tables."""
    rows = rows_of(session, names, "tables", "table_rows, avg_row_length, engine")
    return {
        TableName(_text(row[0]), _text(row[1])): Storage(int(row[2] or 0), int(row[3] or 0), _text(row[4]))
        for row in rows
    }


def definitions_of(session: Session, names: Sequence[TableName]) -> dict[TableName, str]:
    """SHOW CREATE TABLE of each of these tables. Empty for unreadable tables; dropped ones are left out."""
    found = {}
    for name in names:
        try:
            text = session.row(f"SHOW CREATE TABLE {name.sql}", 2)[1] or b""
        except (ConfigError, DataError) as error:
            if not table_is_gone(error):
                # not allowed, or readable only with other settings: preflight tries again and reports it
                found[name] = ""
        else:
            # It contains literals of other character sets as raw bytes.
            found[name] = text.decode("utf-8", "surrogateescape")
    return found


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _index(name: str, rows: Sequence[Row]) -> Index:
    parts = tuple(None if row[3] is None else row[3].decode() for row in rows)
    whole = all(row[3] is not None and row[4] == b"1" for row in rows)
    return Index(name, parts, whole, usable=all(row[5] == b"1" for row in rows))


def _column(row: Row) -> Column:
    data_type, column_type, extra = _text(row[4]).lower(), _text(row[5]), _text(row[9]).upper()
    return Column(
        name=_text(row[2]),
        ordinal=int(row[3] or 0) - 1,
        data_type=data_type,
        column_type=column_type,
        charset=None if row[6] is None else row[6].decode(),
        collation=None if row[7] is None else row[7].decode(),
        nullable=row[8] == b"YES",
        # The word GENERATED alone is not enough: MySQL says DEFAULT_GENERATED for a default that is an expression.
        generated=re.search(r"\b(VIRTUAL|STORED|PERSISTENT)\b", extra) is not None,
        invisible="INVISIBLE" in extra,
        max_bytes=_max_bytes(data_type, column_type, row[10], row[11]),
        stored=re.search(r"\b(STORED|PERSISTENT)\b", extra) is not None,
    )


def _max_bytes(data_type: str, column_type: str, octets: bytes | None, precision: bytes | None) -> int:
    if data_type in NUMBER_BYTES:
        return NUMBER_BYTES[data_type]
    if data_type in GEOMETRIES | {"json"}:
        return UNLIMITED
    if data_type == "vector":
        return 4 * int((re.search(r"\d+", column_type) or ["2048"])[0])
    if octets is not None:
        return int(octets)
    if data_type in TEMPORALS | {"year"}:
        return 32
    return int(precision or 0) + 4
