"""What a column becomes on a server of the other family, MySQL or MariaDB, or why it cannot be moved there. Pure.

Character sets are the same on both. Collations are not: outside of keys another collation only changes how a query
compares, never a row, so a near one is used. In a key and in every UNIQUE index the collation decides which values are
equal and in which order they are read, so only such are accepted there as give all characters the same weights on both
families (tests/versions compares them).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.version import ServerVersion
from ferry_core.tables.alike import holds_texts, plain_collation
from ferry_core.tables.codecs import BINARIES, GEOMETRIES, INTEGERS, TEMPORALS, TEXTS
from ferry_core.tables.table import Column, Key, Table

_SAME = INTEGERS | TEMPORALS | TEXTS | BINARIES | GEOMETRIES | {"decimal", "double", "float", "bit", "year"}
_CHOICES = {"enum", "set"}
AS_TEXT = {"uuid": ("char", 36), "inet6": ("varchar", 39), "inet4": ("varchar", 15)}
"""Types of MariaDB that MySQL lacks, and the type for their text."""
_COMPRESSED = re.compile(r" ?/\*M!100301 COMPRESSED\*/")

_UNICODE = ("utf8mb4_", "utf8mb3_", "ucs2_", "utf16_", "utf16le_", "utf32_")
_ALIKE_OF_UNICODE = re.compile(
    r"(?:utf8mb[34]|ucs2|utf16|utf32)_(?:bin|general_ci|unicode_ci|unicode_520_ci)|utf16le_(?:bin|general_ci)"
)
_ALIKE = """
armscii8_bin armscii8_general_ci ascii_bin ascii_general_ci big5_bin big5_chinese_ci cp1250_bin cp1250_croatian_ci
cp1250_general_ci cp1250_polish_ci cp1251_bin cp1251_bulgarian_ci cp1251_general_ci cp1251_general_cs
cp1251_ukrainian_ci cp1256_bin cp1256_general_ci cp1257_bin cp1257_general_ci cp1257_lithuanian_ci cp850_bin
cp850_general_ci cp852_bin cp852_general_ci cp866_bin cp866_general_ci cp932_bin cp932_japanese_ci dec8_bin
dec8_swedish_ci eucjpms_bin eucjpms_japanese_ci euckr_bin euckr_korean_ci gb2312_bin gb2312_chinese_ci gbk_bin
gbk_chinese_ci geostd8_bin geostd8_general_ci greek_bin greek_general_ci hebrew_bin hebrew_general_ci hp8_bin
hp8_english_ci keybcs2_bin keybcs2_general_ci koi8r_bin koi8r_general_ci koi8u_bin koi8u_general_ci latin1_bin
latin1_danish_ci latin1_general_ci latin1_general_cs latin1_german1_ci latin1_german2_ci latin1_spanish_ci
latin1_swedish_ci latin2_bin latin2_croatian_ci latin2_general_ci latin2_hungarian_ci latin5_bin latin5_turkish_ci
latin7_bin latin7_estonian_cs latin7_general_ci latin7_general_cs macce_bin macce_general_ci macroman_bin
macroman_general_ci sjis_bin sjis_japanese_ci swe7_bin swe7_swedish_ci tis620_bin ujis_bin ujis_japanese_ci
"""
ALIKE = frozenset(_ALIKE.split())
"""Of the other character sets, those that a test compares. Not tis620_thai_ci, which differs, and cp1250_czech_cs and
latin2_czech_cs, which compare in several steps.
"""

_TO_MARIADB = {
    "utf8mb4_0900_ai_ci": "utf8mb4_uca1400_nopad_ai_ci",
    "utf8mb4_0900_as_ci": "utf8mb4_uca1400_nopad_as_ci",
    "utf8mb4_0900_as_cs": "utf8mb4_uca1400_nopad_as_cs",
    "utf8mb4_0900_bin": "utf8mb4_nopad_bin",
}
_UCA_1400 = re.compile(r"(\w+?)_uca1400_(?:nopad_)?(ai|as)_(ci|cs)")
_NOPAD = re.compile(r"(\w+?)_((?:general|unicode|unicode_520|swedish|chinese|japanese|korean|turkish|english)_)?nopad_")


class NoCounterpartError(Exception):
    """Why something cannot be moved to the other family, and what to do."""


def crossing(table: Table) -> Table:
    """The table with columns whose values both families are to render alike."""
    by_name = {column.name: _crossing(column) for column in table.columns}

    def of(key: Key) -> Key:
        return replace(key, columns=tuple(by_name[column.name] for column in key.columns))

    return replace(
        table,
        columns=tuple(by_name[column.name] for column in table.columns),
        key=of(table.key),
        other_keys=tuple(map(of, table.other_keys)),
    )


def _crossing(column: Column) -> Column:
    kind = AS_TEXT.get(column.data_type)
    return replace(column, crosses=True, max_bytes=kind[1] if kind else column.max_bytes)


def counterpart(column: Column, target: ServerVersion) -> Column:
    """The column that the target gets. Raises NoCounterpartError."""
    found = of_the_same_values(column, target)
    if found.collation:
        found = replace(found, collation=collation_there(found.collation, target))
    # MariaDB has no NOT NULL generated columns.
    nullable = column.nullable or (column.generated and target.flavor is Flavor.MARIADB)
    return replace(found, nullable=nullable)


def of_the_same_values(column: Column, target: ServerVersion) -> Column:
    """The column with the target's type, still with the source's collation. Raises NoCounterpartError."""
    kind = column.data_type
    if kind == "json" and target.flavor is Flavor.MARIADB:
        as_text = replace(column, data_type="longtext", column_type="longtext")
        return replace(as_text, charset="utf8mb4", collation="utf8mb4_bin")
    if kind in AS_TEXT and target.flavor is Flavor.MYSQL:
        name, length = AS_TEXT[kind]
        as_text = replace(column, data_type=name, column_type=f"{name}({length})")
        return replace(as_text, charset="ascii", collation="ascii_general_ci")
    if kind not in _SAME | _CHOICES:
        raise NoCounterpartError(
            f"the column {column.name} has the type {column.column_type}, which is not moved to {target.flavor.value}: "
            "leave its table out with tables.exclude"
        )
    if column.charset == "gb18030":
        raise NoCounterpartError(
            f"the column {column.name} has the character set gb18030, which MariaDB lacks: convert it to utf8mb4 on "
            "the source, or leave its table out with tables.exclude"
        )
    return replace(column, column_type=_COMPRESSED.sub("", column.column_type))


def collation_there(name: str, target: ServerVersion) -> str:
    """The target's collation for a column that is in no UNIQUE index. Raises NoCounterpartError."""
    plain = plain_collation(name)
    found = _on_mariadb(plain) if target.flavor is Flavor.MARIADB else _on_mysql(plain)
    if found is None:
        raise NoCounterpartError(
            f"the collation {name} has no counterpart on {target.flavor.value}: choose another one for it on the "
            "source, or create the table on the target yourself"
        )
    return found


