"""Independently checks whether a target table equals its source table, in definition and rows.

It shares no code with the engine: own SQL, own rendering of values, no import of ferry_core. Rows are compared by a
hash over the hexadecimal text of every column (generated and invisible ones too); only where that differs rows are
fetched, to name keys and columns.
"""

import contextlib
import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pymysql.connections import Connection

# A sum, as in an XOR the hashes of two equal rows of a table without a key would cancel each other out.
_SUM_OF_HASHES = "COALESCE(SUM(CAST(CONV(LEFT(h, 16), 16, 10) AS UNSIGNED)), 0)"
_SHOWN_KEYS = 8
_SHOWN_BYTES = 120
_LARGE = ("tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob")
_STRINGS = ("char", "varchar", "binary", "varbinary", "vector")
_GEOMETRIES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)

_WIDTH = re.compile(r"\b(smallint|mediumint|int|bigint|tinyint(?!\(1\)))\(\d+\)(?! zerofill| unsigned zerofill)")

TableRef = tuple[str, str] | str
"""Schema and name, or both joined by a dot."""


class Comparable(Protocol):
    """The required part of a server: a connection."""

    def connect(self, **options: Any) -> "Connection[Any]": ...


@dataclass(frozen=True)
class Compared:
    """What was found equal."""

    tables: int
    rows: int


@dataclass
class _Side:
    """One table on one server, read through one connection."""

    label: str
    connection: "Connection[Any]"
    schema: str
    name: str
    where: str | None = None
    columns: dict[str, str] = field(default_factory=dict)  # name -> expression of its value as text
    key: list[str] = field(default_factory=list)

    @property
    def sql(self) -> str:
        return f"{_quoted(self.schema)}.{_quoted(self.name)}"

    def query(self, statement: str, arguments: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall())

    def describe(self) -> None:
        """Read columns and key; the table must exist."""
        rows = self.query(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (self.schema, self.name),
        )
        assert rows, f"{self.label}: there is no table {self.schema}.{self.name}"
        self.columns = {name: _rendered(_quoted(name), kind) for name, kind in rows}
        self.key = self._key_columns()

    def _key_columns(self) -> list[str]:
        """PRIMARY, else a unique index over whole NOT NULL columns, else all columns."""
        rows = self.query(
            "SELECT INDEX_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX SEPARATOR '/') "
            "FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0 "
            "GROUP BY INDEX_NAME HAVING SUM(NULLABLE = 'YES') = 0 AND COUNT(SUB_PART) = 0 "
            "AND COUNT(COLUMN_NAME) = COUNT(*) ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME",
            (self.schema, self.name),
        )
        return rows[0][1].split("/") if rows else list(self.columns)

    def _rows_select(self, *expressions: str) -> str:
        condition = f" WHERE ({self.where})" if self.where else ""
        return f"SELECT {', '.join(expressions)} FROM {self.sql}{condition}"

    @property
    def row_text(self) -> str:
        return f"CONCAT_WS(',', {', '.join(self.columns.values())})"

    @property
    def key_text(self) -> str:
        return f"CONCAT_WS(',', {', '.join(self.columns[name] for name in self.key)})"

    def digest(self) -> tuple[int, int]:
        """Row count, and the sum of 64 bits of every row's hash."""
        rows = f"({self._rows_select(f'SHA2({self.row_text}, 256) AS h')}) AS hashed"
        count, hashed, digest = self.query(f"SELECT COUNT(*), COUNT(h), {_SUM_OF_HASHES} FROM {rows}")[0]
        assert count == hashed, f"{self.label}: {count - hashed} rows of {self.sql} could not be rendered"
        return int(count), int(digest)

    def part_digests(self) -> dict[str, tuple[int, int]]:
        """``digest`` of 256 parts of the table, split by the key's hash."""
        part = f"LEFT(SHA2({self.key_text}, 256), 2) AS part"
        rows = f"({self._rows_select(part, f'SHA2({self.row_text}, 256) AS h')}) AS hashed"
        found = self.query(f"SELECT part, COUNT(*), {_SUM_OF_HASHES} FROM {rows} GROUP BY part")
        return {part: (int(count), int(digest)) for part, count, digest in found}

    def part_rows(self, part: str) -> dict[str, str]:
        """Key text -> row hash, for one part; with the number of rows where several have the same text."""
        joined = "AND" if self.where else "WHERE"
        select = self._rows_select(self.key_text, f"SHA2({self.row_text}, 256)")
        found = Counter(self.query(f"{select} {joined} LEFT(SHA2({self.key_text}, 256), 2) = '{part}'"))
        return {key: hashed if times == 1 else f"{hashed} {times} times" for (key, hashed), times in found.items()}

    def row(self, key_text: str) -> dict[str, str]:
        """The rendered columns of the row with this key."""
        select = self._rows_select(*self.columns.values())
        joined = "AND" if self.where else "WHERE"
        found = self.query(f"{select} {joined} {self.key_text} = {self.connection.escape(key_text)}")
        return dict(zip(self.columns, found[0], strict=True)) if found else {}

    def outline(self) -> list[str]:
        """What families and MySQL 5.7 print differently, in one spelling: columns and indexes."""
        columns = self.query(
            "SELECT COLUMN_NAME, REPLACE(REPLACE(COLUMN_TYPE, 'year(4)', 'year'), 'geometrycollection', "
            "'geomcollection'), IS_NULLABLE, "
            "REPLACE(COLLATION_NAME, 'utf8_', 'utf8mb3_'), EXTRA LIKE '%%auto_increment%%' "
            "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (self.schema, self.name),
        )
        indexes = self.query(
            "SELECT INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            (self.schema, self.name),
        )
        return [" ".join(map(str, row)) for row in (*columns, *indexes)]

    @property
    def mariadb(self) -> bool:
        return "MariaDB" in str(self.query("SELECT VERSION()")[0][0])

    @property
    def before_8(self) -> bool:
        """MySQL 5.7 does not print the default collation of a character set."""
        return str(self.query("SELECT VERSION()")[0][0]).startswith("5.7.")

    @property
    def shows_widths(self) -> bool:
        """MySQL 8.0.19 and later print integers without a display width, except TINYINT(1) and ZEROFILL."""
        version = str(self.query("SELECT VERSION()")[0][0])
        return "MariaDB" in version or tuple(map(int, re.findall(r"\d+", version)[:3])) < (8, 0, 19)

    def definition(self, schema_renames: Mapping[str, str]) -> list[str]:
        """SHOW CREATE TABLE without what may differ: names of the table and of its constraints, the next id."""
        lines = str(self.query(f"SHOW CREATE TABLE {self.sql}")[0][1]).splitlines()
        last = re.sub(r" AUTO_INCREMENT=\d+", "", lines[-1])
        body = [_plain(line.strip().rstrip(","), self.name, schema_renames) for line in lines[1:-1]]
        columns = [line for line in body if line.startswith("`")]
        # The order of indexes and constraints is irrelevant.
        return columns + sorted(line for line in body if not line.startswith("`")) + [last]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _plain(line: str, table: str, schema_renames: Mapping[str, str]) -> str:
    line = re.sub(r"^CONSTRAINT `[^`]*` FOREIGN KEY", "CONSTRAINT FOREIGN KEY", line)
    # Releases of a family print these in two ways.
    line = line.replace(" INVISIBLE DEFAULT NULL", " DEFAULT NULL INVISIBLE").replace(" year(4) ", " year ")
    line = line.replace(" CHARACTER SET utf8 COLLATE utf8_", " CHARACTER SET utf8mb3 COLLATE utf8mb3_")
    line = re.sub(rf"^CONSTRAINT `{re.escape(table)}_chk_\d+`", "CONSTRAINT", line)
    for old, new in schema_renames.items():
        line = line.replace(f"REFERENCES `{old}`.", f"REFERENCES `{new}`.")
    return line


