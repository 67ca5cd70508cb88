"""Random values for a column of any type, extremes included; ``rows.py`` makes rows of them."""

import json
from random import Random

from hack.schemas.catalogue import Column

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXTS = {
    "utf8mb4": ("plain", "naïve", "日本語", "🚢 ferry", 'it\'s \\ "quoted"', "line\nfeed", "trailing ", "\t"),
    "utf8mb3": ("plain", "naïve", "日本語", 'it\'s \\ "quoted"', "line\nfeed", "trailing ", "\t"),
    "latin1": ("plain", "naïve", "¿señor?", "it's", "trailing "),
    "ascii": ("plain", "it's", "trailing ", "a\\b"),
}
_LONGEST = 3000
_GEOMETRIES = {
    "linestring": "LINESTRING(0 0, 1 {0})",
    "polygon": "POLYGON((0 0, 0 {0}, 5 5, 0 0))",
    "multipoint": "MULTIPOINT((0 0), (1 {0}))",
    "multilinestring": "MULTILINESTRING((0 0, 1 {0}))",
    "multipolygon": "MULTIPOLYGON(((0 0, 0 {0}, 5 5, 0 0)))",
    "geometrycollection": "GEOMETRYCOLLECTION(POINT(1 {0}))",
    "geomcollection": "GEOMETRYCOLLECTION(POINT(1 {0}))",
}


def placeholder(column: Column) -> str:
    """How a statement takes the value."""
    spatial = column.kind in _GEOMETRIES or column.kind in ("geometry", "point")
    return "ST_GeomFromText(%s)" if spatial else "%s"


def value(column: Column, chance: Random, *, distinct: bool) -> object:
    """``distinct``: one that hardly repeats, for unique indexes."""
    if column.automatic or (column.nullable and chance.random() < 0.2):
        return None
    if column.kind in _INTEGERS:
        return _integer(column, chance, distinct=distinct)
    if column.charset:
        return _text(column, chance, distinct=distinct)
    return _other(column, chance)


def _integer(column: Column, chance: Random, *, distinct: bool) -> int:
    bits = _INTEGERS[column.kind]
    low, high = (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if chance.random() < 0.1:
        return chance.choice((low, high, 0))
    return chance.randint(1, min(high, 10**6) if distinct else min(high, 50))


def _text(column: Column, chance: Random, *, distinct: bool) -> str:
    if column.kind in ("enum", "set"):
        return _members(column, chance)
    if column.kind == "json" or "json" in column.name:
        return _document(chance)
    length = min(column.length // (4 if column.kind.endswith("text") else 1), _LONGEST)
    if chance.random() < 0.05 and not distinct:
        return "x" * length
    if chance.random() < 0.05:
        return ""
    words = _TEXTS.get(column.charset, _TEXTS["ascii"])
    text = f"{chance.randrange(10**6)}" if distinct else ""
    return (text + chance.choice(words) * chance.randint(1, 3))[:length]


def _members(column: Column, chance: Random) -> str:
    if column.kind == "enum":
        return "" if chance.random() < 0.03 else chance.choice(column.members)  # "" is member 0 in an old sql_mode
    return ",".join(member for member in column.members if chance.random() < 0.5)


def _document(chance: Random) -> str:
    return json.dumps({"n": chance.randrange(1000), "t": chance.choice(_TEXTS["utf8mb4"]), "a": [1, None, 2.5]})


def _other(column: Column, chance: Random) -> object:  # noqa: PLR0911 - one return for each kind of type
    kind = column.kind
    if kind in ("decimal", "numeric"):
        digits = chance.randrange(10 ** min(column.precision, 15)) * (
            1 if column.unsigned or chance.random() < 0.8 else -1
        )
        return f"{digits / 10**column.scale:.{column.scale}f}"
    if kind in ("float", "double"):
        number = chance.choice((0.0, 1.5, -2.25e10, 3.14159, 1e-10))
        return abs(number) if column.unsigned else number
    if kind in ("date", "datetime", "timestamp", "time", "year"):
        return _time(kind, chance)
    if kind == "bit":
        return chance.randrange(2 ** min(column.precision or 1, 31))
    if kind.endswith(("blob", "binary")):
        return chance.randbytes(chance.randint(1, max(1, min(column.length, 40))))
    if kind == "json":
        return _document(chance)
    if kind == "uuid":
        return f"{chance.getrandbits(128):032x}"
    if kind in ("inet4", "inet6"):
        return f"10.0.0.{chance.randrange(256)}" if kind == "inet4" else f"fe80::{chance.randrange(10**4)}"
    return _GEOMETRIES.get(kind, "POINT(1 {0})").format(chance.randint(1, 50))


def _time(kind: str, chance: Random) -> str:
    zero = chance.random() < 0.08  # with an empty sql_mode
    day = (
        "0000-00-00" if zero else f"{chance.randint(1971, 2037)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    )
    hour = (
        "00:00:00" if zero else f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}.25"
    )
    if kind == "date":
        return "2024-02-00" if chance.random() < 0.03 else day
    if kind == "time":
        return chance.choice((hour, "-838:59:59", "838:59:59"))
    return str(chance.randint(1901, 2155)) if kind == "year" else f"{day} {hour}"
