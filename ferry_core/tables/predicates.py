"""WHERE conditions that select the rows of a key range or a key set. Called by the copier, the iterator and ``verify``.

Ranges over composite keys are expanded: a row-constructor comparison ((a, b) > (1, 2)) scans the whole index on both
families, while ``a > 1 OR a = 1 AND b > 2`` is a range.
"""

from collections.abc import Sequence

from ferry_core.mysql.literals import identifier
from ferry_core.tables.table import Key, KeyLiterals, KeyRange, KeySet, Selector


def where(key: Key, selector: Selector) -> str:
    """The condition, in parentheses where it needs them; ``TRUE`` selects every row."""
    if isinstance(selector, KeySet):
        return _in(key, selector)
    return _between(key, selector)


def after(key: Key, bound: KeyLiterals) -> str:
    """Rows behind ``bound`` in the key's order."""
    return _beyond(_names(key), bound, ">", ">")


def up_to(key: Key, bound: KeyLiterals) -> str:
    """Rows before ``bound`` in the key's order, and the row at it."""
    return _beyond(_names(key), bound, "<", "<=")


def order_by(key: Key) -> str:
    """The columns of an ORDER BY in the key's order."""
    return ",".join(_names(key))


def _names(key: Key) -> list[str]:
    return [identifier(column.name) for column in key.columns]


def _between(key: Key, selector: KeyRange) -> str:
    parts = []
    if selector.lo is not None:
        parts.append(after(key, selector.lo))
    if selector.hi is not None:
        parts.append(up_to(key, selector.hi))
    return " AND ".join(parts) or "TRUE"


def _beyond(names: Sequence[str], bound: KeyLiterals, strictly: str, last: str) -> str:
    """``a > 1 OR a = 1 AND b > 2``: one alternative for each length of the equal part."""
    alternatives = []
    for at, name in enumerate(names):
        equal = [f"{names[before]} = {bound[before]}" for before in range(at)]
        relation = last if at == len(names) - 1 else strictly
        alternatives.append(" AND ".join([*equal, f"{name} {relation} {bound[at]}"]))
    return "(" + " OR ".join(alternatives) + ")"


def _in(key: Key, selector: KeySet) -> str:
    if not selector.keys:
        return "FALSE"
    names = _names(key)
    if len(names) == 1:
        return f"{names[0]} IN ({','.join(literals[0] for literals in selector.keys)})"
    tuples = ",".join(f"({','.join(literals)})" for literals in selector.keys)
    return f"({','.join(names)}) IN ({tuples})"
