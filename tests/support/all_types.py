"""One table with every column type of a family, and rows with edge values for it.

Written in SQL literals with introducers, so that neither the client's character set nor its types matter. Sessions that
insert them use ``SESSION``: the old sql_mode under which zero dates and ENUM 0 came into real tables.
"""

from collections.abc import Collection
from dataclasses import dataclass

from hack.servers import Family
from tests.support.schemas import octets, text

SESSION = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'"


@dataclass(frozen=True)
class TypedColumn:
    """A column and literals for it. Without literals the server fills it in."""

    name: str
    ddl: str
    literals: tuple[str, ...]


def _integers() -> list[TypedColumn]:
    sizes = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
    columns = []
    for kind, bits in sizes.items():
        half = 2 ** (bits - 1)
        columns.append(TypedColumn(f"c_{kind.lower()}", kind, ("0", "-1", str(-half), str(half - 1), "1")))
        columns.append(TypedColumn(f"c_{kind.lower()}_u", f"{kind} UNSIGNED", ("0", str(2 * half - 1), str(half), "1")))
    columns.append(TypedColumn("c_zerofill", "INT(8) ZEROFILL", ("0", "42", "4294967295")))
    columns.append(TypedColumn("c_bool", "BOOL", ("TRUE", "FALSE", "-128")))
    return columns


def _numbers() -> list[TypedColumn]:
    nines = "9" * 35 + "." + "9" * 30
    floats = ("0", "3.4028234e38", "1.1754944e-38", "0.1e0", "16777217e0", "-1.5e-10", "123456.789e0", "-0e0")
    doubles = ("0", "1.7976931348623157e308", "2.2250738585072014e-308", "0.1e0 + 0.2e0", "-9007199254740993e0", "-0e0")
    return [
        TypedColumn("c_decimal", "DECIMAL(65,30)", ("0", nines, f"-{nines}", "0." + "0" * 29 + "1")),
        TypedColumn("c_decimal_0", "DECIMAL(10,0)", ("-9999999999", "0", "9999999999")),
        TypedColumn("c_decimal_u", "DECIMAL(12,12) UNSIGNED", ("0.999999999999", "0")),
        TypedColumn("c_float", "FLOAT", floats),
        TypedColumn("c_double", "DOUBLE", doubles),
        TypedColumn("c_float_d", "FLOAT(7,3)", ("1234.567", "-0.001")),
        TypedColumn("c_float_most", "FLOAT(10,3)", ("9999999.999", "-9999999.999", "-0e0", "0.001")),
        TypedColumn("c_float_below_1", "FLOAT(8,8)", ("0.99999999", "-0.99999999", "0.12345678")),
        TypedColumn("c_float_whole", "FLOAT(30,0) UNSIGNED", ("9" * 30, "0", "1")),
        TypedColumn("c_double_d", "DOUBLE(20,6)", ("12345678901234.567891", "-0.000001")),
        TypedColumn("c_bit_1", "BIT(1)", ("0", "1")),
        TypedColumn("c_bit_9", "BIT(9)", ("0", "511", "256", "39", "92")),
        TypedColumn("c_bit_64", "BIT(64)", ("0", str(2**64 - 1), str(2**63), "10", "9223372036854775807")),
    ]


def _times() -> list[TypedColumn]:
    dates = ("'0000-00-00'", "'2024-00-15'", "'2024-02-00'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'")
    moments = (
        "'0000-00-00 00:00:00'",
        "'9999-12-31 23:59:59.999999'",
        "'1000-01-01 00:00:00'",
        "'2024-00-00 01:02:03.4'",
    )
    stamps = (
        *("'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'"),
        *("'2024-10-27 00:30:00'", "'2024-10-27 01:30:00'"),  # the same wall clock time occurs twice in half of Europe
    )
    spans = ("'00:00:00'", "'-838:59:59.000000'", "'838:59:59.000000'", "'-00:00:00.000001'", "'12:34:56.789'")
    columns = [TypedColumn("c_date", "DATE", dates), TypedColumn("c_year", "YEAR", ("0", "1901", "2155"))]
    for digits in (0, 1, 3, 6):
        columns += [
            TypedColumn(f"c_time_{digits}", f"TIME({digits})", spans),
            TypedColumn(
                f"c_datetime_{digits}", f"DATETIME({digits})", (*moments[:1], *moments[2:], "'2024-12-31 23:59:59'")
            ),
            TypedColumn(f"c_timestamp_{digits}", f"TIMESTAMP({digits}) NULL DEFAULT NULL", (*stamps[:2], *stamps[3:])),
        ]
    columns.append(TypedColumn("c_datetime_max", "DATETIME(6)", moments))
    columns.append(TypedColumn("c_timestamp_max", "TIMESTAMP(6) NULL DEFAULT NULL", stamps))
    return columns