def _rendered(column: str, kind: str) -> str:
    """Text that is equal only for equal values; NULL has a text that no value has."""
    if kind in _STRINGS or kind in _GEOMETRIES:
        text = f"HEX({column})"
    elif kind in _LARGE:
        text = f"CONCAT(LENGTH({column}), ':', SHA2({column}, 256))"  # HEX of a big one exceeds max_allowed_packet
    elif kind == "json":
        text = f"SHA2(CAST({column} AS CHAR CHARACTER SET utf8mb4), 256)"
    elif kind in ("enum", "set"):
        text = f"CONCAT(CAST({column} AS UNSIGNED), ':', HEX({column}))"
    elif kind == "bit":
        text = f"CAST({column} AS UNSIGNED)"
    elif kind in ("float", "double"):
        # A bare float prints six digits; adding 0 would lose the sign of -0. MySQL 8.0 and 9.7 print small numbers
        # differently, but as JSON alike; MariaDB has no type JSON.
        text = f"CAST(CAST({column} * 1e0 AS /*!50708 JSON *//*M!100000 CHAR */) AS CHAR)"
        text = f"TRIM(TRAILING '.0' FROM {text})"  # MySQL 5.7 prints 1, others 1.0
    else:
        text = f"HEX(CAST({column} AS CHAR))"
    return f"IFNULL({text}, '~')"


def _names(table: TableRef) -> tuple[str, str]:
    if isinstance(table, str):
        schema, _, name = table.partition(".")
        return schema, name
    return table[0], table[1]


