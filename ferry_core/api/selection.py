"""Which tables the spec selects, and their names on the target. Used by ``spec``."""

from typing import Annotated

from pydantic import Field

from ferry_core.api.model import Model

TablePattern = Annotated[str, Field(max_length=256, pattern=r"^[^.].*\..*[^.]$")]
_PART = "([^.`][^.]*|`([^`]|``)+`)"
TableName = Annotated[str, Field(max_length=261, pattern=rf"^{_PART}\.{_PART}$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=64)]
SchemaName = Annotated[str, Field(min_length=1, max_length=64)]


class TableRule(Model):
    """Settings for the tables that a pattern matches. For each table the first matching rule applies."""

    match: TablePattern
    """schema.table glob pattern: * any text, ? one character, [abc] one of them. A name that holds a dot stands in
    backticks: `a.b`.c is table c of schema a.b.
    """
    where: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Row filter: a SQL condition over the row, evaluated by the source. Only rows for which it is true are moved.
    Times in it are UTC. It must depend on the row alone.
    """
    key: Annotated[list[ColumnName], Field(min_length=1, max_length=16)] | None = None
    """Columns that name each row, of a table that has no key of its own: never NULL, no two rows with equal values. An
    index has to begin with them. This is checked before the copy and while it runs.
    """
    index: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Index of the source's table that finds the rows of `where`, so that other rows are not read: for a filter that
    keeps a small part of a large table. An index over exactly the columns that the filter compares works best.
    """
    target: TableName | None = None
    """Name on the target as schema.table; takes precedence over renameSchemas.

    A name that holds a dot stands in backticks.
    """


class Tenant(Model):
    """A row filter for all selected tables that have a column."""

    column: ColumnName
    """The column. A selected table without this column needs a rule. A rule with a `where` replaces this filter for its
    tables.
    """
    values: Annotated[list[Annotated[str, Field(min_length=1, max_length=255)]], Field(min_length=1, max_length=1000)]
    """Rows with one of these values move. Numbers are written in quotes, too: ["42"]."""


class Tables(Model):
    """The selection. Immutable once validated."""

    include: Annotated[list[TablePattern], Field(min_length=1, max_length=1000)]
    """schema.table glob patterns of the tables to move."""
    exclude: Annotated[list[TablePattern], Field(max_length=1000)] = []
    """schema.table glob patterns of tables to leave out, although include matches them."""
    rename_schemas: Annotated[dict[SchemaName, SchemaName], Field(max_length=100)] = {}
    """Schema names on the target, by schema name on the source."""
    tenant: Tenant | None = None
    """Moves the rows of a tenant only: of each selected table with this column whose rule has no `where`. An index that
    begins with the column finds them.
    """
    rules: Annotated[list[TableRule], Field(max_length=1000)] = []
    """Per-table rules; the first match wins."""