_TEXTS = tuple(
    text(value) for value in ("", "plain", " both ", 'it\'s \\ "q"', "a\0b\tc\nd\re\x1af", "ünï日本🚢", ",'\\N',NULL")
)
_ALL_OCTETS = octets(bytes(range(256)))
_CHARSETS = {
    # Second bytes that look like a backslash or a quote when decoded as latin1.
    "gbk": ("815c", "bf5c27", "b0a15c", "5c"),
    "sjis": ("835c", "95c3835c27", "b1", "5c"),
    "cp932": ("835c", "8160", "fa5c"),
    "big5": ("a55c", "b3a55c27", "a4a4"),
    "euckr": ("b0a1", "c8fe"),
    "ujis": ("a4a2", "8fb0a1", "8eb1"),
    "gb2312": ("b0a1",),
    "eucjpms": ("a4a2", "8eb1"),
    "latin1": ("80", "9fff", "275c", "e9"),
    "latin2": ("b1", "ff"),
    "cp1251": ("c0", "ff5c"),
    "koi8r": ("c1", "ff"),
    "greek": ("c1",),
    "hebrew": ("e0",),
    "tis620": ("a1",),
    "swe7": ("5b5c5d",),
    "ascii": ("41", "7f"),
    "ucs2": ("00410042", "65e5", "0027005c"),
    "utf16": ("d83ddea2", "00270000", "65e5"),
    "utf16le": ("3dd8a2de", "27005c00"),
    "utf32": ("0001f6a2", "00000027"),
    "utf8mb3": ("c3bc", "e697a5"),
    "cp850": ("81", "ff"),
    "dec8": ("e9",),
    "hp8": ("a1",),
    "geostd8": ("c0",),
    "armscii8": ("b2",),
}


