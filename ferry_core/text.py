"""Lists in messages: the first items and the number of further ones. Used wherever a message names many things."""

from collections.abc import Collection
from itertools import islice


def shortlist(items: Collection[object], most: int, separator: str = ", ", rest: str = "more") -> str:
    """``a, b and 3 more``."""
    shown = separator.join(map(str, islice(items, most)))
    left = len(items) - most
    return f"{shown} and {left} {rest}" if left > 0 else shown
