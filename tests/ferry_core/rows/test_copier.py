"""What a copy refuses, what it accepts once proven, and how it handles rows that do not fit."""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest

from ferry_core.api.durations import Quantity
from ferry_core.api.spec import Copy
from ferry_core.errors import DataError, TooLarge
from ferry_core.mysql.session import Purpose, Session
from ferry_core.rows.copier import RowCopier
from ferry_core.tables.table import KeyRange, KeySet
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.all_types import SESSION
from tests.support.compare import assert_equal_tables
from tests.support.servers import Pair, set_global
from tests.support.table_pair import TablePair

ALL = KeyRange(None, None)
MIB = 1 << 20


def test_a_value_that_the_target_cannot_hold_is_an_error_and_nothing_is_kept(
    pair: Pair, both: TablePair, schema: str
) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{schema}`.t VALUES (1, 'short'), (2, 'much too long'), (3, 'short')",
    )
    table = both.selected(f"{schema}.t")[0]
    pair.target.execute(f"ALTER TABLE `{schema}`.t MODIFY v VARCHAR(8)")
    with pytest.raises(DataError, match="for column 'v'"):
        both.copier().copy(table, ALL)
    assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 0


def test_an_excusable_warning_does_not_excuse_a_changed_value(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, e ENUM('a', 'b'))", f"INSERT INTO `{schema}`.t VALUES (1, 2)"
    )
    table = both.selected(f"{schema}.t")[0]
    pair.target.execute(f"ALTER TABLE `{schema}`.t MODIFY e ENUM('a')")
    with pytest.raises(DataError, match="Data truncated"):
        both.copier().copy(table, ALL)
    assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 0
    assert pair.target.value("SELECT 1") == 1
    assert both.target.text("SELECT @@sql_mode").count("STRICT") == 1


def test_legal_old_data_under_a_generated_column_passes(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20), g DATE AS (v) STORED, e ENUM('x', ''))",
        f"INSERT IGNORE INTO `{schema}`.t (id, v, e) VALUES (1, '2024-01-01', 1), (2, 'no date', 'none'), (3, '', '')",
    )
    assert pair.source.value(f"SELECT e + 0 FROM `{schema}`.t WHERE id = 2") == 0
    table = both.selected(f"{schema}.t")[0]
    copier = both.copier()
    for _ in range(2):
        assert copier.copy(table, ALL).rows_sent == 3
        assert_equal_tables(pair.source, pair.target, f"{schema}.t")


OUT_OF_RANGE = {
    "integer": ("INT", "k + 1"),
    "unsigned": ("INT UNSIGNED", "-1 - k"),
    "decimal": ("DECIMAL(3, 1)", "k"),
    "division": ("INT", "k / z"),
    "null": ("INT", "NULLIF(k, k)"),
    "text": ("VARCHAR(3)", "v"),
    "number": ("INT", "v"),
    "characters": ("VARCHAR(20) CHARACTER SET latin1", "v"),
    "date": ("DATE", "v"),
    "parsed date": ("DATE", "STR_TO_DATE(v, '%Y-%m-%d')"),
    "sum of dates": ("DATETIME", "'9999-12-31' + INTERVAL k DAY"),
    "members": ("ENUM('a')", "v"),
    "bits": ("BIT(2)", "k"),
    "JSON": ("INT", "JSON_EXTRACT(JSON_QUOTE(v), '$')"),
}
"""Types of generated columns and expressions whose values a strict server refuses."""


FUNCTIONAL = {
    "decimal": "CAST(k AS DECIMAL(3, 1))",
    "text": "CAST(v AS CHAR(3))",
    "number": "CAST(v AS UNSIGNED)",
    "date": "CAST(v AS DATE)",
    "JSON": "CAST(JSON_EXTRACT(JSON_QUOTE(v), '$') AS UNSIGNED)",
    "range of JSON": "CAST(JSON_EXTRACT(CAST(k AS JSON), '$') AS DECIMAL(3, 1))",
}
"""The same as expressions of indexes."""


@pytest.mark.parametrize("how", ["STORED", "VIRTUAL", "VIRTUAL, KEY (g)", "STORED NOT NULL", "VIRTUAL NOT NULL"])
@pytest.mark.parametrize("case", OUT_OF_RANGE)
def test_generated_values_that_a_strict_server_refuses(
    pair: Pair, both: TablePair, schema: str, case: str, how: str
) -> None:
    kind, expression = OUT_OF_RANGE[case]
    if pair.family is Family.MARIADB:  # whose generated columns are never declared NOT NULL
        how = how.removesuffix(" NOT NULL")
    _assert_copied(pair, both, schema, f"g {kind} AS ({expression}) {how}")


@pytest.mark.parametrize("files", ["ON", "OFF"])
def test_a_big_row_whose_generated_value_a_strict_server_refuses(
    pair: Pair, both: TablePair, schema: str, files: str
) -> None:
    table = f"`{schema}`.t"
    pair.source.execute(
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE {table} (id INT PRIMARY KEY, k INT, v LONGTEXT, g INT AS (k + 1) STORED)",
        f"INSERT IGNORE INTO {table} (id, k, v) VALUES (1, 2147483647, REPEAT('\\\\', {17 * MIB})), (2, 0, 'small')",
    )
    (selected,) = both.selected(f"{schema}.t")
    with set_global(pair.target, f"local_infile = {files}"):
        assert both.copy_all([selected]) == 2
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")


@pytest.mark.parametrize("case", FUNCTIONAL)
def test_indexes_over_values_that_a_strict_server_refuses(mysql_pair: Pair, schema: str, case: str) -> None:
    with contextlib.closing(TablePair(mysql_pair)) as both:
        _assert_copied(mysql_pair, both, schema, f"KEY (({FUNCTIONAL[case]}))")


def _assert_copied(pair: Pair, both: TablePair, schema: str, member: str) -> None:
    table = f"`{schema}`.t"
    pair.source.execute(
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE {table} (id INT PRIMARY KEY, k INT, z INT, v VARCHAR(20) CHARACTER SET utf8mb4, {member})",
        f"INSERT IGNORE INTO {table} (id, k, z, v) VALUES (1, 1, 1, '1'), (2, 2147483647, 0, 'no date 🚢')",
    )
    copier = both.copier()
    (selected,) = both.selected(f"{schema}.t")
    for _ in range(2):
        assert copier.copy(selected, ALL).rows_sent == 2
        assert_equal_tables(pair.source, pair.target, f"{schema}.t")


def test_a_warning_of_the_row_filter_is_an_error(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{schema}`.t VALUES (1, '1'), (2, 'two')",
    )
    rules = [{"match": f"{schema}.t", "where": "v = 1"}]
    table = both.selected(f"{schema}.t", rules=rules)[0]
    with pytest.raises(DataError, match=r"SourceWarning: reading .* 1292"):
        both.copier(text=True).copy(table, ALL)


