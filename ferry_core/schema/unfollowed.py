"""Tables that are copied whole although they have a key: a cascade changes their rows, and no lookup finds all of them.

A change of an ancestor makes such a table changed as a whole (docs/correctness.md). Preflight names them, and the run
and ``ferry check`` select them after discovery.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ferry_core.mysql.session import Session
from ferry_core.schema.cascades import Cascade, cascades_among, logs_cascades
from ferry_core.schema.definition import computed_from, unique_columns
from ferry_core.schema.significant import is_versioned
from ferry_core.schema.tokens import tokens_of
from ferry_core.tables.scaled_floats import largest_below_its_float
from ferry_core.tables.table import Table


def copied_as_needed(source: Session, tables: Sequence[Table], before: Collection[str] = ()) -> list[Table]:
    """The tables, with those marked that must be copied whole. ``before``: ids of those that earlier runs copied whole.

    These stay so: after an interrupted copy of the whole table the target may have any of its rows.
    """
    whole: Collection[Table] = ()
    if not logs_cascades(source):
        images = source.query("SHOW GLOBAL VARIABLES LIKE 'binlog_row_image'")
        whole = unfollowed(tables, full_images=not images or (images[0][1] or b"").upper() == b"FULL")
    return [replace(table, copied_whole=table in whole or table.id in before) for table in tables]


def unfollowed(tables: Sequence[Table], *, full_images: bool) -> Mapping[Table, Mapping[str, str]]:
    """Children of cascades that cannot be followed by lookups: for each its constraints, and why."""
    cascades = cascades_among(tables)
    found: dict[Table, dict[str, str]] = {}
    for one in cascades:
        if why := next(_limits(one, cascades, full_images=full_images), ""):
            found.setdefault(one.child, {})[one.name] = why
    while more := [one for one in cascades if one.parent_follows and one.parent in found and one.child not in found]:
        for one in more:
            found.setdefault(one.child, {})[one.name] = f"it continues a cascade through {one.parent.source}"
    return found


def _limits(cascade: Cascade, cascades: Sequence[Cascade], *, full_images: bool) -> Iterator[str]:
    """What keeps a run from finding the rows that the source changes without logging them."""
    parent, child = cascade.parent, cascade.child
    if not cascade.in_key and not full_images:
        yield f"it references columns outside of the key of {parent.source}, and binlog_row_image is not FULL"
    if any(largest_below_its_float(column.column_type) is not None for column in cascade.referencing):
        yield "MySQL finds no row by the largest value of a column that it references"
    if cascade.sets_null:
        yield from _limits_of_nulls(child, {column.name.lower() for column in cascade.referencing})
    if is_versioned(parent.definition, parent.source):
        yield f"{parent.source} is system-versioned"
    if cascade.parent_follows:
        chain = f"it continues a cascade through {parent.source},"
        if parent.row_filter:
            yield f"{chain} which has a row filter"
        if not cascade.in_key:
            yield f"{chain} of which it references columns outside of the key"
        if parent.secondary_unique and _circular(cascade, cascades):
            yield f"{chain} which has a UNIQUE index besides its key, in a circle"


def _limits_of_nulls(child: Table, ours: Collection[str]) -> Iterator[str]:
    if child.row_filter and _names_one(child.row_filter, child, ours):
        yield f"the row filter of {child.source} names a column that it sets to NULL"
    nulled = computed_from(child.definition, child.source, ours)
    if any(nulled & columns for columns in unique_columns(child.definition, child.source)):
        yield "it sets a column of a UNIQUE index to NULL"


def _circular(cascade: Cascade, cascades: Sequence[Cascade]) -> bool:
    """Whether it leads back to its parent. Rows whose parent is absent would be looked up without end."""
    reached = [cascade.child]
    for table in reached:
        below = [one.child for one in cascades if one.parent is table and one.parent_follows]
        reached += [child for child in dict.fromkeys(below) if child not in reached]
    return cascade.parent in reached


def _names_one(row_filter: str, table: Table, columns: Collection[str]) -> bool:
    """Whether the filter names one of the columns, or a generated column, which may be computed from them."""
    computed = {column.name.lower() for column in table.columns if column.generated}
    return any(token.text.lower() in computed.union(columns) for token in tokens_of(row_filter))
