"""Every type of both families through copy and stream of one real run, byte-exact at the end."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import all_types
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymysql.cursors import Cursor

IMAGES = ("full", "minimal", "noblob")
LATER = 1000
"""Added to the ids of rows that are inserted while the stream runs."""


@contextlib.contextmanager
def writing(server: Server, image: str) -> "Iterator[Cursor]":
    """A session that logs this kind of row image."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION binlog_row_image = '{image.upper()}'")
        cursor.execute(all_types.SESSION)
        yield cursor


def copied_columns(server: Server, schema: str, table: str) -> str:
    """All columns that accept a value, invisible ones included."""
    rows = server.query(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "AND COALESCE(GENERATION_EXPRESSION, '') = '' AND COLUMN_NAME <> 'id' ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    return ", ".join(f"`{name}`" for (name,) in rows)


def write_everything(pair: Pair, schema: str, table: str, image: str) -> int:
    """Insert, update and delete each value of each type with events of this image; returns the number of changes."""
    names = copied_columns(pair.source, schema, table)
    name = f"`{schema}`.`{table}`"
    done = 0
    with writing(pair.source, image) as cursor:
        done += cursor.execute(f"INSERT INTO {name} (id, {names}) SELECT id + {LATER}, {names} FROM {name}")
        for statement in all_types.updates(pair.family, schema, table, shift=1):
            done += cursor.execute(statement)
        # Tables with a single column, so that a MINIMAL image contains it; and key changes in a row of every type.
        done += cursor.execute(f"UPDATE {name} SET c_longblob = NULL WHERE id = {LATER}")
        done += cursor.execute(f"UPDATE {name} SET id = id + {LATER} WHERE id > {LATER + 2}")
        done += cursor.execute(f"UPDATE {name} SET c_bit_64 = ~c_bit_64, c_set_64 = ~c_set_64 WHERE id MOD 3 = 0")
        done += cursor.execute(f"DELETE FROM {name} WHERE id MOD 4 = 1")
    return done


def test_every_type_is_copied_and_streamed(pair: Pair, schema: str, tmp_path: Path) -> None:
    tables = ["copied", *IMAGES]
    for number, table in enumerate(tables):
        pair.source.execute(
            all_types.ddl(pair.family, schema, table), *all_types.rows(pair.family, schema, table, shift=number)
        )
    pair.source.execute(f"CREATE TABLE `{schema}`.arrived LIKE `{schema}`.copied")
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        changes = sum(write_everything(pair, schema, image, image) for image in IMAGES)
        with writing(pair.source, "full") as cursor:  # none of this existed when the copy ran
            for statement in all_types.rows(pair.family, schema, "arrived", shift=2):
                changes += cursor.execute(statement)
        result = ferry.cut_over()
    found = assert_equal_schemas(pair.source, pair.target, schema)
    print(f"{found.tables} tables of {len(all_types.columns(pair.family))} columns, {changes} rows changed: {found}")
    assert found.tables == 5
    assert found.rows > 5 * all_types.row_count(pair.family)
    assert "no difference" in result


KEYLESS = ("TEXT", "BLOB", "JSON", "GEOM", "POINT", "LINESTRING", "POLYGON", "MULTI", "VECTOR", "CHAR(0)", "GENERATED")
PAD = 30_000
"""Bytes of a row besides its key: with chunks of 64 KiB nearly every key becomes a chunk's bound."""


def as_keys(pair: Pair) -> list[all_types.TypedColumn]:
    """Types that a PRIMARY KEY may have, with their key values."""
    more = [
        all_types.TypedColumn("m_time", "TIME(6)", ("'-00:00:00.000001'", "'-838:59:59.000000'", "'00:00:00.000001'")),
        all_types.TypedColumn(
            "m_set_high",
            "SET(" + ", ".join(f"'s{n}'" for n in range(64)) + ")",
            tuple(str(n) for n in (1, 2**31, 2**32, 2**61, 2**62, 2**63, 2**64 - 1, 2**64 - 2)),
        ),
        all_types.TypedColumn("m_big", "BIGINT UNSIGNED", tuple(str(2**64 - n) for n in range(1, 9))),
        all_types.TypedColumn("m_bits", "BIT(64)", tuple(str(2**64 - n) for n in range(1, 9))),
    ]
    found = [
        column
        for column in all_types.columns(pair.family)
        if column.literals and not any(word in column.ddl.upper() for word in KEYLESS)
    ]
    return found + more


def key_table(pair: Pair, schema: str, column: all_types.TypedColumn) -> int:
    """A table whose key has this type, with a row for each literal; returns the number of different keys."""
    kind = column.ddl.replace(" NULL DEFAULT NULL", "").replace("NULL INVISIBLE", "")
    name = f"`{schema}`.`{column.name}`"
    with writing(pair.source, "full") as cursor:
        cursor.execute(f"CREATE TABLE {name} (k {kind} NOT NULL PRIMARY KEY, n INT NOT NULL, pad LONGBLOB NOT NULL)")
        for number, literal in enumerate(column.literals):
            cursor.execute(f"INSERT IGNORE INTO {name} VALUES ({literal}, {number}, REPEAT('p', {PAD}))")
        cursor.execute(f"ANALYZE TABLE {name}")
        cursor.execute(f"SELECT COUNT(*) FROM {name}")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def change_keys(pair: Pair, schema: str, column: all_types.TypedColumn, image: str) -> int:
    """Rows change in place, are deleted, inserted again, and get another key of their type."""
    name = f"`{schema}`.`{column.name}`"
    first, last = column.literals[0], column.literals[-1]
    with writing(pair.source, image) as cursor:
        done = cursor.execute(f"UPDATE {name} SET n = n + 100 WHERE n MOD 2 = 1")
        done += cursor.execute(f"DELETE FROM {name} WHERE n = {len(column.literals) - 1} OR n = 0")
        done += cursor.execute(f"UPDATE IGNORE {name} SET k = {first}, n = 500 WHERE n IN (1, 101) LIMIT 1")
        done += cursor.execute(f"INSERT IGNORE INTO {name} VALUES ({last}, 900, REPEAT('q', 200))")
    return done


@pytest.mark.slow
def test_every_type_as_a_key(pair: Pair, schema: str, tmp_path: Path) -> None:
    columns = as_keys(pair)
    keys = sum(key_table(pair, schema, column) for column in columns)
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        changes = sum(
            change_keys(pair, schema, column, ("full", "minimal")[number % 2]) for number, column in enumerate(columns)
        )
        ferry.cut_over()
    found = assert_equal_schemas(pair.source, pair.target, schema)
    print(f"{keys} keys of {len(columns)} types, {changes} rows changed: {found}")
    assert found.tables == len(columns)
    assert keys > 3 * len(columns)


# -- JSON that text cannot carry --------------------------------------------------------------------------------------

INEXACT = all_types.JSON_CHANGED_BY_REPARSING


def documents(schema: str, first: int, count: int) -> list[str]:
    """Rows of which every second one changes when it is parsed again."""
    values = [f"({first + n}, {INEXACT[n // 2 % len(INEXACT)] if n % 2 else repr('{}')})" for n in range(count)]
    return [f"INSERT INTO `{schema}`.j VALUES {', '.join(values)}"]


@pytest.fixture
def with_json(mysql_pair: Pair, schema: str) -> str:
    mysql_pair.source.execute(f"CREATE TABLE `{schema}`.j (id INT PRIMARY KEY, j JSON)")
    return schema


def test_inexact_json_is_refused_unless_acknowledged(mysql_pair: Pair, with_json: str, tmp_path: Path) -> None:
    plain = [", ".join(f"({number}, '1')" for number in range(at, at + 500)) for at in (-500, 1000)]
    around = [f"INSERT INTO `{with_json}`.j VALUES {rows}" for rows in plain]  # all that preflight samples
    mysql_pair.source.execute(*documents(with_json, 0, 20), *around)
    selection = {"include": [f"{with_json}.*"]}
    with FerryProcess(tmp_path / "ferry", mysql_pair, tables=selection) as ferry:
        for _ in range(2):  # a restart must not count it as being on the target already
            line = ferry.start().fail(65, "JsonPrecision", f"10 rows of {with_json}.j", "acknowledge: [JsonPrecision]")
            print(line)
        ferry.edit(lambda documents: documents[0]["spec"].update(acknowledge=["JsonPrecision"]))
        ferry.start_streaming()
        ferry.terminate()
        ferry.start_streaming()
        mysql_pair.source.execute(*documents(with_json, 100, 10))
        result = ferry.cut_over()
    assert "15 rows with JSON re-parsed" in result
    reparsed = f"SELECT id, CAST(CAST(j AS CHAR) AS JSON) = j FROM `{with_json}`.j"
    assert all(equal for _, equal in mysql_pair.target.query(reparsed))
    # The text from the source, parsed again.
    expected = f"SELECT id, CAST(CAST(CAST(j AS CHAR) AS JSON) AS CHAR) FROM `{with_json}`.j ORDER BY id"
    found = f"SELECT id, CAST(j AS CHAR) FROM `{with_json}`.j ORDER BY id"
    assert mysql_pair.source.query(expected) == mysql_pair.target.query(found)


@pytest.mark.slow
def test_inexact_json_from_the_stream_is_refused(mysql_pair: Pair, with_json: str, tmp_path: Path) -> None:
    mysql_pair.source.execute(f"INSERT INTO `{with_json}`.j VALUES (1, '{{}}')")
    with FerryProcess(tmp_path / "ferry", mysql_pair, tables={"include": [f"{with_json}.*"]}) as ferry:
        ferry.start_streaming()
        mysql_pair.source.execute(*documents(with_json, 100, 4))
        ferry.fail(65, "JsonPrecision", f"2 rows of {with_json}.j")
        ferry.start().fail(64, "JsonPrecision", f"{with_json}.j")  # preflight finds them, because there are few rows
        # Fixed on the source: the same run continues, and nothing has to be acknowledged.
        mysql_pair.source.execute(f"UPDATE `{with_json}`.j SET j = '[1.5]' WHERE id > 1")
        ferry.start_streaming().cut_over()
    print(assert_equal_tables(mysql_pair.source, mysql_pair.target, f"{with_json}.j"))
