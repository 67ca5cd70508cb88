"""Every type that a key may have, on real servers: the literals of a change find exactly the row that changed."""

import struct

import pytest

from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.table_map import WireColumn
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.codecs import codec
from ferry_core.tables.families import crossing
from ferry_core.tables.predicates import where
from ferry_core.tables.table import Column, KeyLiterals, KeySet, Table
from tests.support.servers import Pair, Server
from tests.support.stream import Streaming
from tests.support.tables import describe

# Definition of the key's columns, the key, and one list of values per row.
INTEGERS = {
    f"{kind}{sign}".lower().replace(" ", "_"): (f"k {kind}{sign} NOT NULL", values)
    for kind, bits in {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}.items()
    for sign, values in (
        ("", [str(-(2 ** (bits - 1))), "-1", "0", "1", str(2 ** (bits - 1) - 1)]),
        (" UNSIGNED", ["0", "1", str(2 ** (bits - 1)), str(2**bits - 1)]),
    )
}
BYTES = ["''", "0x00", "0x0001", "0x61", "0x6100", "0x27225c0a", "0xff"]
TEXTS = ["''", "'a'", "'B'", "'it''s'", r"'back\\slash'", "'ünï'", "'0x41'", "'a b'"]
COMMON = {
    **INTEGERS,
    "decimal": ("k DECIMAL(20,6) NOT NULL", ["-99999999999999.999999", "-1", "0", "0.000001", "12345678901234.5"]),
    "decimal_whole": ("k DECIMAL(9,0) NOT NULL", ["-999999999", "0", "999999999"]),
    "decimal_wide": ("k DECIMAL(65,30) NOT NULL", ["9" * 35 + "." + "9" * 30, "-0." + "0" * 29 + "1", "0"]),
    "decimal_fraction": ("k DECIMAL(5,5) NOT NULL", ["0.12345", "-0.00001", "0"]),
    "float": ("k FLOAT NOT NULL", ["0.1", "-3.4028234e38", "1.1754944e-38", "16777216", "0"]),
    "double": ("k DOUBLE NOT NULL", ["0.1", "-1.7976931348623157e308", "2.2250738585072014e-308", "1e22", "0"]),
    "double_denormal": ("k DOUBLE NOT NULL", ["5e-324", "-2.225073858507201e-308", "-1.2345678901234567e-308"]),
    "double_17_digits": ("k DOUBLE NOT NULL", ["0.1e0 + 0.2e0", "-3.6290244904410107e-6", "1.2345678901234567e300"]),
    "float_denormal": ("k FLOAT NOT NULL", ["1.4e-45", "-1.1754942e-38"]),
    "double_spelled": (
        "k DOUBLE NOT NULL",
        ["1e14", "1e15", "-4.35e15", "1e16", "123456789012345678", "5", "-0e0", "1e-5", "1.5e-7", "1e-15", "1e-16"],
    ),
    "float_spelled": ("k FLOAT NOT NULL", ["1e6", "16777216", "1e15", "1e20", "1e-5", "1e-10", "123456.7"]),
    "double_scaled": ("k DOUBLE(30,5) NOT NULL", ["1.5", "3", "1e15", "1e17", "-0.01"]),
    "float_scaled": ("k FLOAT(7,2) NOT NULL", ["1.5", "3", "12345.67", "-0.01"]),
    "double_padded": ("k DOUBLE UNSIGNED ZEROFILL NOT NULL", ["1.5", "3"]),
    "decimal_padded": ("k DECIMAL(10,2) ZEROFILL NOT NULL", ["3.5", "0"]),
    "bit": ("k BIT(9) NOT NULL", ["0", "1", "255", "511"]),
    "bit64": ("k BIT(64) NOT NULL", ["0", "1", "9223372036854775808", "18446744073709551615"]),
    "year": ("k YEAR NOT NULL", ["1901", "1970", "2000", "2026", "2155", "'0000'"]),
    "date": ("k DATE NOT NULL", ["'0000-00-00'", "'1000-01-01'", "'2024-02-29'", "'2024-00-15'", "'9999-12-31'"]),
    "time": ("k TIME NOT NULL", ["'-838:59:59'", "'-00:00:01'", "'00:00:00'", "'23:59:59'", "'838:59:59'"]),
    "time3": ("k TIME(3) NOT NULL", ["'-00:00:00.001'", "'-838:59:58.999'", "'00:00:00'", "'12:00:00.120'"]),
    "time1": ("k TIME(1) NOT NULL", ["'-00:00:00.1'", "'-01:02:03.9'", "'00:00:00'", "'12:00:00.5'"]),
    "time6": ("k TIME(6) NOT NULL", ["'-00:00:00.000001'", "'-1:00:00'", "'00:00:00.999999'", "'838:59:59'"]),
    "datetime": ("k DATETIME NOT NULL", ["'0000-00-00 00:00:00'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    "datetime6": ("k DATETIME(6) NOT NULL", ["'2026-01-02 03:04:05.000006'", "'2026-01-02 03:04:05'"]),
    "datetime3": ("k DATETIME(3) NOT NULL", ["'2026-01-02 03:04:05.006'", "'2026-01-02 03:04:05.1'"]),
    "timestamp": ("k TIMESTAMP NOT NULL", ["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"]),
    "timestamp6": (
        "k TIMESTAMP(6) NOT NULL",
        ["'2026-07-02 03:04:05.000006'", "'2026-07-02 03:04:05'", "'0000-00-00 00:00:00'"],
    ),
    "timestamp3": ("k TIMESTAMP(3) NOT NULL", ["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01.5'"]),
    "char": ("k CHAR(20) CHARACTER SET utf8mb4 NOT NULL", TEXTS),
    "char_long": ("k CHAR(255) CHARACTER SET utf8mb4 NOT NULL", [*TEXTS, "REPEAT('ü', 255)"]),
    "varchar": ("k VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL", TEXTS),
    "varchar_long": ("k VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL", [*TEXTS, "REPEAT('x', 300)"]),
    "latin1": ("k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL", TEXTS),
    "gbk": ("k VARCHAR(20) CHARACTER SET gbk NOT NULL", ["_gbk 0xb15c", "_gbk 0xa1a1", "'a'", "''"]),
    "sjis": ("k CHAR(20) CHARACTER SET sjis NOT NULL", ["_sjis 0x835c", "_sjis 0x83418342", "'a'", "''"]),
    "ucs2": ("k VARCHAR(20) CHARACTER SET ucs2 NOT NULL", TEXTS),
    "utf16": ("k VARCHAR(20) CHARACTER SET utf16 NOT NULL", [*TEXTS, "_utf16 0xd83dde00"]),
    "utf32": ("k CHAR(20) CHARACTER SET utf32 NOT NULL", TEXTS),
    "binary": ("k BINARY(4) NOT NULL", ["''", "0x61", "0x6100ff00", "0x00000001", "0xffffffff"]),
    "binary16": ("k BINARY(16) NOT NULL", ["0x" + "00" * 16, "0x" + "ab" * 16, "0x" + "cd" * 15 + "00"]),
    "varbinary": ("k VARBINARY(20) NOT NULL", BYTES),
    "varbinary_long": ("k VARBINARY(300) NOT NULL", [*BYTES, "REPEAT('x', 300)"]),
    "enum": ("k ENUM('z', 'b', 'ü', '1') CHARACTER SET utf8mb4 NOT NULL", ["'z'", "'b'", "'ü'", "4", "0"]),
    "enum_wide": (
        "k ENUM(" + ",".join(f"'v{n}'" for n in range(300)) + ") NOT NULL",
        ["'v0'", "'v255'", "'v256'", "'v299'"],
    ),
    "set": ("k SET('a', 'b', 'c') NOT NULL", ["''", "'a'", "'a,c'", "'a,b,c'"]),
    "set64": ("k SET(" + ",".join(f"'v{n}'" for n in range(64)) + ") NOT NULL", ["'v63'", "'v0,v63'", "'v32'", "''"]),
}
MARIADB = {
    "uuid": (
        "k UUID NOT NULL",
        [
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'6ccd780c-baba-1026-9564-5b8c656024db'",
            "'6ccd780c-baba-4026-9564-5b8c656024db'",
            "'6ccd780c-baba-4026-9564-5b8c65602400'",
            "'018f4e5c-7b3a-7c21-9d3f-0123456789ab'",
            "'6ccd780c-baba-1026-1564-5b8c656024db'",
            "'6ccd780c-baba-8026-9564-5b8c656024db'",
            "'00000000-0000-1000-8000-000000000000'",
        ],
    ),
    "inet6": ("k INET6 NOT NULL", ["'::'", "'::1'", "'2001:db8::ff00:0'", "'::ffff:192.0.2.1'", "'ffff::'"]),
    "inet6_spelled": (
        "k INET6 NOT NULL",
        ["'::192.0.2.1'", "'::1:2'", "'::ffff:0:0'", "'::ffff'", "'::1:0:0'", "'1:2:3:4:5:6:0:7'", "'1:0:0:2::3'"],
    ),
    "inet4": ("k INET4 NOT NULL", ["'0.0.0.0'", "'192.0.2.0'", "'255.255.255.255'", "'127.0.0.1'"]),
}
COMPOSITE = {
    "neighbours": (
        "a INT NOT NULL, b VARCHAR(300) CHARACTER SET latin1 NOT NULL, c DECIMAL(7,3) NOT NULL",
        "a, b, c",
        ["-1, 'x', -1.5", "-1, 'x', 1.5", "2, '', 0"],
    ),
    "reordered": (
        "a VARCHAR(10) NOT NULL, x INT, b DATETIME(6) NOT NULL, c BIGINT UNSIGNED NOT NULL",
        "c, a, b",
        ["'x', NULL, '2026-01-01 00:00:00.000001', 18446744073709551615", "'', 4, '2026-01-01', 0"],
    ),
    "far_apart": (
        "n1 TEXT, a BINARY(3) NOT NULL, n2 JSON, n3 TEXT, b ENUM('p', 'q') NOT NULL, n4 BIT(3), c CHAR(4) NOT NULL",
        "b, c, a",
        [
            "NULL, 0x010000, NULL, NULL, 'q', NULL, 'xx'",
            """REPEAT('t', 70000), 0x010200, '{"a": [1, 2]}', 'n', 'p', 5, 'yy'""",
            "'', 0x000000, '{}', NULL, 'p', NULL, ''",
        ],
    ),
}
MODE = "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'"


def finds(session: Session, table: Table, literals: KeyLiterals) -> list[int]:
    """Numbers of the rows that the literals select, queried as the engine does; must use the index, except for long
    SETs.
    """
    chosen = where(table.key, KeySet((literals,)))
    statement = f"SELECT v FROM {table.source.sql} FORCE INDEX (PRIMARY) WHERE {chosen}"
    rows = [int(row[0] or -1) for row in session.query(statement)]
    if rows and "|0" not in chosen:
        if session.flavor is Flavor.MYSQL:
            session.execute("SET @@SESSION.explain_format = 'TRADITIONAL'")
        plan = session.query(f"EXPLAIN {statement}")[0]
        assert b"PRIMARY" in plan, f"{chosen} does not use the key: {plan}"
    return rows


@pytest.fixture
def open_ended(pair: Pair) -> list[tuple[str, str, str, list[str]]]:
    """Name, columns, key and rows of every table of the family."""
    singles = COMMON | (MARIADB if pair.flavor is Flavor.MARIADB else {})
    return [(name, ddl, "k", values) for name, (ddl, values) in singles.items()] + [
        (name, ddl, key, values) for name, (ddl, key, values) in COMPOSITE.items()
    ]


def test_every_key_type_finds_its_row(
    pair: Pair, schema: str, open_ended: list[tuple[str, str, str, list[str]]]
) -> None:
    source = pair.source
    creates = [
        f"CREATE TABLE `{schema}`.`k_{name}` ({ddl}, v INT NOT NULL, PRIMARY KEY ({key}))"
        for name, ddl, key, _ in open_ended
    ]
    source.execute(MODE, *creates)
    tables = [describe(source, schema, f"k_{name}") for name, *_ in open_ended]
    rows = [(f"{schema}.k_{name}", values) for name, _, _, all_values in open_ended for values in all_values]
    writes = [f"INSERT INTO {table} VALUES ({values}, {number})" for number, (table, values) in enumerate(rows, 1)]
    with Streaming(source, tables) as stream:
        source.execute(MODE, *writes)
        stream.caught_up(60)
    seen = [one for change in stream.sink.changes for one in change.keys]
    assert [table for table, _ in seen] == [table for table, _ in rows]
    wrong = []
    by_id = {table.id: table for table in tables}
    for purpose in (Purpose.TARGET, Purpose.SOURCE, Purpose.SOURCE_TEXT):
        with Session(source.endpoint(), purpose) as session:
            for number, (name, literals) in enumerate(seen, 1):
                found = finds(session, by_id[name], literals)
                if found != [number]:
                    wrong.append((purpose, name, rows[number - 1][1], literals, found))
    assert not wrong, "\n".join(map(str, wrong))
    assert_spelled_alike(source, tables, seen)
    print(f"{len(seen)} rows of {len(tables)} tables found by their binlog keys")


def assert_spelled_alike(source: Server, tables: list[Table], seen: list[tuple[str, KeyLiterals]]) -> None:
    """The source renders each key as the decoder does; a key with two spellings would be looked up twice."""
    with Session(source.endpoint(), Purpose.SOURCE) as session:
        for table in tables:
            columns = ", ".join(codec(column, session.flavor).key_literal() for column in table.key.columns)
            rows = session.query(f"SELECT {columns} FROM {table.source.sql}")
            rendered = {tuple((value or b"").decode() for value in row) for row in rows}
            assert {literals for table_id, literals in seen if table_id == table.id} == rendered, table.id


def test_numbers_of_a_move_to_the_other_family_have_its_spelling(pair: Pair, schema: str) -> None:
    """Otherwise each of them would count as missing when the change is copied."""
    numbers = {name: COMMON[name] for name in COMMON if name.startswith(("double", "float"))}
    creates = [f"CREATE TABLE `{schema}`.{name} ({ddl}, PRIMARY KEY (k))" for name, (ddl, _) in numbers.items()]
    pair.source.execute(MODE, *creates)
    tables = [crossing(describe(pair.source, schema, name)) for name in numbers]
    with Streaming(pair.source, tables) as stream:
        rows = [(name, value) for name, (_, values) in numbers.items() for value in values]
        pair.source.execute(MODE, *(f"INSERT INTO `{schema}`.{name} VALUES ({value})" for name, value in rows))
        stream.caught_up(60)
    seen = [one for change in stream.sink.changes for one in change.keys]
    assert len(seen) == len(rows)
    assert_spelled_alike(pair.source, tables, seen)


@pytest.mark.parametrize("charset", ["utf8", "utf8mb3"])
def test_utf8_has_the_name_that_cannot_become_another_one(charset: str) -> None:
    """Old releases call it utf8, about which new ones warn."""
    column = Column("k", 0, "varchar", "varchar(9)", charset, f"{charset}_bin", False, False, False, 27)
    decode = key_decoder([column], [WireColumn(15, (27, 0), 0, 1, False)])
    assert decode(b"\x01a") == ("_utf8mb3 0x61",)
    assert decode(b"\x00") == ("_utf8mb3 ''",)
    assert "'_utf8mb3 0x'" in codec(column, Flavor.MARIADB).key_literal()


@pytest.mark.parametrize(
    ("value", "literal"), [(1.5, "0.15e1"), (-1e20, "-0.1e21"), (1e-7, "0.1e-6"), (-0.0, "0e0"), (120.0, "0.12e3")]
)
def test_a_double_that_goes_to_the_other_family(value: float, literal: str) -> None:
    column = Column("k", 0, "double", "double", None, None, False, False, False, 8, crosses=True)
    assert key_decoder([column], [WireColumn(5, (8, 0), 8, 0, False)])(struct.pack("<d", value)) == (literal,)
