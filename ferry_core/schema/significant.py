"""The parts of a table's definition that must not change during a run. Pure; used by ``run.definitions``.

Columns (names, order, types, character sets, defaults, expressions), the key, UNIQUE indexes, CHECKs, foreign keys, the
engine and system versioning are significant. Other indexes, comments, counters, partitions, the table's default
character set and its storage are not: rows and their images in the binlog are the same with all of them.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ferry_core.errors import DataError
from ferry_core.schema.definition import parse
from ferry_core.schema.tokens import Token, tokens_of
from ferry_core.tables.nullable import stored, without_key
from ferry_core.tables.table import Table, TableName

_PLAIN_INDEX = {"KEY", "INDEX", "FULLTEXT", "SPATIAL", "VECTOR"}
_UNIQUE_INDEX = {"UNIQUE", "PRIMARY"}
_TWO_WORDS = {"COMMENT", "COLLATE", "CHARSET"}
"""Options with a value. Character sets come from information_schema, whatever the table's default is."""

_VERSIONED = "WITH SYSTEM VERSIONING"


def significant(table: Table) -> tuple[str, ...]:
    """One line for each significant part. Equal for two readings of a table that is still the same for a run."""
    lines = [_column_line(table, at) for at in range(len(table.columns))]
    lines.append(f"key {stored(table) if table.key.promised else table.key.index_name}")
    try:
        definition = parse(table.definition, table.source)
    except DataError:
        return (*lines, table.definition)  # it is a view now
    for element in definition.elements:
        lines += _element_line(tokens_of(element))
    lines += [f"FOREIGN KEY {key.before} {key.references.sql} {key.after}" for key in definition.foreign_keys]
    return (*lines, *_option_lines(tokens_of(definition.options)))


def digest(table: Table) -> str:
    """A short text that represents ``significant`` in a checkpoint."""
    if table.key.conditional:
        table = without_key(table)  # which it may become, and has to be in states of older versions
    return hashlib.sha256("\n".join(sorted(significant(table))).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def differences(before: Table, now: Table | None) -> str:
    """What differs, for people; empty if nothing does."""
    if now is None:
        return "it is gone, is no longer a table, or has lost its key"
    if before.whole and now.key.conditional:
        now = without_key(now)
    if before.key in now.other_keys:
        now = replace(now, key=before.key)
    if (before.columns, before.key, before.definition) == (now.columns, now.key, now.definition):
        return ""  # the usual case: parsing thousands of texts takes seconds
    old, new = significant(before), significant(now)
    if sorted(old) == sorted(new):
        return ""
    lost, gained = ([line for line in one if line not in other] for one, other in ((old, new), (new, old)))
    shown = [f"no longer {printable(line)}" for line in lost[:1]] + [f"now {printable(line)}" for line in gained[:1]]
    return "; ".join(shown) or "one of its parts occurs more or less often"


def is_versioned(statement: str, table: TableName) -> bool:
    """Whether MariaDB keeps earlier versions of the table's rows in it. ``statement``: SHOW CREATE TABLE."""
    # Parsing hundreds of texts takes a second.
    return "VERSIONING" in statement.upper() and _VERSIONED in _option_lines(tokens_of(parse(statement, table).options))


def printable(text: str) -> str:
    """For a message: short, in one line, whatever bytes it contains."""
    return " ".join(text.split())[:200].encode("utf-8", "replace").decode()


def _column_line(table: Table, at: int) -> str:
    column = table.columns[at]
    charset = f" {column.charset} {column.collation}" if column.charset else ""
    return f"column {at + 1}: {column.name} {column.column_type}{charset}{' NULL' if column.nullable else ''}"


def _element_line(tokens: Sequence[Token]) -> Iterator[str]:
    first = tokens[0].word
    if first in _PLAIN_INDEX:
        return
    if first in _UNIQUE_INDEX:
        yield f"UNIQUE {_first_parentheses(tokens)}"
    else:
        start = 2 if first == "CONSTRAINT" else 0  # a constraint's name is not significant
        yield " ".join(token.raw for token in _without_remarks(tokens[start:]))


def _first_parentheses(tokens: Sequence[Token]) -> str:
    depth, inside = 0, []
    for token in tokens:
        depth -= token.raw == ")"
        if depth:
            inside.append(token.raw)
        elif inside:
            break
        depth += token.raw == "("
    return " ".join(inside)


def _without_remarks(tokens: Sequence[Token]) -> Iterator[Token]:
    depth = skip = 0
    for at, token in enumerate(tokens):
        depth += (token.raw == "(") - (token.raw == ")")
        if skip:
            skip -= 1
        elif depth == 0 and token.word in _TWO_WORDS:
            skip = 1
        elif depth == 0 and [one.word for one in tokens[at : at + 2]] == ["CHARACTER", "SET"]:
            skip = 2
        else:
            yield token


def _option_lines(tokens: Sequence[Token]) -> Iterator[str]:
    words = [token.word for token in tokens]
    if "ENGINE" in words:
        yield f"ENGINE {' '.join(words[words.index('ENGINE') + 1 :][:2]).strip()}"
    if ("SYSTEM", "VERSIONING") in itertools.pairwise(words):
        yield _VERSIONED