def _strings() -> list[TypedColumn]:
    long_text = text("ä'\\" * 5000)
    columns = [
        TypedColumn("c_char", "CHAR(20) CHARACTER SET utf8mb4", _TEXTS),
        TypedColumn("c_char_bin", "CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", _TEXTS),
        TypedColumn("c_char_0", "CHAR(0)", ("''",)),
        TypedColumn("c_varchar", "VARCHAR(300) CHARACTER SET utf8mb4", _TEXTS),
        TypedColumn("c_varchar_ci", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", _TEXTS),
        TypedColumn(
            "c_binary",
            "BINARY(16)",
            ("X''", octets(b"\x20" * 16), octets(b"a\0' \\"), octets(b"\xff" * 16)),
        ),
        TypedColumn("c_varbinary", "VARBINARY(300)", ("X''", _ALL_OCTETS, octets(b"a\0\0"), octets(b"a  "))),
        TypedColumn("c_tinytext", "TINYTEXT CHARACTER SET utf8mb4", _TEXTS),
        TypedColumn("c_text", "TEXT CHARACTER SET utf8mb4", (*_TEXTS, long_text)),
        TypedColumn("c_mediumtext", "MEDIUMTEXT CHARACTER SET utf8mb4", (*_TEXTS, f"REPEAT({text('日本')}, 60000)")),
        TypedColumn("c_longtext", "LONGTEXT CHARACTER SET utf8mb4", (*_TEXTS, f"REPEAT({text('🚢x')}, 60000)")),
        TypedColumn("c_text_gbk", "TEXT CHARACTER SET gbk", ("_gbk X'815c27'", "''")),
        TypedColumn("c_longtext_utf16", "LONGTEXT CHARACTER SET utf16", ("_utf16 X'd83ddea20027'", "''")),
        TypedColumn("c_tinyblob", "TINYBLOB", ("X''", octets(bytes(range(255))))),
        TypedColumn("c_blob", "BLOB", ("X''", _ALL_OCTETS, octets(b"'\\\n\t,\0" * 3000))),
        TypedColumn("c_mediumblob", "MEDIUMBLOB", ("X''", f"REPEAT({_ALL_OCTETS}, 300)")),
        TypedColumn("c_longblob", "LONGBLOB", ("X''", f"REPEAT({_ALL_OCTETS}, 1000)", "X'00'")),
    ]
    for charset, values in _CHARSETS.items():
        literals = ("''", *(f"_{charset} X'{value}'" for value in values))
        columns.append(TypedColumn(f"c_{charset}", f"VARCHAR(12) CHARACTER SET {charset}", literals))
    return columns


def _choices() -> list[TypedColumn]:
    members = ("''", "'a,b'", "'it''s'", "'z'", "'A\\\\B'", "'ü'", "'日本'")
    many = ", ".join(f"'e{number}'" for number in range(300))
    bits = ", ".join(f"'s{number}'" for number in range(64))
    return [
        # A non-strict server stores 0 for a word that is not a member; 1 is the member ''.
        TypedColumn(
            "c_enum", f"ENUM({', '.join(members)}) CHARACTER SET utf8mb4", ("0", "1", "2", "3", "4", "5", "6", "7")
        ),
        TypedColumn("c_enum_2", f"ENUM({many})", ("1", "300", "256")),
        TypedColumn("c_enum_gbk", "ENUM('x', 'y') CHARACTER SET gbk", ("1", "2")),
        TypedColumn("c_set", "SET('a', 'b''c', 'ü', 'd') CHARACTER SET utf8mb4", ("0", "1", "15", "6")),
        TypedColumn("c_set_64", f"SET({bits})", ("0", str(2**64 - 1), str(2**63), "1", str(2**53 + 1))),
    ]


_JSON = (
    '{"a": [1, 2.5, "x\\"y\\\\", null, true], "ü": "\\u0001"}',
    "[]",
    "{}",
    '""',
    "null",
    "18446744073709551615",
    "-9223372036854775808",
    "1e300",
    '"日本🚢\\n\'"',
    '{"deep": {"er": [[[]]]}}',
)
JSON_CHANGED_BY_REPARSING = ("JSON_OBJECT('price', CAST('1.10' AS DECIMAL(20,2)))", "JSON_ARRAY(DATE '2024-01-01')")
"""MySQL values whose text, parsed again, is a different value: a DECIMAL and a date inside JSON."""


def _documents_and_shapes(family: Family) -> list[TypedColumn]:
    def shape(*texts: str, srid: int = 0) -> tuple[str, ...]:
        return tuple(f"ST_GeomFromText('{one}', {srid})" for one in texts)

    square = "POLYGON((0 0, 0 5, 5 5, 5 0, 0 0))"
    columns = [
        TypedColumn("c_json", "JSON", tuple(text(document) for document in _JSON)),
        TypedColumn(
            "c_geometry",
            "GEOMETRY",
            shape("POINT(1 2)", square, "GEOMETRYCOLLECTION(POINT(0 0), LINESTRING(0 0, 1 1))"),
        ),
        TypedColumn("c_point", "POINT", (*shape("POINT(-0.1 1e300)"), *shape("POINT(10 20)", srid=4326))),
        TypedColumn("c_linestring", "LINESTRING", shape("LINESTRING(0 0, 39 92, 10 13)")),
        TypedColumn("c_polygon", "POLYGON", shape(square)),
        TypedColumn("c_multipoint", "MULTIPOINT", shape("MULTIPOINT(1 1, 2 2)")),
        TypedColumn("c_multilinestring", "MULTILINESTRING", shape("MULTILINESTRING((0 0, 1 1), (2 2, 3 3))")),
        TypedColumn("c_multipolygon", "MULTIPOLYGON", shape("MULTIPOLYGON(((0 0, 0 1, 1 1, 0 0)))")),
        TypedColumn("c_collection", "GEOMETRYCOLLECTION", shape("GEOMETRYCOLLECTION(POINT(7 8))")),
    ]
    if family is Family.MYSQL:
        vectors = ("STRING_TO_VECTOR('[1,-2.5,3e38]')", "X'270000005c0000000a000000'", "STRING_TO_VECTOR('[0]')")
        columns.append(TypedColumn("c_vector", "VECTOR(3)", vectors))
        columns.append(
            TypedColumn(
                "c_gb18030", "VARCHAR(12) CHARACTER SET gb18030", ("''", "_gb18030 X'81308130'", "_gb18030 X'815c'")
            )
        )
    else:
        uuids = (
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'27275c5c-0a0d-1a00-8000-000000000027'",
        )
        columns += [
            TypedColumn("c_uuid", "UUID", uuids),
            TypedColumn("c_inet6", "INET6", ("'::'", "'2001:db8::275c'", "'::ffff:10.39.92.10'")),
            TypedColumn("c_inet4", "INET4", ("'0.0.0.0'", "'10.39.92.13'", "'255.255.255.255'")),
        ]
    return columns


def _special() -> list[TypedColumn]:
    return [
        TypedColumn("g_virtual", "VARCHAR(40) GENERATED ALWAYS AS (CONCAT(c_int, '-v')) VIRTUAL", ()),
        TypedColumn("g_stored", "BIGINT GENERATED ALWAYS AS (c_smallint * 2) STORED", ()),
        TypedColumn("i_hidden", "VARCHAR(20) CHARACTER SET utf8mb4 NULL INVISIBLE", (text("hidden"), text("'\\"))),
    ]


def columns(family: Family) -> list[TypedColumn]:
    """All columns but the key. Generated ones are in the middle, so that indexes in row images and load files
    differ.
    """
    return [*_integers(), *_special(), *_numbers(), *_times(), *_strings(), *_choices(), *_documents_and_shapes(family)]


def ddl(family: Family, schema: str, name: str = "all_types", left_out: Collection[str] = ()) -> str:
    """CREATE TABLE; every column may be NULL. DYNAMIC keeps the long row within a page."""
    parts = ", ".join(f"`{one.name}` {one.ddl}" for one in columns(family) if one.name not in left_out)
    return (
        f"CREATE TABLE `{schema}`.`{name}` (id INT NOT NULL PRIMARY KEY, {parts}, INDEX by_virtual (g_virtual)) "
        "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4"
    )


def row_count(family: Family) -> int:
    """Number of rows needed to show every literal of every column once."""
    return max(len(column.literals) for column in columns(family)) + 1


def rows(
    family: Family, schema: str, name: str = "all_types", *, shift: int = 0, left_out: Collection[str] = ()
) -> list[str]:
    """SESSION and one REPLACE per row. Row 0 is all NULL; another ``shift`` moves every row to other literals."""
    filled = [column for column in columns(family) if column.literals and column.name not in left_out]
    names = ", ".join(f"`{column.name}`" for column in filled)
    statements = [SESSION]
    for number in range(row_count(family)):
        values = [column.literals[(number + shift) % len(column.literals)] if number else "NULL" for column in filled]
        statements.append(f"REPLACE INTO `{schema}`.`{name}` (id, {names}) VALUES ({number - 3}, {', '.join(values)})")
    return statements


def updates(
    family: Family, schema: str, name: str = "all_types", *, shift: int = 1, left_out: Collection[str] = ()
) -> list[str]:
    """SESSION and one UPDATE per row, with the same result as ``rows`` with that shift, but another kind of event."""
    filled = [column for column in columns(family) if column.literals and column.name not in left_out]
    statements = [SESSION]
    for number in range(1, row_count(family)):
        sets = [f"`{one.name}` = {one.literals[(number + shift) % len(one.literals)]}" for one in filled]
        statements.append(f"UPDATE `{schema}`.`{name}` SET {', '.join(sets)} WHERE id = {number - 3}")
    return statements
