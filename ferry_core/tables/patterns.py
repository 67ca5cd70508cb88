"""``schema.table`` glob patterns: which names they match. Used by discovery and wherever a selection is shown.

A name may contain dots, so ``a.b.c`` has two readings: table ``b.c`` of schema ``a``, or table ``c`` of schema ``a.b``.
Backticks decide: ``a.`b.c```. Wildcards also work within backticks, and a doubled backtick is a single one. Without
backticks every reading matches, but a pattern of which two readings match existing tables is refused (``ambiguous``).
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from ferry_core.mysql.literals import identifier
from ferry_core.tables.table import TableName, unquoted

_GLOB = re.compile(r"([*?\[])")
_QUOTED = r"`(?:[^`]|``)+`"
_SCHEMA_QUOTED = re.compile(rf"({_QUOTED})\.(.+)", re.DOTALL)
_TABLE_QUOTED = re.compile(rf"(.+)\.({_QUOTED})", re.DOTALL)


@lru_cache(maxsize=4096)
def readings(pattern: str) -> tuple[TableName, ...]:
    """The readings of a pattern, each with one glob for the schema and one for the table."""
    quoted = _SCHEMA_QUOTED.fullmatch(pattern) or _TABLE_QUOTED.fullmatch(pattern)
    if quoted is not None:
        return (TableName(*map(unquoted, quoted.groups())),)
    dots = (at for at, character in enumerate(pattern) if character == ".")
    return tuple(TableName(pattern[:dot], pattern[dot + 1 :]) for dot in dots)


def matches(name: TableName, pattern: str) -> bool:
    """Whether a pattern matches this table. A wildcard never extends from the schema into the table."""
    return any(_matches(name, reading) for reading in readings(pattern))


def ambiguous(pattern: str, existing: Iterable[TableName]) -> list[str]:
    """The readings that match existing tables, written with backticks, if there are several."""
    names = list(existing)
    named = [reading for reading in readings(pattern) if any(_matches(name, reading) for name in names)]
    return [f"{identifier(schema)}.{identifier(table)}" for schema, table in named] if len(named) > 1 else []


def named_and_matched(pattern: str, existing: Iterable[TableName]) -> list[str]:
    """Patterns for a name that ``pattern`` is, and for another that it matches, if there are both.

    Only a name with brackets does not match itself.
    """
    names = list(existing)
    are = [name for name in names if name in readings(pattern) and not _globs(name, name)]
    others = [name for name in names if name not in are and matches(name, pattern)]
    return [exactly(are[0]), exactly(others[0])] if are and others else []


def exactly(name: TableName) -> str:
    """A pattern that matches this name and no other."""
    return str(TableName(*(_GLOB.sub(r"[\1]", part) for part in name)))


def _matches(name: TableName, reading: TableName) -> bool:
    """Also a name that holds brackets, as messages print it."""
    return name == reading or _globs(name, reading)


def _globs(name: TableName, reading: TableName) -> bool:
    return fnmatchcase(name.schema, reading.schema) and fnmatchcase(name.name, reading.name)
