"""Logged statements in every character set that a client may have: never an error, names correct or unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.binlog.client_text import decoded
from ferry_core.schema.tokens import UNKNOWN
from tests.support.servers import Pair
from tests.support.stream import Streaming, make
from tests.support.tables import describe

SETS = {
    "latin1": (8, "größe".encode("cp1252"), "größe"),
    "utf8mb4": (45, "größe".encode(), "größe"),
    "binary": (63, "größe".encode(), "größe"),
    "koi8r": (7, "вес".encode("koi8_r"), "вес"),
    "macce": (38, "váha".encode("mac_latin2"), "váha"),
    "hp8": (6, "größe".encode("hp_roman8"), "größe"),
    "dec8": (3, b"gr\xf6\xdfe", "gr" + UNKNOWN * 2 + "e"),
    "keybcs2": (37, b"v\xa0ha", "v" + UNKNOWN + "ha"),
    "armscii8": (32, b"a\xb2", "a" + UNKNOWN),
    "geostd8": (92, b"a\xc0", "a" + UNKNOWN),
    "swe7": (10, b"gr|e{", "gr|e" + UNKNOWN),
    # Bytes of a backslash, a backtick and a letter within a character
    "gbk": (28, b"`\x81\x60`\xb1\x5c", "`" + b"\x81\x60".decode("gbk") + "`" + b"\xb1\x5c".decode("gbk")),
    "sjis": (13, b"\x83\x5c\x81\x5c", "ソ―"),
    "cp932": (95, b"\x83\x5c", "ソ"),
    "big5": (1, b"\xa5\x5c", "功"),
    "gb18030": (
        248,
        b"\x81\x30\x81\x30\x81\x5c",
        b"\x81\x30\x81\x30".decode("gb18030") + b"\x81\x5c".decode("gb18030"),
    ),
    "eucjpms": (97, "日本".encode("euc_jp"), "日本"),
    "ujis": (12, b"\x8e\xb1", "ｱ"),
    # Two bytes that are one character to the server, but not an assigned one.
    "nothing in gbk": (28, b"\xa2\x5c'", UNKNOWN + "'"),
    "a lone first byte": (28, b"a\x81", "a" + UNKNOWN),
    "a collation of tomorrow": (9999, "größe".encode(), "größe"),
}


@pytest.mark.parametrize("charset", SETS)
def test_a_character_set(charset: str) -> None:
    number, raw, text = SETS[charset]
    assert decoded(raw, number) == text


@given(st.binary(max_size=40), st.integers(0, 400))
def test_any_bytes_can_be_decoded(raw: bytes, number: int) -> None:
    text = decoded(raw, number)
    assert text.isascii() or max(raw) > 0x7F or number == 10
    if raw.isascii() and number != 10:
        assert text.encode() == raw


def test_the_character_sets_of_clients(pair: Pair, schema: str) -> None:
    """A session in each, with a statement about another table: the stream continues, and sees the change after it."""
    source = pair.source
    make(source, schema)
    numbers = {row[0]: None for row in source.query("SELECT character_set_name FROM information_schema.character_sets")}
    with Streaming(source, [describe(source, schema, "t")]) as stream:
        for charset in numbers:
            if charset in ("ucs2", "utf16", "utf16le", "utf32"):
                continue  # not allowed for clients
            source.execute(
                f"USE `{schema}`",
                f"SET NAMES {charset}",
                "CREATE TABLE other (id INT PRIMARY KEY)",
                "DROP TABLE other",
                "SET NAMES utf8mb4",
            )
        source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')")
        stream.caught_up()
    assert stream.sink.keys == [("1",)]
    assert len(numbers) > 30
