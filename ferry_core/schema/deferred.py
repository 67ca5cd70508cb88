"""Which indexes of a new table are created after its rows, and the one ALTER that adds them. Pure.

An index that is built from all rows at once takes a fraction of the time that it takes row by row. Deferred are
secondary indexes, also FULLTEXT and SPATIAL ones, that are not UNIQUE. Not deferred is what the copy, the stream or the
definition itself needs: the index behind a foreign key on either side, the one of an AUTO_INCREMENT column, and all of
a table whose key is no UNIQUE index or that is copied whole. Nor is an index over expressions or generated columns:
rows that are older than today's sql_mode pass when they are loaded, and would have to pass once more.

SHOW CREATE TABLE prints indexes of one kind in the order in which they were added. So an ALTER drops and adds, in the
same place, each index that is there already and comes after a deferred one: servers recognise it as unchanged and only
give it its place. Used by ``create`` and ``workers.index_builds``.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ferry_core.mysql.literals import identifier
from ferry_core.schema.definition import Definition, parse
from ferry_core.schema.significant import is_versioned
from ferry_core.schema.tokens import Token, tokens_of
from ferry_core.tables.table import Table, TableName

_OTHERS = ("UNIQUE", "PRIMARY", "VECTOR")

Columns = tuple[str, ...]


@dataclass(frozen=True)
class _Index:
    element: int
    name: str
    plain: bool  # not UNIQUE, and over columns alone
    columns: Columns  # in lower case
    text: str


def referenced_columns(tables: Iterable[Table]) -> Mapping[str, Collection[Columns]]:
    """The columns that foreign keys of ``tables`` reference, by the referenced table's name in lower case."""
    found: dict[str, set[Columns]] = defaultdict(set)
    for table in tables:
        if "FOREIGN KEY" in table.definition:
            for key in parse(table.definition, table.source).foreign_keys:
                found[str(key.references).lower()].add(tuple(theirs for _, theirs in key.columns))
    return found


def without_deferred(definition: Definition, table: Table, referenced: Mapping[str, Collection[Columns]]) -> Definition:
    """The definition to create the table with. ``referenced`` comes from ``referenced_columns``."""
    left_out = set(_deferrable(definition, table, referenced.get(str(table.source).lower(), ())))
    if not left_out:
        return definition
    kept = [at for at in range(len(definition.elements)) if at not in left_out]
    return replace(
        definition,
        elements=tuple(definition.elements[at] for at in kept),
        checks=tuple(replace(check, element=kept.index(check.element)) for check in definition.checks),
    )


def _deferrable(definition: Definition, table: Table, referenced: Collection[Columns]) -> list[int]:
    if table.whole or table.key.promised or table.target_engine != "InnoDB":
        return []
    if table.definition and is_versioned(table.definition, table.source):
        return []
    generated = {column.name.lower() for column in table.columns if column.generated}
    needed = [*referenced, *(tuple(ours for ours, _ in key.columns) for key in definition.foreign_keys)]
    needed += [(name,) for name in _counted(definition)]
    found: list[int] = []
    for index in _secondary(definition):
        if not index.plain:
            if index.text.startswith("VECTOR"):
                found.clear()  # it would have to be built again to come after them; MySQL puts functional ones last
            continue
        begins = (set(index.columns[: len(columns)]) == set(columns) for columns in needed)
        if generated.isdisjoint(index.columns) and not any(begins):
            found.append(index.element)
    return found


def _counted(definition: Definition) -> Iterator[str]:
    """The column with AUTO_INCREMENT."""
    for element in definition.elements:
        tokens = tokens_of(element)
        if tokens[0].kind == "name" and any(token.word == "AUTO_INCREMENT" for token in tokens):
            yield tokens[0].text.lower()


def _indexes(definition: Definition) -> Iterator[_Index]:
    for at, element in enumerate(definition.elements):
        tokens = tokens_of(element)
        words = [token.word for token in tokens[:2]]
        named = words.index("KEY") + 1 if "KEY" in words else 0
        if tokens[0].kind == "name" or not named or named >= len(tokens) or tokens[named].kind != "name":
            continue
        parts = list(_parts(tokens[named + 1 :]))
        columns = tuple(part[0].text.lower() for part in parts if part[0].kind == "name")
        plain = words[0] not in _OTHERS and len(columns) == len(parts)
        yield _Index(at, tokens[named].text, plain, columns, element)


def _parts(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each part, in the first parentheses."""
    depth, part = 0, list[Token]()
    for token in tokens:
        depth -= token.is_mark(")")
        if depth == 0 and part:
            yield part
            return
        if depth == 1 and token.is_mark(","):
            yield part
            part = []
        elif depth >= 1:
            part.append(token)
        depth += token.is_mark("(")


def names_missing(wanted: Definition, there: Definition) -> list[str]:
    """The indexes that are not UNIQUE and that a table lacks, by name."""
    known = {index.name.lower() for index in _indexes(there)}
    return [index.name for index in _indexes(wanted) if index.plain and index.name.lower() not in known]


def in_order(wanted: Definition, there: Definition) -> bool:
    """Whether SHOW CREATE TABLE prints the indexes of both in one order."""
    names = [[index.name.lower() for index in _indexes(one)] for one in (wanted, there)]
    return [name for name in names[0] if name in names[1]] == [name for name in names[1] if name in names[0]]


def addition(target: TableName, wanted: Definition, there: Definition) -> str:
    """The ALTER TABLE that adds the missing indexes, each in its place; empty if none is missing."""
    missing = {name.lower() for name in names_missing(wanted, there)}
    if not missing:
        return ""
    clauses: list[str] = []
    known = {index.name.lower() for index in _indexes(there)}
    for index in _secondary(wanted):
        if index.name.lower() in missing:
            clauses.append(f"ADD {index.text}")
        elif clauses and index.plain and index.name.lower() in known:
            clauses += [f"DROP KEY {identifier(index.name)}", f"ADD {index.text}"]
    return f"ALTER TABLE {target.sql} {', '.join(clauses)}"


def _secondary(definition: Definition) -> Iterator[_Index]:
    """Servers print UNIQUE ones before all others, and FULLTEXT ones last."""
    indexes = [index for index in _indexes(definition) if not index.text.startswith(("UNIQUE", "PRIMARY"))]
    yield from sorted(indexes, key=lambda index: index.text.startswith("FULLTEXT"))