def _on_mariadb(name: str) -> str | None:
    return _TO_MARIADB.get(name, None if "_0900_" in name or name.endswith("_tolower_ci") else name)


def _on_mysql(name: str) -> str | None:
    if found := _UCA_1400.fullmatch(name):
        charset, accents, case = found.groups()
        if charset != "utf8mb4":
            return f"{charset}_unicode_520_ci" if case == "ci" else f"{charset}_bin"
        return f"utf8mb4_0900_{accents}_ci" if case == "ci" else "utf8mb4_0900_as_cs"
    if name == "utf8mb4_nopad_bin":
        return "utf8mb4_0900_bin"
    if _NOPAD.match(name):
        return name.replace("_nopad_", "_")
    only_there = ("_uca1400_", "_croatian_mysql561_", "_myanmar_", "_thai_520_", "_general1400_")
    return None if any(part in name for part in only_there) else name


def compares_alike(collation: str | None) -> bool:
    """Whether a column of this collation has the same equal values, in the same order, on both families."""
    name = plain_collation(collation)
    if not name:
        return True
    if name.startswith(_UNICODE):
        return _ALIKE_OF_UNICODE.fullmatch(name) is not None
    return name in ALIKE


def tells_apart(there: str | None, here: str | None) -> bool:
    """Whether values that are equal by the collation ``there`` are also equal by the source's: then a UNIQUE index with
    it takes every row. True for collations by bytes; they may ignore trailing spaces where the source's does.
    """
    name, source = plain_collation(there), plain_collation(here)
    if not holds_texts(name, source):
        return False
    pads = "_0900_" not in source and "_nopad_" not in source
    return name == "utf8mb4_0900_bin" or name.endswith("_nopad_bin") or (pads and name.endswith("_bin"))


def _alike(column: Column) -> str:
    """Collations that compare alike, in words."""
    names = [f"{column.charset}_bin", f"{column.charset}_unicode_520_ci"]
    return " or ".join(name for name in names if compares_alike(name))


def _by_bytes(column: Column) -> str:
    """Collations of the same character set, in words."""
    if column.charset == "utf8mb4":
        return "MariaDB: utf8mb4_nopad_bin, MySQL: utf8mb4_0900_bin"
    return f"{column.charset}_bin, on MariaDB also {column.charset}_nopad_bin"


def key_problems(
    table: Table, unique: Collection[str], related: Collection[str], there: Mapping[str, str | None]
) -> Iterator[str]:
    """Why rows that are different on one family might not be on the other. Names are in lower case. ``unique``: columns
    of UNIQUE indexes; ``related``: of foreign keys; ``there``: collations of a table that the target has already.
    """
    keys = {column.name.lower() for key in (table.key, *table.other_keys) for column in key.columns}
    for column in table.columns:
        name = column.name.lower()
        if name not in keys | set(unique) | set(related):
            continue
        if column.charset == "gb18030":
            continue  # refused for every column (``of_the_same_values``)
        if column.generated:
            yield (
                f"the column {column.name} is in a UNIQUE index or foreign key, and the target computes it: make it a "
                "plain column on the source, or drop the index"
            )
        elif column.data_type in AS_TEXT and name in keys:
            yield (
                f"the column {column.name} is the key, and the order of {column.data_type} is not that of its text: "
                "make it CHAR on the source, or leave its table out with tables.exclude"
            )
        elif column.data_type in _CHOICES or compares_alike(column.collation):  # the former compare by number
            continue
        elif name in keys | set(related):
            yield (
                f"the column {column.name} is in a key with the collation {column.collation}, by which the families "
                f"compare differently: give it {_alike(column)} on the source"
            )
        elif not tells_apart(there.get(name), column.collation):
            yield (
                f"the column {column.name} is in a UNIQUE index with the collation {column.collation}, by which the "
                f"families compare differently: give it {_alike(column)} on the source, or create the table on the "
                f"target yourself, with a collation there that compares bytes ({_by_bytes(column)})"
            )
