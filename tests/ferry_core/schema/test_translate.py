"""Definitions are translated between MySQL and MariaDB; what has no counterpart is refused by name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.mysql.version import ServerVersion
from ferry_core.schema.definition import Definition, parse
from ferry_core.schema.tokens import tokens_of
from ferry_core.schema.translate import translated
from ferry_core.tables.families import (
    NoCounterpartError,
    collation_there,
    compares_alike,
    counterpart,
    key_problems,
    tells_apart,
)
from ferry_core.tables.table import Column, Key, Table, TableName

MYSQL, MARIADB = ServerVersion("9.7.0"), ServerVersion("10.11.14-MariaDB")
NAME = TableName("s", "t")


def column(name: str, kind: str, collation: str | None = None, *, generated: bool = False) -> Column:
    data_type = re.split(r"[ (]", kind)[0]
    charset = collation.partition("_")[0] if collation else None
    return Column(name, 0, data_type, kind, charset, collation, nullable=True, generated=generated, invisible=False,
                  max_bytes=80)  # fmt: skip


def translate(statement: str, *columns: Column, to: ServerVersion) -> Definition:
    table = Table(NAME, NAME, columns, Key("PRIMARY", columns[:1]), None, False, 0, 0)
    return translated(parse(statement, NAME), table, to)


def made(line: str, *columns: Column, to: ServerVersion, options: str = "ENGINE=InnoDB") -> str:
    """The first element, and the options behind it."""
    it = translate(f"CREATE TABLE `t` (\n  {line}\n) {options}", *columns, to=to)
    return " ".join(f"{', '.join(it.elements)} |{it.options}".split())


TO_MARIADB = {
    "`a` int DEFAULT NULL /*!80023 INVISIBLE */": "`a` int DEFAULT NULL INVISIBLE",
    "`a` int /*!50606 COLUMN_FORMAT FIXED */ DEFAULT NULL": "`a` int DEFAULT NULL",
    "`a` int GENERATED ALWAYS AS ((`b` + 1)) VIRTUAL NOT NULL": "`a` int GENERATED ALWAYS AS ((`b` + 1)) VIRTUAL",
    "`a` int, KEY `k` (`a`) /*!80000 INVISIBLE */": "`a` int, KEY `k` (`a`) IGNORED",
    "`a` int, CONSTRAINT `c` CHECK ((`a` > 1)) /*!80016 NOT ENFORCED */": "`a` int",
    r"`a` int, CONSTRAINT `c` CHECK ((`a` > _utf8mb4'\\'))": r"`a` int, CONSTRAINT `c` CHECK ((`a` > '\\'))",
}
TO_MYSQL = {
    "`a` int(11) INVISIBLE DEFAULT 3": "`a` int(11) INVISIBLE DEFAULT 3",
    "`a` int(11) DEFAULT unix_timestamp()": "`a` int(11) DEFAULT (unix_timestamp())",
    "`a` int(11) DEFAULT (1 + 2)": "`a` int(11) DEFAULT (1 + 2)",
    "`a` int(11), KEY `k` (`a`) IGNORED": "`a` int(11), KEY `k` (`a`) INVISIBLE",
}


@pytest.mark.parametrize("line", TO_MARIADB)
def test_to_mariadb(line: str) -> None:
    kind = column("a", "int", generated="GENERATED" in line)
    assert made(line, kind, to=MARIADB) == f"{TO_MARIADB[line]} | ENGINE=InnoDB"


@pytest.mark.parametrize("line", TO_MYSQL)
def test_to_mysql(line: str) -> None:
    assert made(line, column("a", "int(11)"), to=MYSQL) == f"{TO_MYSQL[line]} | ENGINE=InnoDB"


@pytest.mark.parametrize(
    ("line", "kind", "to", "expected"),
    [
        ("`a` text DEFAULT 'x(' COMMENT 'DEFAULT ('", column("a", "text", "utf8mb4_bin"), MYSQL,
         "`a` text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT ('x(') COMMENT 'DEFAULT ('"),
        ("`a` uuid NOT NULL DEFAULT uuid()", column("a", "uuid"), MYSQL,
         "`a` char(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT (uuid())"),
        ("`a` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp()", column("a", "datetime"), MYSQL,
         "`a` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp()"),
        ("`a` datetime(6) DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)", column("a", "datetime"), MYSQL,
         "`a` datetime(6) DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)"),
        ("`a` datetime(6) DEFAULT current_timestamp()", column("a", "datetime"), MYSQL,
         "`a` datetime(6) DEFAULT (current_timestamp())"),
        ("`a` timestamp(2) NOT NULL DEFAULT current_timestamp(4) ON UPDATE current_timestamp(6)",
         column("a", "timestamp"), MYSQL,
         "`a` timestamp(2) NOT NULL DEFAULT current_timestamp(2) ON UPDATE current_timestamp(2)"),
        ("`a` int(11) DEFAULT `b`", column("a", "int(11)"), MYSQL, "`a` int(11) DEFAULT (`b`)"),
        ("`a` text /*M!100301 COMPRESSED*/ DEFAULT NULL", column("a", "text /*M!100301 COMPRESSED*/", "utf8mb4_bin"),
         MYSQL, "`a` text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL"),
        ("`a` text COLLATE utf8mb4_uca1400_ai_ci DEFAULT NULL", column("a", "text", "utf8mb4_uca1400_ai_ci"), MYSQL,
         "`a` text CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci DEFAULT NULL"),
        ("`a` varchar(9) DEFAULT NULL", column("a", "varchar(9)", "utf8mb4_0900_ai_ci"), MARIADB,
         "`a` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci DEFAULT NULL"),
        ("`a` json DEFAULT NULL", column("a", "json"), MARIADB,
         "`a` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`a`))"),
        ("`a` point NOT NULL /*!80003 SRID 4326 */", column("a", "point"), MARIADB, "`a` point NOT NULL"),
        ("`a` geomcollection", column("a", "geomcollection"), MARIADB, "`a` geometrycollection"),
    ],
)  # fmt: skip
def test_columns(line: str, kind: Column, to: ServerVersion, expected: str) -> None:
    assert made(line, kind, to=to) == f"{expected} | ENGINE=InnoDB"


@pytest.mark.parametrize(
    ("options", "to", "expected"),
    [
        ("AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci STATS_PERSISTENT=1 COMMENT='X=''Y'",
         MARIADB, "AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_nopad_ai_ci COMMENT='X=''Y'"),
        ("DEFAULT CHARSET=latin1 PAGE_CHECKSUM=1 `ENCRYPTED`='YES'\n PARTITION BY HASH (`a`)\nPARTITIONS 3", MYSQL,
         "DEFAULT CHARSET=latin1 PARTITION BY HASH (`a`) PARTITIONS 3"),
        ("ENGINE=InnoDB\n/*!50100 PARTITION BY HASH (`a`)\nPARTITIONS 3 */", MARIADB,
         "ENGINE=InnoDB PARTITION BY HASH (`a`) PARTITIONS 3"),
    ],
)  # fmt: skip
def test_options(options: str, to: ServerVersion, expected: str) -> None:
    assert made("`a` int", column("a", "int"), to=to, options=options) == f"`a` int | {expected}"


@pytest.mark.parametrize(
    ("line", "kind", "to", "said"),
    [
        ("`a` vector(3)", column("a", "vector(3)"), MARIADB, "column a has the type vector(3)"),
        ("`a` varchar(3)", column("a", "varchar(3)", "gb18030_bin"), MARIADB, "convert it to utf8mb4"),
        ("`a` varchar(3)", column("a", "varchar(3)", "utf8mb4_de_pb_0900_ai_ci"), MARIADB, "has no counterpart"),
        ("`a` varchar(3)", column("a", "varchar(3)", "utf8mb4_uca1400_german2_ai_ci"), MYSQL, "has no counterpart"),
        ("`a` bigint DEFAULT nextval(`s`.`q`)", column("a", "bigint"), MYSQL, "column a takes its DEFAULT from a seq"),
        ("`a` datetime(3) DEFAULT NULL ON UPDATE current_timestamp()", column("a", "datetime"), MYSQL,
         "column a has ON UPDATE with fewer digits"),
        ("`a` int, KEY `k` ((`a` + 1))", column("a", "int"), MARIADB, "index k is over an expression"),
        ("`a` int, UNIQUE KEY `k` (`a`, `p` WITHOUT OVERLAPS)", column("a", "int"), MYSQL, "WITHOUT OVERLAPS"),
        (r"`a` int, CHECK ((`a` > _latin1'\\'))", column("a", "int"), MARIADB, "MariaDB would misread the literal"),
        ("`a` int, PERIOD FOR `p` (`b`, `c`)", column("a", "int"), MYSQL, "PERIOD"),
        ("`a` int, VECTOR KEY `k` (`a`)", column("a", "int"), MYSQL, "VECTOR index"),
    ],
)  # fmt: skip
def test_what_is_refused(line: str, kind: Column, to: ServerVersion, said: str) -> None:
    with pytest.raises(NoCounterpartError, match=re.escape(said)):
        made(line, kind, to=to)


def test_everything_is_named_at_once() -> None:
    statement = "CREATE TABLE `t` (\n `a` vector(3),\n `b` geometry,\n KEY `k` ((`b`))\n) ENGINE=InnoDB"
    with pytest.raises(NoCounterpartError) as caught:
        translate(statement, column("a", "vector(3)"), column("b", "geometry"), to=MARIADB)
    assert "column a" in str(caught.value)
    assert "index k" in str(caught.value)


def test_system_versioning_is_refused() -> None:
    with pytest.raises(NoCounterpartError, match="DROP SYSTEM VERSIONING"):
        made("`a` int", column("a", "int"), to=MYSQL, options="ENGINE=InnoDB WITH SYSTEM VERSIONING")


texts = st.text(st.sampled_from("a'`(),;*/!\\ -é\n"), max_size=12)


@given(name=texts.filter(bool), default=texts, comment=texts, to=st.sampled_from((MYSQL, MARIADB)))
def test_names_and_strings_stay_as_they_are(name: str, default: str, comment: str, to: ServerVersion) -> None:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    sql = "`" + name.replace("`", "``") + "`"
    kind = "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    line = f"{sql} {kind} DEFAULT {quoted(default)} COMMENT {quoted(comment)}"
    statement = f"CREATE TABLE `t` (\n  {line},\n  PRIMARY KEY ({sql})\n) ENGINE=InnoDB COMMENT={quoted(comment)}"
    found = translate(statement, column(name, "varchar(20)", "utf8mb4_bin"), to=to)
    squeezed = [" ".join(part.split()) for part in found.elements]
    assert squeezed == [" ".join(part.split()) for part in (line, f"PRIMARY KEY ({sql})")]
    strings = [token.text for token in tokens_of(found.create(NAME)) if token.kind == "string"]
    assert strings == [default, comment, comment]


def test_collations_between_the_families() -> None:
    assert collation_there("utf8mb4_general_ci", MYSQL) == "utf8mb4_general_ci"
    assert collation_there("utf8mb3_uca1400_as_cs", MYSQL) == "utf8mb3_bin"
    assert collation_there("utf8mb4_nopad_bin", MYSQL) == "utf8mb4_0900_bin"
    assert collation_there("latin1_swedish_nopad_ci", MYSQL) == "latin1_swedish_ci"
    assert collation_there("utf8mb4_0900_as_cs", MARIADB) == "utf8mb4_uca1400_nopad_as_cs"
    assert collation_there("utf8_general_ci", MARIADB) == "utf8mb3_general_ci"


def test_keys_need_a_collation_that_compares_alike() -> None:
    alike = [None, "utf8mb4_bin", "utf8mb4_unicode_520_ci", "latin1_swedish_ci", "gbk_chinese_ci", "ascii_general_ci"]
    assert all(map(compares_alike, alike))
    unlike = ["utf8mb4_0900_ai_ci", "utf8mb4_uca1400_ai_ci", "utf8mb4_nopad_bin", "utf8mb4_danish_ci", "tis620_thai_ci",
              "cp1250_czech_cs", "latin1_unheard_of_ci"]  # fmt: skip
    assert not any(map(compares_alike, unlike))
    key, other = column("k", "uuid"), column("u", "varchar(9)", "utf8mb4_0900_ai_ci")
    made_of, free = column("g", "int", generated=True), column("f", "varchar(9)", "utf8mb4_0900_ai_ci")
    table = Table(NAME, NAME, (key, other, made_of, free), Key("PRIMARY", (key,)), None, True, 0, 0)
    problems = list(key_problems(table, {"u", "g"}, (), {}))
    assert [re.match(r"the column (\w)", problem)[1] for problem in problems] == ["k", "u", "g"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("collation", "advice"),
    [
        ("tis620_thai_ci", "give it tis620_bin on the source"),
        ("utf16le_nopad_bin", "give it utf16le_bin on the source"),
        ("ucs2_danish_ci", "give it ucs2_bin or ucs2_unicode_520_ci on the source"),
    ],
)
def test_collations_that_exist_are_advised(collation: str, advice: str) -> None:
    key = column("k", "varchar(9)", collation)
    table = Table(NAME, NAME, (key,), Key("PRIMARY", (key,)), None, True, 0, 0)
    (problem,) = key_problems(table, (), (), {})
    assert problem.endswith(advice)


def test_a_unique_index_by_bytes_takes_every_row() -> None:
    assert tells_apart("utf8mb4_nopad_bin", "utf8mb4_0900_ai_ci")
    assert tells_apart("utf8mb4_0900_bin", "utf8mb4_uca1400_ai_ci")
    assert tells_apart("utf8mb4_bin", "utf8mb4_uca1400_ai_ci")
    assert not tells_apart("utf8mb4_bin", "utf8mb4_0900_ai_ci"), "it ignores trailing spaces, the source's does not"
    assert not tells_apart("latin1_nopad_bin", "utf8mb4_0900_ai_ci")
    assert not tells_apart(None, "utf8mb4_0900_ai_ci")
    unique = column("u", "varchar(9)", "utf8mb4_0900_ai_ci")
    table = Table(NAME, NAME, (column("k", "int"), unique), Key("PRIMARY", (column("k", "int"),)), None, True, 0, 0)
    there = {"u": "utf8mb4_nopad_bin"}
    assert list(key_problems(table, {"u"}, (), there)) == []
    assert len(list(key_problems(table, {"u"}, (), {}))) == 1
    assert len(list(key_problems(table, {"u"}, {"u"}, there))) == 1, "foreign keys find rows by it"


def test_json_of_mariadb_is_text_and_generated_columns_may_be_null_there() -> None:
    assert counterpart(column("a", "json"), MARIADB).collation == "utf8mb4_bin"
    assert counterpart(column("a", "longtext", "utf8mb4_bin"), MYSQL).column_type == "longtext"
