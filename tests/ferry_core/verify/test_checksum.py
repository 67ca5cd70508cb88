from dataclasses import replace

import pytest

from ferry_core.errors import DataError, ServerRole
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose
from ferry_core.tables.table import KeyRange, Table
from ferry_core.verify.checksum import ChunkSum, chunk_sum, row_hashes
from ferry_core.verify.difference import DifferenceKind
from ferry_core.verify.narrow import compare_chunk, compare_rows
from tests.support.table_pair import TablePair

ALL = KeyRange(None, None)


def sums(both: TablePair, table: Table) -> tuple[ChunkSum, ChunkSum]:
    purpose = Purpose.SOURCE_TEXT if table.row_filter else Purpose.SOURCE
    return (
        chunk_sum(both.connect_source(purpose), table, ALL, ServerRole.SOURCE),
        chunk_sum(both.connect_target(), table, ALL, ServerRole.TARGET),
    )


def hashes(both: TablePair, table: Table) -> dict[tuple[str, ...], bytes]:
    return row_hashes(both.connect_source(Purpose.SOURCE), table, ALL, ServerRole.SOURCE)


def different_rows(both: TablePair) -> int:
    """Rows that differ, by their hashes without the id, which is hashed too."""
    table = both.table()
    return len(set(hashes(both, replace(table, columns=table.columns[1:])).values()))


def test_null_empty_and_the_word_null_are_three_values(both: TablePair) -> None:
    both.on_source(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(9), b int, c text, d varbinary(9))",
        "INSERT INTO t VALUES (1, NULL, 7, '', ''), (2, '', 7, '', ''), (3, 'NULL', 7, '', ''), (4, 'N', 7, '', '')",
        "INSERT INTO t VALUES (5, '', NULL, '', ''), (6, '', 7, NULL, ''), (7, '', 7, 'NULL', '')",
        "INSERT INTO t VALUES (8, '', 7, '', NULL)",
    )
    assert different_rows(both) == 8


def test_the_boundary_between_two_texts_matters(both: TablePair) -> None:
    both.on_source(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(9), b varchar(9), c text, d text)",
        "INSERT INTO t VALUES (1, 'a,b', 'c', '', ''), (2, 'a', 'b,c', '', ''), (3, 'a,1:b', 'c', '', '')",
        "INSERT INTO t VALUES (4, '', '', 'a,b', 'c'), (5, '', '', 'a', 'b,c')",
        "INSERT INTO t VALUES (6, NULL, 'N', '', ''), (7, 'N', NULL, '', '')",
    )
    assert different_rows(both) == 7


def test_equal_flips_in_two_rows_do_not_cancel(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, a varchar(9) CHARACTER SET ascii NOT NULL)")
    both.on_source("INSERT INTO t VALUES (1, 'aaaa'), (2, 'bbbb')")
    both.on_target("INSERT INTO t VALUES (1, 'aaac'), (2, 'bbb`')")  # the same bit flipped in both
    crc = f"SELECT BIT_XOR(CRC32(CONCAT(id, a))) FROM `{both.schema}`.t"
    assert both.pair.source.value(crc) == both.pair.target.value(crc), "CRC32 would call these tables equal"
    on_source, on_target = sums(both, both.table())
    assert on_source.rows == on_target.rows == 2
    assert on_source.xor != on_target.xor


def test_the_hash_is_the_same_whatever_the_sessions_character_sets(both: TablePair) -> None:
    own = {
        Flavor.MYSQL: ("j json, v vector(3)", """'{"a": [1.5, "ä", null]}', STRING_TO_VECTOR('[1,2,3]')"""),
        Flavor.MARIADB: ("j json, v uuid, i6 inet6", """'{"a": [1.5, "ä"]}', UUID(), '2001:db8::1'"""),
    }
    columns, values = own[both.pair.flavor]
    both.on_source(
        f"""CREATE TABLE t (id varchar(20) CHARACTER SET latin1 PRIMARY KEY, f float, d double, n decimal(30,10),
          b bit(9), e enum('ä', 'b') CHARACTER SET latin1, s set('x', 'ü'), g varchar(20) CHARACTER SET gbk,
          u char(9) CHARACTER SET ucs2, x varbinary(9), z tinyblob, y year, dt datetime(6), ti time(3),
          ts timestamp(6) NULL, p point, {columns})""",
        f"""INSERT INTO t VALUES ('schlüssel', 1.1, -0e0, 12345678901234567890.0123456789, b'101010101', 'ä',
          'x,ü', '中文', 'ö', X'00FF27', X'5C', 2024, '2024-02-29 23:59:59.999999', '-838:59:58.123',
          '2024-01-01 00:00:00.5', ST_GeomFromText('POINT(1 2)'), {values})""",
        "INSERT INTO t (id) VALUES ('nothing')",
    )
    table = both.table()
    seen = {
        purpose: row_hashes(both.connect_source(purpose), table, ALL, ServerRole.SOURCE)
        for purpose in (Purpose.SOURCE, Purpose.SOURCE_TEXT, Purpose.TARGET, Purpose.CONTROL)
    }
    first, *others = seen.values()
    assert len(first) == 2
    assert others == [first] * 3
    found = {tuple(chunk_sum(both.connect_source(purpose), table, ALL, ServerRole.SOURCE)) for purpose in seen}
    assert len(found) == 1
    assert found.pop()[0] == 2