def test_rows_move_in_and_out_of_a_filter(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET utf8mb4)",
        f"INSERT INTO `{schema}`.t VALUES (1, 'Zürich'), (2, 'Genève'), (3, '東京'), (4, NULL)",
    )
    where = "v IN ('Zürich', '東京') -- and no more"
    table = both.selected(f"{schema}.t", rules=[{"match": f"{schema}.t", "where": where}])[0]
    assert both.copy_all([table]) == 2
    pair.source.execute(
        f"UPDATE `{schema}`.t SET v = 'Bern' WHERE id = 1", f"UPDATE `{schema}`.t SET v = '東京' WHERE id = 2"
    )
    keys = KeySet((("1",), ("2",), ("3",), ("4",), ("5",)))
    result = both.copier(text=True, lock=" LOCK IN SHARE MODE").copy(table, keys)
    assert (result.rows_asked, result.rows_sent, result.deleted_missing) == (5, 2, 1)
    assert_equal_tables(pair.source, pair.target, f"{schema}.t", where="id IN (2, 3)")


def test_a_unique_value_that_moved_replaces_its_old_row(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, u INT UNIQUE)",
        f"INSERT INTO `{schema}`.t VALUES (0, 10), (-1, 11), (2, 12)",
    )
    table = both.selected(f"{schema}.t")[0]
    assert table.secondary_unique
    both.copy_all([table])
    pair.source.execute(
        f"UPDATE `{schema}`.t SET u = NULL WHERE id = 0",
        f"UPDATE `{schema}`.t SET u = 10 WHERE id = -1",
        f"UPDATE `{schema}`.t SET u = 11 WHERE id = 0",
    )
    both.copier().copy(table, KeySet((("0",), ("-1",))))
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")


