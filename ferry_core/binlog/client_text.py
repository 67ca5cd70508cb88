"""Decodes the bytes of a logged statement, which are in the client's character set. Used by ``events``.

Quotes, backslashes and names must come out as the server read them. So a multi-byte character is one character even if
its last byte looks like a backslash or a quote (gbk, sjis, big5, gb18030, euckr). A character that cannot be decoded
becomes UNKNOWN, and a name that contains UNKNOWN matches any name of that length. Nothing here raises.
"""

import re
from typing import Any

from pymysql.charset import charset_by_id

from ferry_core.schema.tokens import UNKNOWN

_SINGLE_BYTE = {
    "latin1": "cp1252",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "tis620": "tis_620",
    "hp8": "hp_roman8",
    "ascii": "ascii",
}
"""Python's names. Python lacks the others (dec8, swe7, armscii8, geostd8, keybcs2); each of them is ASCII below 0x80.
"""

_JAPANESE = rb"\x8e[\xa0-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}"
_SHIFTED = rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"
_MULTI_BYTE = {
    "big5": ("big5", rb"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]"),
    "gbk": ("gbk", rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]"),
    "gb2312": ("gb2312", rb"[\xa1-\xf7][\xa1-\xfe]"),
    "gb18030": ("gb18030", rb"[\x81-\xfe](?:[\x40-\x7e\x80-\xfe]|[0-9][\x81-\xfe][0-9])"),
    "euckr": ("cp949", rb"[\x81-\xfe][\x41-\x5a\x61-\x7a\x81-\xfe]"),
    "sjis": ("cp932", _SHIFTED),
    "cp932": ("cp932", _SHIFTED),
    "ujis": ("euc_jp", _JAPANESE),
    "eucjpms": ("euc_jp", _JAPANESE),
}
"""Python's name, and the byte sequences that the server reads as one character, even if they are not assigned."""

_PATTERNS = {
    name: (codec, re.compile(rb"[\x00-\x7f]+|" + character + rb"|[\x80-\xff]"))
    for name, (codec, character) in _MULTI_BYTE.items()
}
_SWEDISH = str.maketrans(dict.fromkeys("[]^{}~", UNKNOWN))
"""In swe7 these are letters, which may also occur in names."""


def decoded(raw: bytes, collation: int) -> str:
    """``collation`` is the number of the client's collation from the event."""
    name = _charset(collation)
    if name in _PATTERNS:
        codec, pattern = _PATTERNS[name]
        return "".join(_character(match.group(), codec) for match in pattern.finditer(raw))
    if name in _SINGLE_BYTE:
        return raw.decode(_SINGLE_BYTE[name], "replace")
    if name in ("dec8", "armscii8", "geostd8", "keybcs2", "swe7"):
        text = raw.decode("ascii", "surrogateescape")
        text = re.sub(r"[\udc80-\udcff]", UNKNOWN, text)
        return text.translate(_SWEDISH) if name == "swe7" else text
    return raw.decode("utf-8", "replace")  # the server reads names as UTF-8 in a binary statement too


def _charset(collation: int) -> str:
    try:
        charset: Any = charset_by_id(collation)
    except KeyError:
        return "utf8mb4"  # this holds for all collations added in recent years
    return str(charset.name)


def _character(raw: bytes, codec: str) -> str:
    if raw[0] < 0x80:
        return raw.decode("ascii")
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return UNKNOWN
    return text if len(text) == 1 and text > "\x7f" else UNKNOWN
