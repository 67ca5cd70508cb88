"""Replaces texts that SHOW CREATE TABLE prints as ``?``, so that a table created from it equals the source's.

Affected are the members of ENUM and SET and, on MariaDB, the DEFAULT of text and binary columns (MySQL prints those as
hexadecimal numbers). Literals in expressions, CHECKs and partitions are printed exactly. A COMMENT is not, but both
families store a ``?`` themselves for such characters. Used by ``create``.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.schema.definition import elements_of
from ferry_core.schema.tokens import Token
from ferry_core.tables.members import DOUBTFUL, default, members
from ferry_core.tables.table import TableName

LITERAL_DEFAULTS = frozenset({"CHAR", "VARCHAR", "BINARY", "VARBINARY", "ENUM", "SET"})
"""Types whose DEFAULT may be a literal; for TEXT and BLOB it is an expression."""


def spelled_out(session: Session, table: TableName, statement: str) -> str:
    """``statement``, the SHOW CREATE TABLE of ``table``, with hexadecimal literals in place of doubtful texts."""
    edits: list[tuple[Token, bytes]] = []
    for element in elements_of(statement, table)[0]:
        if len(element) > 1 and element[0].kind == "name":
            edits += _members(session, table, element)
            if session.flavor is Flavor.MARIADB:
                edits += _default(session, table, element)
    for token, text in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        statement = f"{statement[: token.start]}0x{text.hex()}{statement[token.end :]}"
    return statement


def _members(session: Session, table: TableName, element: Sequence[Token]) -> Iterator[tuple[Token, bytes]]:
    kind = element[1].word.lower()
    if kind not in ("enum", "set"):
        return
    doubtful: dict[int, Token] = {}
    number = 1
    for token in element[3:]:
        if token.raw == ")":
            break
        number += token.raw == ","
        if token.kind == "string" and DOUBTFUL in token.raw:
            doubtful[number] = token
    for number, text in members(session, table, element[0].text, kind, doubtful).items():
        yield doubtful[number], text


def _default(session: Session, table: TableName, element: Sequence[Token]) -> Iterator[tuple[Token, bytes]]:
    if element[1].word not in LITERAL_DEFAULTS:
        return
    for word, token in pairwise(element):
        if word.word == "DEFAULT" and token.kind == "string" and _doubtful(token.raw):
            yield token, default(session, table, element[0].text)


def _doubtful(text: str) -> bool:
    return DOUBTFUL in text or any("\udc80" <= character <= "\udcff" for character in text)
