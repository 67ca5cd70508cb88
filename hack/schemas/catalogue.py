"""What ``rows.py`` must know of a loaded schema: columns, keys and foreign keys, from information_schema."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.servers import Server


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    """DATA_TYPE in lower case."""
    definition: str
    """COLUMN_TYPE: with lengths, members and UNSIGNED."""
    length: int
    precision: int
    scale: int
    charset: str
    nullable: bool
    automatic: bool
    """AUTO_INCREMENT."""

    @property
    def members(self) -> list[str]:
        """Of an ENUM or a SET."""
        return [text.replace("''", "'") for text in re.findall(r"'((?:[^']|'')*)'", self.definition)]

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.definition


@dataclass(frozen=True)
class Reference:
    """A foreign key."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass
class Table:
    name: str
    columns: list[Column] = field(default_factory=list)
    """Without generated ones."""
    unique: set[str] = field(default_factory=set)
    """Columns that are part of a unique index."""
    references: list[Reference] = field(default_factory=list)

    @property
    def referencing(self) -> set[str]:
        return {name for reference in self.references for name in reference.columns}


def tables(server: "Server", schema: str) -> dict[str, Table]:
    """Every base table, each after those that it references, as far as there is such an order."""
    found = {name: Table(name) for (name,) in server.query(_TABLES, (schema,))}
    for table, name, kind, definition, length, precision, scale, charset, nullable, extra in server.query(
        _COLUMNS, (schema,)
    ):
        if table in found:
            found[table].columns.append(
                Column(
                    *(name, kind.lower(), definition, int(length or 0), int(precision or 0), int(scale or 0)),
                    *(charset or "", nullable == "YES", "auto_increment" in extra.lower()),
                )
            )
    for table, name in server.query(_UNIQUE, (schema,)):
        if table in found and name:
            found[table].unique.add(name)
    for table, columns, parent, parent_columns in server.query(_REFERENCES, (schema, schema)):
        found[table].references.append(Reference(tuple(columns.split("/")), parent, tuple(parent_columns.split("/"))))
    return _ordered(found)


def _ordered(found: dict[str, Table]) -> dict[str, Table]:
    left, order = dict(found), dict[str, Table]()
    while left:
        free = [
            name
            for name, table in left.items()
            if all(reference.parent not in left or reference.parent == name for reference in table.references)
        ]
        for name in free or [next(iter(left))]:
            order[name] = left.pop(name)
    return order


_TABLES = """
    SELECT TABLE_NAME FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME
"""
_COLUMNS = """
    SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE,
           CHARACTER_SET_NAME, IS_NULLABLE, EXTRA
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND IFNULL(GENERATION_EXPRESSION, '') = ''
    ORDER BY TABLE_NAME, ORDINAL_POSITION
"""
_UNIQUE = """
    SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND NON_UNIQUE = 0
"""
_REFERENCES = """
    SELECT TABLE_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY ORDINAL_POSITION SEPARATOR '/'), MAX(REFERENCED_TABLE_NAME),
           GROUP_CONCAT(REFERENCED_COLUMN_NAME ORDER BY ORDINAL_POSITION SEPARATOR '/')
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_SCHEMA = %s GROUP BY TABLE_NAME, CONSTRAINT_NAME
    ORDER BY TABLE_NAME, CONSTRAINT_NAME
"""
