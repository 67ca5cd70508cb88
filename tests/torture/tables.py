"""Random tables: the keys of ``tests/support/schemas.py`` with generated columns, odd character sets and partitions."""

import random
from dataclasses import dataclass, replace

from hack.servers import Family
from tests.support.schemas import OddTable, odd_tables

EXTRAS = {
    "virtual": "g{} BIGINT AS (n DIV 7) VIRTUAL",
    "stored": "g{} CHAR(64) CHARACTER SET ascii AS (SHA2(s, 256)) STORED",
    "gbk": "g{} VARCHAR(80) CHARACTER SET gbk AS (HEX(LEFT(b, 20))) STORED",
    "utf16": "g{} VARCHAR(40) CHARACTER SET utf16 NULL DEFAULT 'ünï'",
    "moment": "g{} TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
    "uuid": "g{} VARCHAR(40) CHARACTER SET latin1 NOT NULL DEFAULT (UUID())",
    "bits": "g{} BIT(7) NOT NULL DEFAULT b'1010101'",
    "set": "g{} SET('a', 'b', 'ç') CHARACTER SET latin1 NULL DEFAULT 'a,ç'",
    "enum": "g{} ENUM('x', 'ÿ', '') CHARACTER SET latin1 NOT NULL DEFAULT 'ÿ'",
    "decimal": "g{} DECIMAL(65,30) NOT NULL DEFAULT -0.000000000000000000000000000001",
    "json": 'g{} JSON NULL DEFAULT (\'{{"a": [1, 2.5, null, "ü"]}}\')',
    "index": "INDEX i{} (n, f)",
    "wide": "g{} CHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'wide  '",
}
"""Parts of a definition; the writers of ``tests/support/writers.py`` do not know of them."""

FILTERS = ("n > 0", "n IS NULL OR n % 3 <> 0", "s LIKE '%ü%' OR s IS NULL", "f < 0", "LENGTH(b) > 10")
"""Row filters: rows enter and leave them with each update."""

_KEYLESS = OddTable("k_none", "a INT NOT NULL, INDEX a (a)", ("a",), lambda slot: (str(slot),), slots=500)
_NOT_PARTITIONED = {"k_no_primary", "k_none"}
ROW_FORMATS = ("", "", " ROW_FORMAT=COMPRESSED", " ROW_FORMAT=REDUNDANT", " ROW_FORMAT=COMPACT")


@dataclass(frozen=True)
class Shape:
    """A table of a plan: the odd table of this name, changed."""

    kind: str
    extras: tuple[str, ...] = ()
    partitions: int = 0
    row_format: str = ""
    where: str = ""
    """Row filter of the spec."""

    def table(self, family: Family) -> OddTable:
        odd = next(table for table in kinds(family) if table.name == self.kind)
        parts = [EXTRAS[name].format(number) for number, name in enumerate(self.extras)]
        return RandomTable(
            **{name: getattr(odd, name) for name in odd.__dataclass_fields__}
            | {"columns": ", ".join((odd.columns, *parts))},
            suffix=self.row_format + (f" PARTITION BY KEY () PARTITIONS {self.partitions}" if self.partitions else ""),
        )


@dataclass(frozen=True)
class RandomTable(OddTable):
    suffix: str = ""

    def ddl(self, schema: str) -> str:
        return super().ddl(schema) + self.suffix


def kinds(family: Family) -> list[OddTable]:
    return [*odd_tables(family), _KEYLESS]


def random_shapes(rng: random.Random, family: Family) -> tuple[Shape, ...]:
    chosen = rng.sample(kinds(family), rng.randint(1, 5))
    return tuple(_random_shape(rng, table) for table in chosen)


def _random_shape(rng: random.Random, table: OddTable) -> Shape:
    extras = tuple(rng.sample(sorted(EXTRAS), rng.choice((0, 1, 2, 4))))
    where = rng.choice(FILTERS) if rng.random() < 0.25 else ""
    shape = Shape(table.name, extras, 0, rng.choice(ROW_FORMATS), where)
    if may_be_partitioned(table) and rng.random() < 0.25:
        return replace(shape, partitions=rng.randint(2, 5), row_format="")
    return shape


def may_be_partitioned(table: OddTable) -> bool:
    return not table.unique and table.name not in _NOT_PARTITIONED
