"""Whole moves between MySQL and MariaDB, and what they rely on: one spelling of numbers, and the same weights."""

import math
import random
import struct
from pathlib import Path

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.tables.alike import orders_alike, plain_collation, same_in_wider
from ferry_core.tables.codecs import codec
from ferry_core.tables.families import ALIKE, compares_alike, crossing
from tests.support.across import move_across
from tests.support.servers import Pair, Server
from tests.support.table_pair import TablePair
from tests.versions.matrix import ACROSS

NUMBERS = 20_000
PROVEN = (("mysql-9.7", "mariadb-11.8"), ("mysql-8.0.33", "mariadb-10.11"))
UNICODE = [
    *(
        f"{charset}_{kind}"
        for charset in ("utf8mb4", "utf8mb3", "ucs2", "utf16", "utf32")
        for kind in ("bin", "general_ci", "unicode_ci", "unicode_520_ci")
    ),
    "utf16le_bin",
    "utf16le_general_ci",
]


@pytest.mark.parametrize("versions", ACROSS, ids=" to ".join, indirect=True)
def test_a_move_to_the_other_family(versions: Pair, tmp_path: Path) -> None:
    move_across(versions, tmp_path)


def numbers(form: str, size: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    drawn = (struct.unpack(form, rng.randbytes(size))[0] for _ in range(NUMBERS))
    return [number for number in drawn if math.isfinite(number)]


@pytest.mark.parametrize("versions", PROVEN, ids=" and ".join, indirect=True)
@pytest.mark.parametrize(("kind", "form"), [("DOUBLE", "<d"), ("FLOAT", "<f")])
def test_numbers_have_one_spelling(versions: Pair, kind: str, form: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rows = numbers(form, struct.calcsize(form), seed)
    rows += [10.0**power * digits for power in range(-37, 38) for digits in (1, -1, 1.5, 1.2345678901234567)]
    versions.source.execute("CREATE DATABASE IF NOT EXISTS numbers")
    both = TablePair(versions, "numbers")
    values = ",".join(f"({at},{row!r}{'' if 'e' in repr(row) else 'e0'})" for at, row in enumerate(rows))
    both.on_both(f"CREATE TABLE t (id INT PRIMARY KEY, n {kind})", f"INSERT INTO t VALUES {values}")
    column = crossing(both.table()).columns[1]
    found = []
    for session in (both.plain, both.target):
        rendered = codec(column, session.flavor).hash_expression()
        found.append(session.query(f"SELECT {rendered} FROM numbers.t ORDER BY id"))
    assert len(found[0]) == len(rows)
    assert found[0] == found[1]
    both.close()


def weights(server: Server, collation: str) -> int:
    """A number of the weights of all characters, alone and behind another one."""
    charset = collation.partition("_")[0]
    one = f"CONVERT(c USING {charset}) COLLATE {collation}"
    two = f"CONCAT(CONVERT('L' USING {charset}), CONVERT(c USING {charset})) COLLATE {collation}"
    text = f"CONCAT(n, ':', COALESCE(HEX(WEIGHT_STRING({one})), '-'), ':', COALESCE(HEX(WEIGHT_STRING({two})), '-'))"
    digest = f"CAST(CONV(LEFT(SHA2({text}, 256), 16), 16, 10) AS UNSIGNED)"
    return int(server.value(f"SELECT BIT_XOR({digest}) FROM weights.c"))


def fill(server: Server) -> None:
    characters = [point for point in range(0x20000) if not 0xD800 <= point < 0xE000]
    rows = [f"({point}, _utf8mb4 X'{chr(point).encode().hex()}')" for point in characters]
    server.execute(
        "CREATE DATABASE weights",
        "CREATE TABLE weights.c (n INT PRIMARY KEY, c VARCHAR(4) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)",
        *(f"INSERT INTO weights.c VALUES {','.join(rows[at : at + 20_000])}" for at in range(0, len(rows), 20_000)),
    )


@pytest.mark.parametrize("versions", PROVEN, ids=" and ".join, indirect=True)
def test_accepted_collations_have_the_same_weights(versions: Pair) -> None:
    for server in (versions.source, versions.target):
        fill(server)
    for collation in (*UNICODE, *sorted(ALIKE)):
        assert compares_alike(collation)
        assert weights(versions.source, collation) == weights(versions.target, collation), collation


def unlike(server: Server, narrow: str, wide: str, characters: int) -> int:
    """How many characters of the narrow character set have other weights behind another one in the wide one.

    Of a character's number, as of ``_bin``, one has more digits than the other.
    """

    def weight(collation: str, text: str) -> str:
        charset = collation.partition("_")[0]
        return f"WEIGHT_STRING(CONVERT({text} USING {charset}) COLLATE {collation})"

    if wide.endswith("_bin") or narrow.startswith("ascii"):
        one, other = (f"LPAD(HEX({weight(collation, 'c')}), 20, '0')" for collation in (narrow, wide))
    else:
        one, other = (weight(collation, "CONCAT('L', c)") for collation in (narrow, wide))
    differ = f"NOT ({one} <=> {other})"
    return int(server.value(f"SELECT COUNT(*) FROM weights.c WHERE n < {characters} AND ({differ})"))


@pytest.mark.timeout(3600)  # MariaDB has more than 200 such pairs
@pytest.mark.parametrize("versions", PROVEN, ids=" and ".join, indirect=True)
def test_a_wider_character_set_has_the_same_weights_in_the_collation_of_the_same_name(versions: Pair) -> None:
    for server in (versions.source, versions.target):
        fill(server)
        listed = "FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
        mysql = server.flavor is Flavor.MYSQL
        found = server.query(f"SELECT {'COLLATION_NAME FROM information_schema.COLLATIONS' if mysql else listed}")
        known = {plain_collation(name) for (name,) in found}
        compared = 0
        for narrow in sorted(known):
            for charset in ("utf8mb3", "utf8mb4"):
                wide = same_in_wider(f"{charset}_", narrow)
                if wide == narrow or wide not in known or not orders_alike(wide, narrow):
                    continue
                characters = 0x80 if narrow.startswith("ascii") else 0x10000
                assert not unlike(server, narrow, wide, characters), (narrow, wide)
                compared += 1
        assert compared > (25 if mysql else 50)