def test_json_is_compared_as_re_parsed(both: TablePair) -> None:
    if both.pair.flavor is Flavor.MARIADB:
        pytest.skip("MariaDB's JSON is text: compared by its bytes")
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, j json)")
    both.on_source(
        "INSERT INTO t VALUES (1, JSON_OBJECT('n', CAST(1.10 AS DECIMAL(9,2)), 'd', CAST('2024-01-31' AS DATE)))"
    )
    text = both.pair.source.value(f"SELECT j FROM `{both.schema}`.t")
    both.on_target(f"INSERT INTO t VALUES (1, '{text}')")
    kind = f"SELECT JSON_TYPE(JSON_EXTRACT(j, '$.n')) FROM `{both.schema}`.t"
    assert (both.pair.source.value(kind), both.pair.target.value(kind)) == ("DECIMAL", "DOUBLE")
    on_source, on_target = sums(both, both.table())
    assert on_source == on_target
    both.on_target("UPDATE t SET j = JSON_SET(j, '$.n', 1.2)")
    assert sums(both, both.table())[1] != on_source


def test_floats_that_print_alike_differ(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, f float, d double)")
    both.on_source("INSERT INTO t VALUES (1, 16777216, 0.1), (2, 1.1, 1e308), (3, 0, 0)")
    both.on_target("INSERT INTO t VALUES (1, 16777216, 0.1), (2, 1.1, 1e308), (3, 0, 0)")
    assert len(set(sums(both, both.table()))) == 1
    both.on_target("UPDATE t SET f = 16777218 WHERE id = 1")  # prints 16777200 like its neighbour
    assert len(set(sums(both, both.table()))) == 2
    both.on_target("UPDATE t SET f = 16777216, d = 0.1 + 1e-17 WHERE id = 1")  # the next double after 0.1
    assert len(set(sums(both, both.table()))) == 2
    both.on_target("UPDATE t SET d = 0.1 + 1e-18 WHERE id = 1")  # 0.1 itself
    assert len(set(sums(both, both.table()))) == 1


def test_a_row_beyond_max_allowed_packet_is_hashed(both: TablePair) -> None:
    both.on_both(
        "CREATE TABLE t (id int PRIMARY KEY, a longblob, b longtext)",
        "INSERT INTO t VALUES (1, REPEAT('a', 34000000), NULL)",
        "UPDATE t SET b = REPEAT('b', 34000000)",
    )
    assert both.pair.target.value("SELECT @@max_allowed_packet") < 68_000_000
    on_source, on_target = sums(both, both.table())
    assert on_source == on_target
    assert on_source.xor != 0
    both.on_target("UPDATE t SET b = CONCAT(REPEAT('b', 33999999), 'a')")
    assert sums(both, both.table())[1] != on_source


def test_only_the_source_evaluates_the_row_filter(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, city varchar(20))")
    both.on_source("INSERT INTO t VALUES (1, 'Köln'), (2, 'Bonn')")
    both.on_target("INSERT INTO t VALUES (1, 'Köln')")
    on_source, on_target = sums(both, both.table(row_filter="city = 'Köln'"))
    assert on_source == on_target
    assert on_source.rows == 1
    both.on_target("INSERT INTO t VALUES (2, 'Bonn')")
    assert sums(both, both.table(row_filter="city = 'Köln'"))[1].rows == 2


