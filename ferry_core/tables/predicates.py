"""WHERE conditions that select the rows of a key range or a key set. Used by the copier, the iterator and ``verify``.

Each form was chosen by EXPLAIN on both families, so that the server uses the key's index as a range:

- Ranges over composite keys are expanded: ``(a, b) > (1, 2)`` scans the whole index, ``a > 1 OR a = 1 AND b > 2`` does
  not.
- An ENUM sorts by number, but only equality with a number uses the index: ``e > 3`` becomes ``e IN (4, 5)``.
- Composite keys with an ENUM or a SET are compared one by one: MySQL compares them as text in ``(e, i) IN ((3, 1))``
  and finds nothing.
- So are numbers of 19 digits and more: MariaDB reads the whole table for an IN list with some of them above 2^63.
- A SET of more than 53 members is compared as a double, which misses rows, unless ``s | 0`` is compared, which scans
  the index.
- NULL is the lowest value in an index. So ranges include it, and rows with NULL in a key that must not have it are in
  exactly one range (``tables.nullable``). One condition for them beside the range would read the whole table.
"""

import re
from collections.abc import Sequence

from ferry_core.mysql.literals import identifier
from ferry_core.tables.table import Column, Key, KeyLiterals, KeyRange, KeySet, Selector

EXACT_SET_MEMBERS = 53
LISTED_ENUM_MEMBERS = 500
"""ENUMs with more members are compared by ``>``: exact, but it scans the index."""

LONG_DIGITS = 19


def where(key: Key, selector: Selector) -> str:
    """The condition, safe next to an AND. ``TRUE`` selects every row."""
    if not key.columns:
        return "TRUE"
    if isinstance(selector, KeySet):
        return _in(key, selector.keys)
    return _between(key, selector)


def after(key: Key, bound: KeyLiterals) -> str:
    """Rows after ``bound`` in the key's order."""
    return _beyond(key.columns, bound, ">", ">")


def up_to(key: Key, bound: KeyLiterals) -> str:
    """Rows up to and including ``bound`` in the key's order."""
    return _beyond(key.columns, bound, "<", "<=")


def order_by(key: Key) -> str:
    """The columns for an ORDER BY in the key's order."""
    return ",".join(identifier(column.name) for column in key.columns)


def _between(key: Key, selector: KeyRange) -> str:
    parts = []
    if selector.lo is not None:
        parts.append(after(key, selector.lo))
    if selector.hi is not None:
        parts.append(up_to(key, selector.hi))
    return " AND ".join(parts) or "TRUE"


def _beyond(columns: Sequence[Column], bound: KeyLiterals, strictly: str, last: str) -> str:
    """``a > 1 OR a = 1 AND b > 2``: one alternative for each length of the equal part."""
    alternatives = []
    for at, column in enumerate(columns):
        relation = last if at == len(columns) - 1 else strictly
        equal = [_equal(columns[before], bound[before]) for before in range(at)]
        alternatives.append(" AND ".join([*equal, _compare(column, relation, bound[at])]))
    return "(" + " OR ".join(alternatives) + ")"


def _compare(column: Column, relation: str, literal: str) -> str:
    compared = _compare_values(column, relation, literal)
    return f"({compared} OR {identifier(column.name)} IS NULL)" if column.nullable and relation != ">" else compared


def _compare_values(column: Column, relation: str, literal: str) -> str:
    members = _members(column) if column.data_type == "enum" else 0
    if not 0 < members <= LISTED_ENUM_MEMBERS or not literal.isdigit():
        return f"{_compared(column)} {relation} {literal}"
    number = int(literal)
    listed = {">": range(number + 1, members + 1), "<": range(number), "<=": range(number + 1)}[relation]
    return f"{identifier(column.name)} IN ({','.join(map(str, listed))})" if listed else "FALSE"


def _equal(column: Column, literal: str) -> str:
    return f"{_compared(column)} = {literal}"


def _compared(column: Column) -> str:
    name = identifier(column.name)
    if column.data_type == "set" and _members(column) > EXACT_SET_MEMBERS:
        return f"({name}|0)"
    return name


def _members(column: Column) -> int:
    return len(re.findall(r"'(?:[^']|'')*'|0x[0-9a-f]+", column.column_type))


def _in(key: Key, keys: Sequence[KeyLiterals]) -> str:
    if not keys:
        return "FALSE"
    columns = [_compared(column) for column in key.columns]
    if _one_by_one(key, keys):
        each = (" AND ".join(map(_equal, key.columns, literals)) for literals in keys)
        return f"({' OR '.join(each)})"
    if len(columns) == 1:
        return f"{columns[0]} IN ({','.join(literals[0] for literals in keys)})"
    tuples = ",".join(f"({','.join(literals)})" for literals in keys)
    return f"({','.join(columns)}) IN ({tuples})"


def _one_by_one(key: Key, keys: Sequence[KeyLiterals]) -> bool:
    for at, column in enumerate(key.columns):
        if column.data_type in ("enum", "set") and len(key.columns) > 1:
            return True
        wide = column.data_type == "bit" or (column.data_type == "bigint" and column.unsigned)
        if wide and any(len(literals[at]) >= LONG_DIGITS for literals in keys):
            return True
    return False
