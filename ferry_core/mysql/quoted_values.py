"""Takes the values of rows out of what a server says, and out of statements: messages end in logs, Events and the
status.

Called by ``faults`` and ``session``, and wherever a message shows a statement.

The texts are those of MySQL 9.7 and MariaDB 10.11. Other numbers quote names only, or a text that an author of the
database chose (SIGNAL).
"""

import re

_ENTRY = re.compile(r"(?<=entry )'.*'(?= for key)", re.DOTALL)
_VALUE = re.compile(r"(?<=value: )'.*'(?= for column | for function |$)", re.DOTALL)
_PARTITION = re.compile(r"(?<=for value ).*", re.DOTALL)
_PARSED = re.compile(r"'.*'(?= value found)", re.DOTALL)
_EXPRESSION = re.compile(r"(?<=out of range in )'.*'", re.DOTALL)

_PLACES = {
    **dict.fromkeys((1062, 1586, 1859), _ENTRY),
    **dict.fromkeys((1292, 1366, 1411, 1525), _VALUE),
    **dict.fromkeys((1526, 3964), _PARTITION),
    1367: _PARSED,
    1690: _EXPRESSION,
}
LEFT_OUT = "(not shown)"

_NAME_OR_LITERAL = re.compile(
    r"""(?P<name>`(?:[^`]|``)*(?:`|$))"""
    r"""|'(?:[^'\\]|\\.|'')*(?:'|\\?$)|"(?:[^"\\]|\\.|"")*(?:"|\\?$)"""
    r"""|\b0[xb][0-9A-Fa-f]+\b|\b\d+(?:\.\d*)?(?:e[+-]?\d+)?\b""",
    re.DOTALL | re.IGNORECASE,
)
_OF_DEFINITIONS = re.compile(r"\s*(?:CREATE|ALTER|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)
_WITH_VALUES = re.compile(r"\b(?:SELECT|VALUES|IDENTIFIED|USER|SERVER)\b", re.IGNORECASE)
"""Of rows, or passwords. In other definitions they are names: then the defaults of columns are left out."""
_COMMENT = re.compile(r"\s*(?:/\*.*?\*/|--\s[^\n]*\n|#[^\n]*\n)", re.DOTALL)
_READ_CHARACTERS = 4000
"""Statements have megabytes, of which messages show a line."""


def without_values(code: int, text: str) -> str:
    """The message of error or warning ``code`` without the values that it quotes."""
    place = _PLACES.get(code)
    return place.sub(LEFT_OUT, text) if place is not None else text


def without_literals(statement: str) -> str:
    """A statement without strings and numbers, as ``?``. Those that define tables and the like are left as they are."""
    head = statement[:_READ_CHARACTERS]
    begin = head
    while comment := _COMMENT.match(begin):
        begin = begin[comment.end() :]
    if _OF_DEFINITIONS.match(begin) and not _WITH_VALUES.search(statement):
        return statement
    return _NAME_OR_LITERAL.sub(lambda found: found["name"] or "?", head)
