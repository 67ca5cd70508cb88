"""Checks that a table just created from the source's definition equals the source's. Called by ``create`` and
preflight.

A server may interpret a definition differently from the one that printed it: a default that is not printed (the
collation of a character set), a limit at which an index is cut, an option that it ignores. Servers of one version print
alike, so their texts are compared. Between versions only what affects rows is compared: columns with their collations,
and indexes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ferry_core.mysql.session import Session
from ferry_core.schema.definition import Definition
from ferry_core.tables.alike import plain_collation, plain_type
from ferry_core.tables.describe import columns_of
from ferry_core.tables.families import counterpart
from ferry_core.tables.members import spelled_type
from ferry_core.tables.table import Column, Table, TableName
from ferry_core.text import shortlist

_FREE = re.compile(
    r" (?:AUTO_INCREMENT=\d+|(?:DATA|INDEX) DIRECTORY ?= ?'(?:[^'\\]|\\.|'')*')"  # counters are raised later
    r"| CHARACTER SET \w+| COLLATE \w+"  # printed or not for the same column; the columns themselves are compared
    r"| `PAGE_COMPRESSED`='ON'"  # printed by MariaDB for the default of a server with innodb_compression_default = ON
    r"| ?/\*(?![M!]).*?\*/"  # MariaDB prints options that it does not know as comments
    r"|\b_[a-z0-9]+(?=\\?')",  # MySQL prints other introducers once a table was created from its own output
    re.DOTALL,
)
_INDEX = re.compile(r"^(?:(UNIQUE|FULLTEXT|SPATIAL|VECTOR) )?(?:KEY (`(?:[^`]|``)*`)|PRIMARY KEY) (\(.*?\))(?: |$)")
SHOWN = 150


def differences(
    source: Session,
    target: Session,
    pairs: Sequence[tuple[Table, TableName]],
    read: Callable[[Session, TableName], Definition],
) -> dict[Table, str]:
    """Differences, in words, between tables and the ones created from them. Equal tables have no entry."""
    there = columns_of(target, [name for _, name in pairs])
    found = {}
    for table, created in pairs:
        expected, got = read(source, table.source).on_engine(table.target_engine), read(target, created)
        texts = [
            *_column_differences(
                _expected(table, source, target), [_spelled(target, created, column) for column in there[created]]
            ),
            *(
                _text_differences(expected, got)
                if source.version.text == target.version.text
                else _index_differences(expected, got)
            ),
        ]
        if texts:
            found[table] = shortlist(texts, 3, "; ", "more differences")
    return found


def _expected(table: Table, source: Session, target: Session) -> Sequence[Column]:
    """The columns of the created table."""
    if source.flavor is target.flavor:
        return table.columns
    return [counterpart(column, target.version) for column in table.columns]


def _column_differences(expected: Sequence[Column], got: Sequence[Column]) -> Iterator[str]:
    names = [[column.name for column in columns] for columns in (expected, got)]
    if names[0] != names[1]:
        yield f"its columns are {', '.join(names[1])} and not {', '.join(names[0])}"
        return
    for one, other in zip(expected, got, strict=True):
        if plain_collation(one.collation) != plain_collation(other.collation):
            yield f"the column {one.name} has the collation {other.collation} and not {one.collation}"
        elif _kind(one) != _kind(other):
            yield f"the column {one.name} is {' '.join(_kind(other))} and not {' '.join(_kind(one))}"


def _spelled(session: Session, table: TableName, column: Column) -> Column:
    """Members of an ENUM or SET may be printed as question marks; ``Table.columns`` has the real ones."""
    if column.data_type not in ("enum", "set"):
        return column
    return replace(column, column_type=spelled_type(session, table, column.name, column.column_type))


def _kind(column: Column) -> tuple[str, ...]:
    traits = {"": True, "NOT NULL": not column.nullable, "generated": column.generated, "invisible": column.invisible}
    return plain_type(column.column_type), *(name for name, has in traits.items() if has and name)


def _text_differences(expected: Definition, got: Definition) -> Iterator[str]:
    parts = [{_plain(part) for part in (*_unnamed(one), one.options)} for one in (expected, got)]
    lost, gained = sorted(parts[0] - parts[1]), sorted(parts[1] - parts[0])
    for line in gained[:2]:
        yield f"it has {line[:SHOWN]}"
    for line in lost[:2]:
        yield f"the source has {line[:SHOWN]}"


def _unnamed(definition: Definition) -> list[str]:
    """Elements, with CHECKs without their names, because those may be taken."""
    elements = list(definition.elements)
    for check in definition.checks:
        elements[check.element] = check.unnamed
    return elements


def _plain(text: str) -> str:
    return _FREE.sub("", text).strip()


def _index_differences(expected: Definition, got: Definition) -> Iterator[str]:
    indexes = [dict(_indexes(one)) for one in (expected, got)]
    for name in sorted(indexes[0].keys() | indexes[1].keys()):
        if indexes[0].get(name) != indexes[1].get(name):
            yield f"the index {name} is {indexes[1].get(name, 'missing')} and not {indexes[0].get(name, 'there')}"


def _indexes(definition: Definition) -> Iterator[tuple[str, str]]:
    for element in definition.elements:
        if found := _INDEX.match(element):
            yield found[2] or "PRIMARY", f"{found[1] or ''} {found[3]}".strip()