def _connected(server: Comparable) -> "Connection[Any]":
    connection = server.connect(read_timeout=1800)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', group_concat_max_len = 1000000"
        )
    return connection


def _shortened(value: str | None) -> str:
    text = "(no row)" if value is None else str(value)
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}... ({len(text)} characters)"


def assert_equal_tables(
    source: Comparable,
    target: Comparable,
    source_table: TableRef,
    target_table: TableRef | None = None,
    where: str | None = None,
    *,
    definitions: bool = True,
    schema_renames: Mapping[str, str] | None = None,
) -> Compared:
    """Fail, naming definition lines or keys and columns, unless the target table equals the source's.

    ``where`` selects rows of the source; the target must hold exactly those. ``schema_renames`` are applied to tables
    that the source's foreign keys reference.
    """
    target_table = target_table or source_table
    with contextlib.closing(_connected(source)) as one, contextlib.closing(_connected(target)) as other:
        left = _Side("source", one, *_names(source_table), where)
        right = _Side("target", other, *_names(target_table))
        left.describe()
        right.describe()
        if definitions:
            _assert_equal_definitions(left, right, schema_renames or {})
        assert list(left.columns) == list(right.columns), f"columns differ: {list(left.columns)} {list(right.columns)}"
        left_digest, right_digest = left.digest(), right.digest()
        if left_digest != right_digest:
            raise AssertionError(_differences(left, right, left_digest[0], right_digest[0]))
        return Compared(1, left_digest[0])


def assert_equal_schemas(
    source: Comparable,
    target: Comparable,
    source_schema: str,
    target_schema: str | None = None,
    *,
    except_for: Sequence[str] = (),
) -> Compared:
    """``assert_equal_tables`` for every base table of a schema; the target has the same tables and no others."""
    target_schema = target_schema or source_schema
    expected, found = _tables(source, source_schema) - set(except_for), _tables(target, target_schema)
    assert expected == found, (
        f"missing on the target: {sorted(expected - found)}; only there: {sorted(found - expected)}"
    )
    renames = {source_schema: target_schema}
    each = [
        assert_equal_tables(source, target, (source_schema, name), (target_schema, name), schema_renames=renames)
        for name in sorted(expected)
    ]
    return Compared(len(each), sum(one.rows for one in each))


def _tables(server: Comparable, schema: str) -> set[str]:
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW'",
            (schema,),
        )
        return {name for (name,) in cursor.fetchall()}


def _assert_equal_definitions(left: _Side, right: _Side, schema_renames: Mapping[str, str]) -> None:
    if (left.mariadb, left.before_8) != (right.mariadb, right.before_8):
        expected, found = left.outline(), right.outline()
    else:
        expected, found = left.definition(schema_renames), right.definition({})
    if left.shows_widths != right.shows_widths:
        expected, found = ([_WIDTH.sub(r"\1", line) for line in lines] for lines in (expected, found))
    if expected != found:
        diff = difflib.unified_diff(expected, found, f"source {left.sql}", f"target {right.sql}", lineterm="", n=0)
        raise AssertionError("definitions differ:\n" + "\n".join(diff))


def _differences(left: _Side, right: _Side, left_count: int, right_count: int) -> str:
    """The differences for a person: number of rows, keys, columns."""
    left_parts, right_parts = left.part_digests(), right.part_digests()
    missing, ghosts, changed = [], [], []
    for part in sorted(left_parts.keys() | right_parts.keys()):
        if left_parts.get(part) == right_parts.get(part):
            continue
        ours, theirs = left.part_rows(part), right.part_rows(part)
        missing += sorted(ours.keys() - theirs.keys())
        ghosts += sorted(theirs.keys() - ours.keys())
        changed += sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    totals = f"{len(missing)} missing on the target, {len(ghosts)} only there, {len(changed)} with other values"
    lines = [
        f"rows differ: {totals}",
        f"  source {left.sql} {left_count} rows, target {right.sql} {right_count} rows, key ({', '.join(left.key)})",
        "  values as the comparer renders them: hexadecimal for most types",
        *(f"  missing on the target: {_shortened(key)}" for key in missing[:_SHOWN_KEYS]),
        *(f"  only on the target: {_shortened(key)}" for key in ghosts[:_SHOWN_KEYS]),
    ]
    for key in changed[:_SHOWN_KEYS]:
        ours_row, theirs_row = left.row(key), right.row(key)
        lines.append(f"  other values or another number of equal rows: {_shortened(key)}")
        lines += [
            f"    {name}: source {_shortened(ours_row.get(name))} target {_shortened(theirs_row.get(name))}"
            for name in left.columns
            if ours_row.get(name) != theirs_row.get(name)
        ]
    return "\n".join(lines)