@pytest.mark.parametrize("more", ["", ", UNIQUE (n)", ", d TEXT, UNIQUE (d, n)"])
def test_values_that_move_under_a_hash_index(mariadb_pair: Pair, schema: str, more: str) -> None:
    """MariaDB's UNIQUE index over TEXT, which its REPLACE handles wrongly under READ COMMITTED."""
    mariadb_pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, b TEXT, UNIQUE (b), n INT{more})",
        f"INSERT INTO `{schema}`.t (id, b, n) VALUES (1, 'aaa', 1), (2, 'bbb', 2), (3, 'ccc', 3), (4, NULL, 4)",
    )
    with contextlib.closing(TablePair(mariadb_pair)) as both:
        table = both.selected(f"{schema}.t")[0]
        both.copy_all([table])
        mariadb_pair.source.execute(
            f"UPDATE `{schema}`.t SET b = 'x' WHERE id = 1",
            f"UPDATE `{schema}`.t SET b = 'aaa' WHERE id = 2",
            f"UPDATE `{schema}`.t SET b = 'bbb' WHERE id = 1",
            f"UPDATE `{schema}`.t SET b = NULL WHERE id = 3",
            f"UPDATE `{schema}`.t SET b = 'ccc' WHERE id = 4",
        )
        # Row 4 has row 3's value, and comes before it.
        for keys in ((("1",), ("2",), ("4",)), (("3",),)):
            both.copier().copy(table, KeySet(keys))
    assert_equal_tables(mariadb_pair.source, mariadb_pair.target, f"{schema}.t")