def test_a_warning_is_never_ignored(both: TablePair) -> None:
    both.on_source("CREATE TABLE t (id int PRIMARY KEY, note varchar(20))", "INSERT INTO t VALUES (1, 'abc')")
    with pytest.raises(DataError, match=r"VerificationWarning.*1292"):
        chunk_sum(
            both.connect_source(Purpose.SOURCE_TEXT), both.table(row_filter="note + 0 = 0"), ALL, ServerRole.SOURCE
        )


def test_generated_columns_are_left_out(both: TablePair) -> None:
    both.on_source("CREATE TABLE t (id int PRIMARY KEY, g int AS (id + 1) VIRTUAL)", "INSERT INTO t (id) VALUES (1)")
    both.on_target("CREATE TABLE t (id int PRIMARY KEY, g int AS (id + 2) VIRTUAL)", "INSERT INTO t (id) VALUES (1)")
    on_source, on_target = sums(both, both.table())
    assert on_source == on_target


@pytest.mark.parametrize("kind", ["ENUM", "SET"])
def test_equal_numbers_with_different_member_texts_differ(both: TablePair, kind: str) -> None:
    """Rows are copied by number: a table with other members accepts them all, and every value means something else."""
    column = f"CREATE TABLE t (id int PRIMARY KEY, v {kind}({{}}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)"
    both.on_source(column.format("'\U0001f600', 'b', 'c'"))
    both.on_target(column.format("'?', 'b', 'C'"))
    both.on_both("INSERT INTO t VALUES (1, 2), (2, NULL)")
    on_source, on_target = sums(both, both.table())
    assert on_source == on_target
    both.on_both("INSERT INTO t VALUES (3, 1)")
    on_source, on_target = sums(both, both.table())
    assert on_source.xor != on_target.xor
    both.on_both("DELETE FROM t WHERE id = 3", f"INSERT INTO t VALUES (4, {3 if kind == 'ENUM' else 4})")
    on_source, on_target = sums(both, both.table())
    assert on_source.xor != on_target.xor


def test_negative_zero_is_zero_and_every_other_digit_counts(both: TablePair) -> None:
    """Newer releases of MariaDB store 0 for -0; SQL treats them as equal."""
    both.on_both("CREATE TABLE t (id DOUBLE NOT NULL PRIMARY KEY, d DOUBLE, m DOUBLE(20,3), f FLOAT NOT NULL)")
    smallest, next_to_it = "-2.2250738585072014e-308", "-2.225073858507202e-308"
    both.on_source(f"INSERT INTO t VALUES (-0e0, -0e0, -0e0, -0e0), (1, {smallest}, 1, 1)")
    both.on_target(f"INSERT INTO t VALUES (0, 0, 0, 0), (1, {smallest}, 1, 1)")
    on_source, on_target = sums(both, both.table())
    assert on_source == on_target
    source, target = both.connect_source(Purpose.SOURCE), both.connect_target()
    assert compare_rows(both.table(), ALL, source, target) == []
    for column, value in (("d", next_to_it), ("m", "0.001"), ("f", "1.0000001")):
        both.on_target("DELETE FROM t WHERE id = 1", f"INSERT INTO t VALUES (1, {smallest}, 1, 1)")
        both.on_target(f"UPDATE t SET {column} = {value} WHERE id = 1")
        on_source, on_target = sums(both, both.table())
        assert on_source != on_target, column


@pytest.mark.parametrize("twice", ["(2, 'two')", "(2, 'other')", "(2, 'two'), (2, 'two')"])
def test_a_row_that_is_there_several_times_differs(both: TablePair, twice: str) -> None:
    """As on a target whose UNIQUE index was dropped after the copy began."""
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, a varchar(9))", "INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    table = both.table()
    both.on_target("ALTER TABLE t DROP PRIMARY KEY", f"INSERT INTO t VALUES {twice}")
    both.on_target("INSERT INTO t VALUES (2, 'two')", "DELETE FROM t WHERE a = 'two' LIMIT 1")  # whichever comes last
    source, target = both.connect_source(Purpose.SOURCE), both.connect_target()
    for differing in (compare_rows(table, ALL, source, target), compare_chunk(table, ALL, source, target, 9).differing):
        assert [(one.key, one.kind, one.only_generated) for one in differing] == [
            (("2",), DifferenceKind.CHANGED, False)
        ]
