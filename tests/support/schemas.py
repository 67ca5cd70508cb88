"""Tables that are hard to copy: odd keys here, every type of a family in ``all_types.py``.

Each odd table maps a slot number to a key, so that writers and fills can name rows without knowing types. All have the
same payload columns: ``n``, ``s``, ``f``, ``b`` and, where ``unique`` says so, ``u`` under a UNIQUE index.
"""

import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hack.servers import Family, Release
from tests.support.servers import Server

SLOTS = 4000
_PAYLOAD = "n BIGINT NULL, s VARCHAR(300) CHARACTER SET utf8mb4 NULL, f DOUBLE NULL, b BLOB NULL"
_SNIPPETS = (
    "plain",
    "O'Brien",
    'double "quoted"',
    "back\\slash",
    "tab\there",
    "new\nline",
    "comma,",
    "ünï",
    "日本",
    "🚢",
    "",
    "\0",
)
_PRIME = 7919
SMALL_TABLE = "CREATE TABLE `{}`.{} (id INT PRIMARY KEY, v VARCHAR(40), u INT) ENGINE=InnoDB"


class Executes(Protocol):
    """The required part of a server."""

    def execute(self, *statements: str) -> None: ...


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A literal for any text, whatever the session's sql_mode."""
    return "''" if not value else f"_utf8mb4 X'{value.encode().hex()}'"


def octets(value: bytes) -> str:
    """A literal of any bytes."""
    return f"X'{value.hex()}'"


@dataclass(frozen=True)
class OddTable:
    """A table, and ``key_of(slot)``, which returns one SQL literal per key column."""

    name: str
    columns: str  # the key's DDL, with its index
    key: tuple[str, ...]
    key_of: Callable[[int], tuple[str, ...]]
    unique: bool = False
    slots: int = SLOTS
    # Another spelling of the same key under the column's collation: a key change that the index does not see.
    respelt: Callable[[int], tuple[str, ...]] | None = None
    hashed: bool = False  # MariaDB enforces the UNIQUE index itself, without InnoDB

    def ddl(self, schema: str) -> str:
        using = " USING HASH" if self.hashed else ""
        unique = f", u BIGINT NULL, UNIQUE INDEX u (u){using}" if self.unique else ""
        return f"CREATE TABLE `{schema}`.`{self.name}` ({self.columns}, {_PAYLOAD}{unique}) ENGINE=InnoDB"

    def where(self, slot: int) -> str:
        return " AND ".join(f"`{column}` = {value}" for column, value in zip(self.key, self.key_of(slot), strict=True))

    def values(self, slot: int, rng: random.Random) -> str:
        """One row for VALUES, in the order of ``column_list``."""
        unique = (str(slot),) if self.unique else ()
        return f"({', '.join((*self.key_of(slot), *payload(rng), *unique))})"

    @property
    def column_list(self) -> str:
        names = (*self.key, "n", "s", "f", "b", *(("u",) if self.unique else ()))
        return ", ".join(f"`{name}`" for name in names)

    def inserts(self, schema: str, slots: Iterable[int], rng: random.Random, batch: int = 500) -> Iterable[str]:
        """INSERT statements for the rows of ``slots``."""
        rows = [self.values(slot, rng) for slot in slots]
        for start in range(0, len(rows), batch):
            values = ", ".join(rows[start : start + batch])
            yield f"INSERT INTO `{schema}`.`{self.name}` ({self.column_list}) VALUES {values}"


def payload(rng: random.Random) -> tuple[str, str, str, str]:
    """Literals for n, s, f and b."""
    number = rng.choice((-(2**63), -1, 0, 1, 2**63 - 1, rng.randrange(10**9)))
    words = "".join(rng.choices(_SNIPPETS, k=rng.randrange(6)))
    exact = repr(rng.uniform(-1, 1) * 10.0 ** rng.randrange(-300, 300))
    raw = rng.randbytes(rng.choice((0, 1, 16, 200)))
    literals = (str(number), text(words), exact, octets(raw))
    return tuple("NULL" if rng.random() < 0.1 else literal for literal in literals)  # type: ignore[return-value]


def _signed(slot: int) -> tuple[str, ...]:
    edges = (0, -1, 1, -(2**63), 2**63 - 1, -(2**31), 2**32)
    return (str(edges[slot] if slot < len(edges) else slot * _PRIME * (-1) ** slot),)


def _unsigned(slot: int) -> tuple[str, ...]:
    edges = (0, 2**64 - 1, 2**63, 2**63 - 1, 2**63 + 1, 1)
    return (str(edges[slot] if slot < len(edges) else slot * _PRIME + (2**63 if slot % 2 else 0)),)


def _composite(slot: int) -> tuple[str, ...]:
    day = f"DATE '20{10 + slot % 7}-0{1 + slot % 9}-1{slot % 10}'"
    return str(slot % 13 - 6), text(f"k'{slot // 13}"), day