def test_a_target_without_the_key_is_named(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    table = both.selected(f"{schema}.t")[0]
    pair.target.execute(f"ALTER TABLE `{schema}`.t DROP PRIMARY KEY")
    with pytest.raises(DataError, match=r"TargetKeyMissing: .*\(id\)"):
        both.copier().copy(table, KeySet((("1",),)))


@pytest.fixture(params=[family.value for family in Family])
def small_packets(request: pytest.FixtureRequest, make_server: ServerFactory) -> Iterator[TablePair]:
    source, target = (make_server(request.param, max_allowed_packet=str(MIB)) for _ in range(2))
    it = TablePair(Pair(source, target))
    yield it
    it.close()


def test_rows_too_large_together_are_split_and_alone_are_fetched_raw(small_packets: TablePair) -> None:
    both, pair = small_packets, small_packets.pair
    large = "LONGTEXT CHARACTER SET utf8mb4"
    json = "JSON" if pair.family is Family.MYSQL else large
    pair.source.execute(
        "CREATE DATABASE s",
        f"CREATE TABLE s.t (id INT PRIMARY KEY, b LONGBLOB, c {large}, u TEXT CHARACTER SET utf16, j {json}, "
        "d DECIMAL(5,2), x BIT(5), u2 INT UNIQUE)",
        *(
            f"INSERT INTO s.t VALUES ({row}, REPEAT(X'005C270A2C1A', 20000), REPEAT('ü\\\\', {row * 100}), "
            f"'ü', '[1]', 1.5, 3, {row})"
            for row in range(1, 41)
        ),
        *(f"INSERT INTO s.t (id, x) VALUES ({row}, 1)" for row in range(100, 103)),
        "UPDATE s.t SET b = REPEAT(X'00FF5C27', 200000) WHERE id = 100",
        "UPDATE s.t SET c = REPEAT('日本', 150000) WHERE id = 101",
        "UPDATE s.t SET b = REPEAT(X'5C', 600000), c = REPEAT('a', 500000), j = '{}' WHERE id = 102",
    )
    table = both.selected("s.t")[0]
    with pytest.raises(TooLarge):
        both.copier().copy(table, ALL)
    sent = both.copy_all([table], Copy(chunk_target_bytes=Quantity("64Mi")))
    print(sent, "rows")
    assert sent == 43
    assert_equal_tables(pair.source, pair.target, "s.t")

    pair.source.execute(
        "DELETE FROM s.t WHERE id = 100", "UPDATE s.t SET u2 = 500, c = REPEAT('b', 700000) WHERE id = 101"
    )
    result = both.copier().copy(table, KeySet(tuple((str(key),) for key in (1, 100, 101, 102))))
    assert (result.rows_sent, result.deleted_missing) == (3, 1)
    assert_equal_tables(pair.source, pair.target, "s.t")


def test_a_copier_works_again_after_an_error(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        SESSION, f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (0)"
    )
    table = both.selected(f"{schema}.t")[0]
    copier = both.copier()
    pair.target.execute(f"RENAME TABLE `{schema}`.t TO `{schema}`.away")
    with pytest.raises(DataError):
        copier.copy(table, ALL)
    pair.target.execute(f"RENAME TABLE `{schema}`.away TO `{schema}`.t")
    assert copier.copy(table, ALL).rows_sent == 1
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")


@pytest.mark.parametrize("family", [family.value for family in Family])
def test_rows_of_20_mb_fit_a_packet_of_32_mb(family: str, make_server: ServerFactory) -> None:
    source, target = (make_server(family, max_allowed_packet="32M") for _ in range(2))
    pair = Pair(source, target)
    parts = ("REPEAT(X'5C', 20000000)", "REPEAT(X'27005C0A', 5000000)", "REPEAT('x', 20000000)", "'small'")
    pair.source.execute(
        "CREATE DATABASE s",
        "CREATE TABLE s.t (id VARCHAR(20) CHARACTER SET gbk PRIMARY KEY, b LONGBLOB, c LONGBLOB, n INT)",
        *(f"INSERT INTO s.t VALUES (_gbk X'815C3{at}', {part}, NULL, {at})" for at, part in enumerate(parts)),
        # 36 MB in one row, written in two steps: more than either packet.
        "UPDATE s.t SET c = REPEAT('y', 16000000) WHERE n = 0",
    )
    both = TablePair(pair)
    table = both.selected("s.t")[0]
    assert both.copy_all([table]) == len(parts)
    keys = both.keys(table)
    result = both.copier().copy(table, KeySet(tuple(keys)))
    assert (result.rows_sent, result.deleted_missing) == (len(parts), 0)
    both.close()
    digest = "SELECT GROUP_CONCAT(HEX(id), ':', SHA2(b, 256), ':', IFNULL(SHA2(c, 256), '-') ORDER BY n) FROM s.t"
    assert pair.source.value(digest) == pair.target.value(digest)


@pytest.mark.parametrize("family", [family.value for family in Family])
def test_a_target_with_smaller_packets_accepts_everything_but_json(family: str, make_server: ServerFactory) -> None:
    pair = Pair(make_server(family, max_allowed_packet="64M"), make_server(family, max_allowed_packet="8M"))
    pair.source.execute(
        "CREATE DATABASE s",
        "CREATE TABLE s.t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT CHARACTER SET utf8mb4)",
        "INSERT INTO s.t VALUES (1, REPEAT('x', 20000000), NULL), (2, NULL, REPEAT('ü', 9000000))",
        "CREATE TABLE s.j (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO s.j VALUES (7, CONCAT('\"', REPEAT('x', 9000000), '\"'))",
    )
    both = TablePair(pair)
    documents, table = both.selected("s.*")
    assert both.copy_all([table]) == 2
    lengths = "SELECT id, SHA2(b, 256), SHA2(c, 256) FROM s.t ORDER BY id"
    assert pair.source.query(lengths) == pair.target.query(lengths)
    if pair.family is Family.MYSQL:
        with pytest.raises(DataError, match=r"RowTooLarge: a row of s\.j does not fit"):
            both.copier().copy(documents, ALL)
    both.close()


@pytest.fixture
def poor(mysql_pair: Pair, schema: str) -> Iterator[TablePair]:
    """Accounts that may not lengthen the server's list of 1024 warnings, as is usual."""
    name = f"p{schema[-8:]}"
    for server in (mysql_pair.source, mysql_pair.target):
        server.execute(
            f"CREATE USER {name}@'%' IDENTIFIED BY 'pw'",
            f"GRANT ALL ON `{schema}`.* TO {name}@'%'",
        )
    both = TablePair(mysql_pair)
    for session in (both.plain, both.text, both.target):
        session.close()
    source = dataclasses.replace(mysql_pair.source.endpoint(), user=name, password="pw")
    target = dataclasses.replace(mysql_pair.target.endpoint("target"), user=name, password="pw")
    both.plain, both.text = (Session(source, purpose) for purpose in (Purpose.SOURCE, Purpose.SOURCE_TEXT))
    both.target = Session(target, Purpose.TARGET)
    yield both
    both.close()
    for server in (mysql_pair.source, mysql_pair.target):
        server.execute(f"DROP USER {name}@'%'")


UTF8MB3_KEY = (
    "CREATE TABLE `{}`.t (a VARCHAR(20) CHARACTER SET utf8mb3, b VARCHAR(20) CHARACTER SET utf8mb3, v VARCHAR(9),"
    " PRIMARY KEY (a, b))"
)


def test_deprecations_do_not_hide_a_warning_that_matters(mysql_pair: Pair, poor: TablePair, schema: str) -> None:
    """Each literal of a utf8mb3 key causes one; the server lists 1024 and only counts the others."""
    mysql_pair.source.execute(
        UTF8MB3_KEY.format(schema),
        f"INSERT INTO `{schema}`.t VALUES " + ", ".join(f"('{n:04}', 'x', '{n}')" for n in range(1200)),
    )
    assert poor.plain.number("SELECT @@max_error_count") == 1024
    table = poor.selected(f"{schema}.t", rules=[{"match": "*.t", "where": "v + 0 >= 0"}])[0]
    keys, copier = tuple(poor.keys(table)), poor.copier(text=True)
    assert copier.copy(table, KeySet(keys)).rows_sent == 1200
    mysql_pair.source.execute(f"UPDATE `{schema}`.t SET v = '7 up' WHERE a = '0700'")
    with pytest.raises(TooLarge, match=r"WarningsUnlisted.* 1025 warnings, of which the server lists 1024"):
        copier.copy(table, KeySet(keys))
    assert copier.copy(table, KeySet(keys[:500])).rows_sent == 500
    with pytest.raises(DataError, match=r"SourceWarning.*1292 Truncated incorrect DOUBLE value: \(not shown\)"):
        copier.copy(table, KeySet(keys[500:1000]))
    mysql_pair.source.execute(f"DELETE FROM `{schema}`.t")
    assert copier.copy(table, KeySet(keys)).deleted_missing == 1200


def test_a_warning_that_the_server_never_lists_stops_the_copy(mysql_pair: Pair, poor: TablePair, schema: str) -> None:
    mysql_pair.source.execute(UTF8MB3_KEY.format(schema), f"INSERT INTO `{schema}`.t VALUES ('a', 'b', '7 up')")
    table = poor.selected(f"{schema}.t", rules=[{"match": "*.t", "where": "v + 0 >= 0"}])[0]
    mysql_pair.source.execute("SET GLOBAL max_error_count = 0")
    try:
        with Session(poor.text.endpoint, Purpose.SOURCE_TEXT) as session:
            copier = RowCopier(session, poor.target, poor.fence)
            with pytest.raises(DataError, match=r"lists 0: grant SESSION_VARIABLES_ADMIN .* max_error_count"):
                copier.copy(table, KeySet((("_utf8mb3 0x61", "_utf8mb3 0x62"),)))
    finally:
        mysql_pair.source.execute("SET GLOBAL max_error_count = DEFAULT")


def test_a_target_table_that_spells_its_columns_otherwise(pair: Pair, both: TablePair, schema: str) -> None:
    """Somebody else has made it: servers ignore the case of a column's name."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{schema}`.t VALUES (1, 'one'), (2, 'two')",
    )
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t (Id INT PRIMARY KEY, V VARCHAR(20))")
    (table,) = both.selected(f"{schema}.t")
    assert both.copy_all([table]) == 2
    both.copier().copy(table, KeySet((("2",), ("3",))))  # deletes 3
    assert pair.target.query(f"SELECT * FROM `{schema}`.t ORDER BY id") == [(1, "one"), (2, "two")]


def test_an_index_over_the_key_that_the_optimizer_must_not_use(pair: Pair, both: TablePair, schema: str) -> None:
    hidden = "INVISIBLE" if pair.target.family is Family.MYSQL else "IGNORED"
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT NOT NULL, v INT, UNIQUE KEY b (id))",
        f"ALTER TABLE `{schema}`.t ADD UNIQUE KEY a (id) {hidden}",
        f"INSERT INTO `{schema}`.t VALUES (1, 1), (2, 2)",
    )
    (table,) = both.selected(f"{schema}.t")
    assert both.copy_all([table]) == 2
    both.copier().copy(table, KeySet((("2",), ("3",))))  # deletes 3
    assert pair.target.query(f"SELECT * FROM `{schema}`.t ORDER BY id") == [(1, 1), (2, 2)]
