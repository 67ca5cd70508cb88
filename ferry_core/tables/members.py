"""Reads the real members of an ENUM or SET, and the real DEFAULT of a column.

Both families store a column's description in a character set that ends at U+FFFF and print ``?`` for characters beyond
it, and for bytes that are not text, in SHOW CREATE TABLE and information_schema alike. The values themselves are exact,
so a server is asked for values. Used by ``schema`` before it creates a table and by preflight when it compares two.
"""

import re
from collections.abc import Iterable, Mapping

from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import TableName

DOUBTFUL = "?"
"""A printed text that contains it may really be another text."""
AT_ONCE = 500
"""Number of members requested by one statement."""

_MEMBER = re.compile(r"'(?:[^']|'')*'")


def members(session: Session, table: TableName, column: str, kind: str, numbers: Iterable[int]) -> dict[int, bytes]:
    """The bytes of these members (counted from 1) in the column's character set; ``kind`` is ``enum`` or ``set``.

    Needs no row, and only the SELECT privilege.
    """
    wanted = list(numbers)
    if wanted and not session.version.shows_members:
        raise _unreadable(table, column, f"the members of this {kind.upper()}")
    found: dict[int, bytes] = {}
    ask = _by_variable if session.flavor is Flavor.MARIADB else _by_recursion
    for start in range(0, len(wanted), AT_ONCE):
        values = {number: number if kind == "enum" else 1 << number - 1 for number in wanted[start : start + AT_ONCE]}
        found |= ask(session, table, identifier(column), values)
    if found.keys() != set(wanted):
        raise _unreadable(table, column, f"the members of this {kind.upper()}")
    return found


def _by_recursion(session: Session, table: TableName, column: str, values: Mapping[int, int]) -> dict[int, bytes]:
    """The columns of a recursive table get the types of its first part: here the column, in a row without a match.

    The second part stores plain numbers into it. (MariaDB gives such a column one byte, whatever it needs.)
    """
    listed = " UNION ALL ".join(f"SELECT {number} AS n, CAST({v} AS UNSIGNED) AS v" for number, v in values.items())
    rows = session.query(
        f"WITH RECURSIVE member (n, m) AS (SELECT 0, {column} FROM (SELECT 1) AS one LEFT JOIN {table.sql} ON FALSE "
        f"UNION ALL SELECT w.n, w.v FROM member JOIN ({listed}) AS w WHERE member.n = 0) "
        "SELECT n, HEX(m) FROM member WHERE n > 0"
    )
    return {int(number or 0): bytes.fromhex((text or b"").decode()) for number, text in rows}


def _by_variable(session: Session, table: TableName, column: str, values: Mapping[int, int]) -> dict[int, bytes]:
    """MariaDB has variables of a column's type outside of procedures too.

    Not in strict mode, which takes two members beyond U+FFFF for two question marks and refuses a type with equal
    members.
    """
    steps = " ".join(f"SET m = {v}; SET found = CONCAT(found, HEX(m), ',');" for v in values.values())
    text = session.text(
        f"SET STATEMENT sql_mode = '' FOR BEGIN NOT ATOMIC DECLARE m TYPE OF {table.sql}.{column}; "
        f"DECLARE found LONGTEXT CHARACTER SET latin1 DEFAULT ''; {steps} SELECT found; END"
    )
    return dict(zip(values, map(bytes.fromhex, text.split(",")), strict=False))


def default(session: Session, table: TableName, column: str) -> bytes:
    """The bytes of a column's DEFAULT in its character set. It must be text and not empty.

    Read from a temporary table that inherits the default: for the column itself DEFAULT() returns NULL without a row if
    it is NOT NULL.
    """
    text = session.value(
        f"SELECT HEX(DEFAULT(d)) FROM (SELECT {identifier(column)} AS d FROM (SELECT 1) AS one LEFT JOIN {table.sql} "
        "ON FALSE LIMIT 1) AS inherited"
    )
    if not text:
        raise _unreadable(table, column, "the DEFAULT")
    return bytes.fromhex(text.decode())


def spelled_type(session: Session, table: TableName, column: str, column_type: str) -> str:
    """The type of an ENUM or SET as information_schema prints it, with doubtful members as hexadecimal literals."""
    kind = column_type.partition("(")[0].lower()
    if kind not in ("enum", "set") or DOUBTFUL not in column_type:
        return column_type
    printed = _MEMBER.findall(column_type)
    doubtful = [number for number, text in enumerate(printed, 1) if DOUBTFUL in text]
    true = members(session, table, column, kind, doubtful)
    spelled = (f"0x{true[number].hex()}" if number in true else text for number, text in enumerate(printed, 1))
    return f"{kind}({','.join(spelled)})"


def _unreadable(table: TableName, column: str, what: str) -> DataError:
    return DataError(
        Reason.DEFINITION_UNREADABLE,
        f"the server prints {what} of {table}.{column} with question marks, perhaps in place of other characters, and "
        "cannot tell the true texts; leave the table out with tables.exclude, or give those members other texts",
    )