def _words(slot: int) -> str:
    edges = ("", " lead", "'", "\\", "a\tb", "日本語", "🚢 ship", "%_", "Ünïcode", "\\'")
    return edges[slot] if slot < len(edges) else f"{('Key', 'kéy', 'KÖY', 'Zz')[slot % 4]}-{slot * _PRIME % 10007:05}"


def _any_case(slot: int) -> tuple[str, ...]:
    return (text(_words(slot)),)


def _other_case(slot: int) -> tuple[str, ...]:
    return (text(_words(slot).swapcase()),)


def _exact_case(slot: int) -> tuple[str, ...]:
    return (text(("key" if slot % 2 else "KEY") + str(slot // 2)),)


def _uuid_bytes(slot: int) -> tuple[str, ...]:
    edges = (bytes(16), b"\xff" * 16, b"\x20" * 16, b"a" + bytes(15), b"\\'\0\n" * 4)
    return (octets(edges[slot] if slot < len(edges) else random.Random(slot).randbytes(16)),)


def _bytes(slot: int) -> tuple[str, ...]:
    edges = (b"", b"\0", b"\0\0", b" ", b"a ", b"a", b"\\", b"'", bytes(range(40)))
    return (octets(edges[slot] if slot < len(edges) else random.Random(slot).randbytes(9)),)


def _decimal(slot: int) -> tuple[str, ...]:
    edges = ("0", "-0.0000000001", "99999999999999999999.9999999999", "-99999999999999999999.9999999999")
    return (edges[slot] if slot < len(edges) else f"{(slot - SLOTS // 2) * _PRIME}.{slot * 31 % 10**10:010}",)


def _moment(slot: int) -> tuple[str, ...]:
    edges = ("1000-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2024-02-29 12:00:00.000001")
    plain = f"2024-{1 + slot % 12:02}-{1 + slot % 28:02} {slot % 24:02}:{slot % 60:02}:00.{slot:06}"
    return (f"'{edges[slot] if slot < len(edges) else plain}'",)


def _double(slot: int) -> tuple[str, ...]:
    edges = ("0", "-1.5e300", "1e-300", "0.1", "-0.1")
    return (edges[slot] if slot < len(edges) else f"{slot}.{slot * 77 % 1000:03}e0",)


# Alphabetical and numerical order differ.
_MEMBERS = [f"{'zyxw'[number % 4]}'{number}" for number in range(60)]
_SET = [f"m{number}" for number in range(64)]


def _member(slot: int) -> tuple[str, ...]:
    return (str(slot + 1),)


def _bits(slot: int) -> tuple[str, ...]:
    return (str(slot * 0x9E3779B97F4A7C15 % 2**64),)


def _set_bits(slot: int) -> tuple[str, ...]:
    return (str((slot * _PRIME) << (slot % 40)),) if slot else ("0",)


def _two_parts(slot: int) -> tuple[str, ...]:
    return str(slot % 50 - 25), text(f"b{slot // 50}")


_STRASSE = b"Stra\xdfe \xe9\\"


def _latin(slot: int) -> tuple[str, ...]:
    return (f"_latin1 X'{_STRASSE.hex()}{str(slot).encode().hex()}'",)


def _gbk(slot: int) -> tuple[str, ...]:
    # 0x81 0x5C is one character whose second byte is a backslash.
    return (f"_gbk X'815c27{str(slot).encode().hex()}'",)


def _small(slot: int) -> tuple[str, ...]:
    return (str(slot),)


def _uuid_text(slot: int) -> tuple[str, ...]:
    digits = random.Random(slot).randbytes(16).hex()
    version = "14"[slot % 2]  # the server orders version 1 by its time part, not as text
    return (f"'{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-8{digits[17:20]}-{digits[20:]}'",)


def _inet6(slot: int) -> tuple[str, ...]:
    return (f"'2001:db8::{slot:x}'",) if slot % 2 else (f"'::ffff:10.0.{slot // 256}.{slot % 256}'",)


_CI = "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
_BIN = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_MEMBERS_SQL = ", ".join("'" + member.replace("'", "''") + "'" for member in _MEMBERS)
_SET_SQL = ", ".join(f"'{member}'" for member in _SET)

_BOTH: tuple[OddTable, ...] = (
    OddTable("k_signed", "id BIGINT NOT NULL PRIMARY KEY", ("id",), _signed),
    OddTable("k_unsigned", "id BIGINT UNSIGNED NOT NULL PRIMARY KEY", ("id",), _unsigned),
    OddTable(
        "k_composite",
        f"a INT NOT NULL, w VARCHAR(20) {_BIN} NOT NULL, d DATE NOT NULL, PRIMARY KEY (d, a, w)",
        ("a", "w", "d"),
        _composite,
    ),
    OddTable("k_any_case", f"w VARCHAR(40) {_CI} NOT NULL PRIMARY KEY", ("w",), _any_case, respelt=_other_case),
    OddTable("k_exact_case", f"w CHAR(12) {_BIN} NOT NULL PRIMARY KEY", ("w",), _exact_case),
    OddTable("k_uuid", "id BINARY(16) NOT NULL PRIMARY KEY", ("id",), _uuid_bytes),
    OddTable("k_bytes", "id VARBINARY(40) NOT NULL PRIMARY KEY", ("id",), _bytes),
    OddTable("k_decimal", "id DECIMAL(30,10) NOT NULL PRIMARY KEY", ("id",), _decimal),
    OddTable("k_moment", "at DATETIME(6) NOT NULL PRIMARY KEY", ("at",), _moment),
    OddTable("k_double", "id DOUBLE NOT NULL PRIMARY KEY", ("id",), _double),
    OddTable("k_enum", f"id ENUM({_MEMBERS_SQL}) NOT NULL PRIMARY KEY", ("id",), _member, slots=len(_MEMBERS)),
    OddTable("k_set", f"id SET({_SET_SQL}) NOT NULL PRIMARY KEY", ("id",), _set_bits, slots=40),
    OddTable("k_bits", "id BIT(64) NOT NULL PRIMARY KEY", ("id",), _bits),
    OddTable(
        "k_latin",
        "w VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL PRIMARY KEY",
        ("w",),
        _latin,
    ),
    OddTable("k_gbk", "w VARCHAR(20) CHARACTER SET gbk NOT NULL PRIMARY KEY", ("w",), _gbk),
    OddTable(
        "k_no_primary",
        f"x INT NULL, a INT NOT NULL, w VARCHAR(20) {_CI} NOT NULL, "
        "UNIQUE INDEX nullable (x), UNIQUE INDEX prefix (w(15), a), UNIQUE INDEX whole (a, w)",
        ("a", "w"),
        _two_parts,
    ),
    OddTable("k_second_unique", "id INT NOT NULL PRIMARY KEY", ("id",), _small, unique=True),
    OddTable(
        "k_any_case_unique",
        f"w VARCHAR(40) {_CI} NOT NULL PRIMARY KEY",
        ("w",),
        _any_case,
        unique=True,
        respelt=_other_case,
    ),
)
_OWN: dict[Family, tuple[OddTable, ...]] = {
    Family.MYSQL: (
        OddTable(
            "k_0900",
            "w VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY",
            ("w",),
            _any_case,
            respelt=_other_case,
        ),
    ),
    Family.MARIADB: (
        OddTable("k_uuid_type", "id UUID NOT NULL PRIMARY KEY", ("id",), _uuid_text),
        OddTable("k_inet6", "id INET6 NOT NULL PRIMARY KEY", ("id",), _inet6),
        OddTable("k_hash_unique", "id INT NOT NULL PRIMARY KEY", ("id",), _small, unique=True, hashed=True),
    ),
}


OF_ONE_FAMILY = {"k_0900", "k_uuid_type", "k_inet6", "k_hash_unique"}
"""Their keys have no counterpart on the other family."""


def odd_tables(family: Family, release: Release | None = None) -> Sequence[OddTable]:
    """Every odd table that the family supports, or a release of it."""
    since = {"k_uuid_type": (10, 7), "k_0900": (8,)}
    return [
        table for table in (*_BOTH, *_OWN[family]) if release is None or release.number >= since.get(table.name, (0,))
    ]


def create_odd_tables(
    server: Executes, schema: str, tables: Sequence[OddTable], *, seed: int = 0, share: float = 0.5
) -> int:
    """Create ``tables`` and fill ``share`` of each one's slots; returns the number of rows."""
    rng = random.Random(seed)
    total = 0
    for table in tables:
        slots = sorted(rng.sample(range(table.slots), int(table.slots * share)))
        server.execute(table.ddl(schema), *table.inserts(schema, slots, rng))
        total += len(slots)
    return total


FIRST = 1000


def fill_narrow(server: Server, schema: str, name: str, rows: int) -> None:
    """``rows`` rows of an id, a number and a short text; not logged, because runs do not need these events."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        table = f"`{schema}`.`{name}`"
        cursor.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, n INT NOT NULL, s VARCHAR(24) NOT NULL)")
        have = min(FIRST, rows)
        values = ", ".join(f"({number}, {number * 7919 % 1000003}, 'row {number}')" for number in range(have))
        cursor.execute(f"INSERT INTO {table} VALUES {values}")
        while have < rows:
            cursor.execute(
                f"INSERT INTO {table} SELECT id + {have}, n + {have} MOD 1000, CONCAT('row ', id + {have}) "
                f"FROM {table} WHERE id < {rows - have} ORDER BY id"
            )
            have = min(have * 2, rows)


def create_small_tables(server: Executes, schema: str, *tables: str) -> None:
    """Tables with two rows each."""
    for table in tables:
        server.execute(
            SMALL_TABLE.format(schema, table), f"INSERT INTO `{schema}`.{table} VALUES (1, 'one', 1), (2, 'two', 2)"
        )
