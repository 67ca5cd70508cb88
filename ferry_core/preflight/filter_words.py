"""Proves by its words alone that a row filter depends on the row only. Pure; used by ``row_filters``.

A target of the other family may not know a function, an operator or a collation of the source's filter, so that it
cannot tell.
"""

from collections.abc import Collection
from itertools import pairwise

from ferry_core.schema.tokens import Token, readings

_OPERATORS = """
AND OR NOT XOR IN BETWEEN LIKE ESCAPE REGEXP RLIKE IS NULL TRUE FALSE UNKNOWN DIV MOD CASE WHEN THEN ELSE END BINARY
COLLATE
"""
_FUNCTIONS = """
ABS ASCII BIN_TO_UUID BIT_COUNT CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH COALESCE CONCAT CONCAT_WS CRC32 FIELD
FIND_IN_SET FLOOR GREATEST HEX HOUR IF IFNULL INET6_ATON INET6_NTOA INET_ATON INET_NTOA INSTR IS_UUID ISNULL
JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_EXTRACT JSON_KEYS JSON_LENGTH JSON_OVERLAPS JSON_SEARCH JSON_TYPE
JSON_UNQUOTE JSON_VALID LEAST LEFT LENGTH LOCATE LOWER LPAD LTRIM MD5 MICROSECOND MINUTE MOD NULLIF OCTET_LENGTH ORD
REGEXP_LIKE REPEAT REPLACE REVERSE RIGHT ROUND RPAD RTRIM SECOND SHA1 SHA2 SIGN STRCMP SUBSTR SUBSTRING SUBSTRING_INDEX
TRIM TRUNCATE UNHEX UPPER UUID_TO_BIN
"""
"""Their value depends on their arguments only. Not YEAR and alike, which add the present day to a TIME."""
_WITHOUT_PARENTHESES = """
CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURRENT_ROLE LOCALTIME LOCALTIMESTAMP SYSDATE UTC_DATE UTC_TIME
UTC_TIMESTAMP
"""
"""Functions that tell the time or the account: a column of such a name has to be quoted."""
_IMPURE = frozenset(_WITHOUT_PARENTHESES.split())
_KEYWORDS = frozenset(_OPERATORS.split())
_PURE = frozenset(_FUNCTIONS.split())


def unproven_words(row_filter: str, columns: Collection[str]) -> list[str]:
    """What else the filter has than columns, literals, operators and ``_PURE`` functions."""
    names = {name.upper() for name in columns}
    tokens = next(readings(row_filter))
    end = Token("mark", "", "", 0)
    found = []
    before = end
    for token, following in pairwise([*tokens, end]):
        calls = following.is_mark("(")
        if not _is_proven(before, token, names, calls=calls):
            found.append(token.raw + "()" * calls)
        before = token
    return found


def _is_proven(before: Token, token: Token, names: Collection[str], *, calls: bool) -> bool:
    if token.kind == "name":
        return token.text.upper() in names and not calls
    if token.kind == "mark":
        # A point behind a name makes it that of a table or a schema.
        return token.text not in ("@", "?", ";") and not (token.text == "." and _is_name(before))
    if token.kind == "string" or not _is_name(token):
        return True
    if calls:
        return not before.is_mark(".") and token.word in _KEYWORDS | _PURE
    if token.word in _IMPURE:
        return False
    return token.word in _KEYWORDS | set(names) | {"X", "B"} or before.word == "COLLATE" or token.word.startswith("_")


def _is_name(token: Token) -> bool:
    return token.kind == "name" or (token.word != "" and not token.word[0].isdigit())
