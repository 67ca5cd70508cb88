"""Edits the output of SHOW CREATE TABLE so that a table created from it equals the source's, and is printed as it is.

Texts that are printed as ``?`` are replaced.
Affected are the members of ENUM and SET and, on MariaDB, the DEFAULT of text and binary columns (MySQL prints those as
hexadecimal numbers). Literals in expressions, CHECKs and partitions are printed exactly. A COMMENT is not, but both
families store a ``?`` themselves for such characters. Collations that an old server omits, and that a newer one would
complete by another, are added. Used by ``create``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.schema.definition import elements_of
from ferry_core.schema.tokens import Token, tokens_of
from ferry_core.tables.members import DOUBTFUL, default, members
from ferry_core.tables.table import TableName

LITERAL_DEFAULTS = frozenset({"CHAR", "VARCHAR", "BINARY", "VARBINARY", "ENUM", "SET"})
"""Types whose DEFAULT may be a literal; for TEXT and BLOB it is an expression."""


def spelled_out(session: Session, table: TableName, statement: str) -> str:
    """``statement``, the SHOW CREATE TABLE of ``table``, with hexadecimal literals in place of doubtful texts, without
    inherited collations and with omitted ones.
    """
    elements, end = elements_of(statement, table)
    options = list(tokens_of(statement[end:]))
    collation, unprinted = _collation(options), session.version.unprinted_collations
    edits = [(end + at, end + at, text) for at, text in _omitted(options, unprinted, " COLLATE=")]
    for element in elements:
        if len(element) > 1 and element[0].kind == "name":
            doubtful = [*_members(session, table, element)]
            edits += [(at, at, text) for at, text in _omitted(element, unprinted, " COLLATE ")]
            if session.flavor is Flavor.MARIADB:
                doubtful += _default(session, table, element)
            elif collation:
                edits += _inherited(element, collation)
            edits += [(token.start, token.end, f"0x{text.hex()}") for token, text in doubtful]
    for start, stop, text in sorted(edits, reverse=True):
        statement = f"{statement[:start]}{text}{statement[stop:]}"
    return statement


def _collation(options: Iterable[Token]) -> str:
    """The collation among the table's options; empty if none is printed."""
    tokens = list(options)
    for word, mark, name in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if word.word == "COLLATE" and mark.is_mark("="):
            return name.word
    return ""


def _omitted(tokens: Sequence[Token], unprinted: Mapping[str, str], clause: str) -> Iterator[tuple[int, str]]:
    """Where a character set of ``unprinted`` has no COLLATE, and what to add there."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.raw == "(") - (token.raw == ")")
        charset = token.text.lower()
        named = at > 1 and tokens[at - 2].word in ("CHARSET", "CHARACTER") and depth == 0
        if named and charset in unprinted and [one.word for one in tokens[at + 1 : at + 2]] != ["COLLATE"]:
            yield token.end, f"{clause}{unprinted[charset]}"


def _inherited(element: Sequence[Token], collation: str) -> Iterator[tuple[int, int, str]]:
    """The COLLATE of a column without a character set of its own, if it is the table's."""
    depth = 0
    for before, token, name in zip(element, element[1:], element[2:], strict=False):
        depth += (token.raw == "(") - (token.raw == ")")
        if depth == 0 and token.word in ("CHARACTER", "DEFAULT", "GENERATED", "COMMENT"):
            return
        if depth == 0 and token.word == "COLLATE" and name.word == collation:
            yield before.end, name.end, ""
            return


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
