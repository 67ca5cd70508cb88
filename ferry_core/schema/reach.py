"""What a statement in the binlog may write to without naming it: through views, triggers, functions and foreign keys.

A server that logs statements does not say which rows they changed. A statement is harmless for the selected tables if
no name in it leads to one of them: not a selected table's, not that of a view, a routine, or a table with a trigger
whose text names one that does, and not that of a table whose rows take selected ones along (a foreign key that
cascades). Names are compared without case and accents, since those of routines are. What cannot be read leads anywhere.
Pure. Used by ``run.logged_statements``.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from enum import Flag, auto
from itertools import takewhile
from typing import NamedTuple, TypeAlias

from ferry_core.schema.tokens import UNKNOWN, Cursor, Token, readings

Name: TypeAlias = tuple[str, str]
"""Schema and name, folded."""


class Stored(NamedTuple):
    """What a statement may use by ``name``, and the text that is executed then."""

    schema: str
    name: str
    text: str


class UnreadableNameError(Exception):
    """A name cannot be compared: it may be any."""


class Effect(Flag):
    """What a statement does to the names that lead to others."""

    NONE = 0
    ADDS = auto()
    REMOVES = auto()
    HIDES = auto()
    """It makes a name that leads to others and that nobody can look up."""


def folded(text: str) -> str:
    """A name as a server compares it at the most loosely.

    Raises UnreadableNameError for letters that a collation may take for others, such as sharp s.
    """
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    for letter in plain:
        if letter == UNKNOWN or (letter > "\x7f" and "LATIN" in unicodedata.name(letter, "LATIN")):
            raise UnreadableNameError
    return plain.casefold()


def named(text: str, default_schema: str) -> frozenset[Name]:
    """Everything that a name in the text may mean, under any reading. Raises UnreadableNameError.

    MariaDB logs the function f of the package p as `schema`.`p.f`.
    """
    found: set[Name] = set()
    default, read = folded(default_schema), False
    for tokens in readings(text):
        read = True
        for chain in _chains(tokens):
            parts = [folded(part) for part in chain[:2]]
            found.update((default, name) for name in _with_packages(parts[0]))
            if len(parts) > 1:
                found.update((parts[0], name) for name in _with_packages(parts[1]))
    if not read:
        raise UnreadableNameError
    return frozenset(found)


def _with_packages(name: str) -> Iterator[str]:
    """It, and what a package is called if this is the name of a function in it."""
    yield name
    for at, character in enumerate(name):
        if character == ".":
            yield name[:at]


def _chains(tokens: list[Token]) -> Iterator[tuple[str, ...]]:
    cursor = Cursor(tokens)
    while cursor.at < len(tokens):
        if chain := cursor.chain():
            yield chain
        else:
            cursor.at += 1


def leading_to(tables: Iterable[tuple[str, str]], stored: Iterable[Stored]) -> frozenset[Name]:
    """The names that lead to one of the tables, with their own. Raises UnreadableNameError."""
    leading = {(folded(schema), folded(name)) for schema, name in tables}
    waiting = [((folded(one.schema), folded(one.name)), named(one.text, one.schema)) for one in stored]
    found = True
    while found:
        now = [(name, uses) for name, uses in waiting if not leading.isdisjoint(uses)]
        waiting = [(name, uses) for name, uses in waiting if leading.isdisjoint(uses)]
        leading.update(name for name, _ in now)
        found = bool(now)
    return frozenset(leading)


_MERGE = {"MERGE", "MRG_MYISAM"}
_LINKS = {"REFERENCES", "UNION", "LIKE", *_MERGE}
"""Words with which CREATE TABLE may link the new table with another one."""
_UNLINKS = {*_LINKS, "RENAME", "DROP", "EXCHANGE", "ENGINE", "TYPE"}
"""Of MyISAM, a table may be in a MERGE table."""
_UNLINKED = {"USER", "ROLE", "SERVER", "INDEX", "KEY", "SEQUENCE", "TABLESPACE", "UNDO", "LOGFILE", "RESOURCE"}
_BEFORE = {"OR", "REPLACE", "TEMPORARY", "ONLINE", "OFFLINE", "IGNORE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"}


def effect_of(text: str) -> Effect:
    """All that the statement may do, under any reading."""
    found, read = Effect.NONE, False
    for tokens in readings(text):
        found |= _effect([token.word for token in tokens])
        read = True
    return found if read else Effect.ADDS | Effect.REMOVES


def _effect(words: list[str]) -> Effect:
    if words[:2] == ["SET", "STATEMENT"] and "FOR" in words:
        words = words[words.index("FOR") + 1 :]
    if not words or words[0] not in ("CREATE", "ALTER", "DROP", "RENAME"):
        return Effect.NONE
    verb, *rest = words
    before = list(takewhile(_BEFORE.__contains__, rest))
    thing, *rest = rest[len(before) :] or [""]
    if thing in _UNLINKED:
        return Effect.NONE
    if thing == "TABLE" and "TEMPORARY" in before:
        return Effect.HIDES if _MERGE & {*rest} else Effect.NONE
    adds = verb != "DROP" and _adds(verb, thing, {*rest})
    removes = verb == "DROP" or "REPLACE" in before or (verb != "CREATE" and adds)
    return (Effect.ADDS if adds else Effect.NONE) | (Effect.REMOVES if removes else Effect.NONE)


def _adds(verb: str, thing: str, words: set[str]) -> bool:
    if thing in ("DATABASE", "SCHEMA"):
        return False
    if thing != "TABLE" or verb == "RENAME":
        return True
    return bool(words & (_LINKS if verb == "CREATE" else _UNLINKS))
