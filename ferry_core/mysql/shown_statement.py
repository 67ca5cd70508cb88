"""Takes the literals out of statements that messages show: messages end in logs, Events and the status.

A backslash escapes or not, by the sql_mode of the statement's session, a version comment is code on some servers only,
and a character of another character set may hide a quote. Where that decides which part of the text is a string, the
rest is left out. Called wherever a message shows a statement. It is below ``schema.tokens``, which gives all readings.
"""

import re

_PIECE = re.compile(
    r"(?P<name>`(?:[^`\ufffd]|``)*+`)"
    r"|(?P<comment>/\*(?!\+|M?!).*?\*/|/\*\+[^'\"`]*?\*/|--(?=[\x00-\x20\x7f]|\Z)[^\n]*|\#[^\n]*)"
    r"|(?P<literal>'(?:[^'\\]|\\[^'\"\\]|'')*+'|\"(?:[^\"\\]|\\[^'\"\\]|\"\")*+\""
    r"|\b0[xb][0-9A-Fa-f]+\b|\b\d+(?:\.\d*)?(?:e[+-]?\d+)?\b)"
    r"|(?P<unclear>(?:/\*|['\"`\ufffd]).*)",
    re.DOTALL | re.IGNORECASE,
)
_SHOWN = {"comment": " ", "literal": "?", "unclear": "? ..."}
_OF_DEFINITION = re.compile(
    rf"(?P<code>/\*M?!(?:(?!--)[^'\"`\ufffd/#])*?\*/)|{_PIECE.pattern}", re.DOTALL | re.IGNORECASE
)
"""With version comments in which no string and no other comment begins, such as mysqldump writes around PARTITION."""
_SHOWN_OF_DEFINITION = {"comment": " ", "unclear": "? ..."}
_OF_DEFINITIONS = re.compile(r"\s*(?:CREATE|ALTER|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)
_WITH_VALUES = re.compile(
    r"\b(?:SELECT|VALUES|IDENTIFIED|USER|PASSWORD|PASSWD|PWD|SERVER|CONNECTION|SPIDER|CONNECT|FEDERATED|OPTION_LIST|COMMENT"
    r"|EVENT|FUNCTION|PACKAGE|PROCEDURE|TRIGGER)\b|;",
    re.IGNORECASE,
)
"""Of rows, or passwords: those of some engines are in a table's comment or options. In other definitions they are
names: then the defaults of columns are left out.
"""
_COMMENT = re.compile(r"\s*(?:/\*(?!M?!).*?\*/|--\s[^\n]*\n|#[^\n]*\n)", re.DOTALL)
_READ_CHARACTERS = 4000
"""Statements have megabytes, of which messages show a line."""


def without_literals(statement: str) -> str:
    """A statement without comments, and with ``?`` for strings and numbers.

    Those that define tables and the like keep theirs, for the values of columns.
    """
    begin = head = statement[:_READ_CHARACTERS]
    while comment := _COMMENT.match(begin):
        begin = begin[comment.end() :]
    if _OF_DEFINITIONS.match(begin) and not _WITH_VALUES.search(statement):
        return _OF_DEFINITION.sub(_shown_of_definition, statement).strip()
    return _PIECE.sub(lambda found: _SHOWN.get(found.lastgroup or "", found.group()), head).strip()


def _shown_of_definition(found: re.Match[str]) -> str:
    return _SHOWN_OF_DEFINITION.get(found.lastgroup or "", found.group())
