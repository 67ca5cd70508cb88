"""Types and collations that releases of a family spell differently, in one spelling, and character sets of which one
holds the other's texts: for comparing definitions.
"""

import re

_DISPLAY_WIDTH = re.compile(r"\b((?:tiny|small|medium|big)?int)\(\d+\)(?!.*zerofill)")
_SAME = {"geometrycollection": "geomcollection", "year(4)": "year"}
_UTF8 = re.compile(r"^utf8(?=_|$)")


def plain_type(column_type: str) -> str:
    """MySQL before 8.0.19 and MariaDB print display widths, and MySQL before 8.0.11 ``geometrycollection``."""
    if column_type in _SAME:
        return _SAME[column_type]
    return _DISPLAY_WIDTH.sub(r"\1", column_type)


def plain_collation(name: str | None) -> str:
    """Of a collation or a character set; empty for none. ``utf8`` is the older name of ``utf8mb3``."""
    return _UTF8.sub("utf8mb3", name or "")


_WIDER = {"ascii": frozenset({"utf8mb3", "utf8mb4"}), "utf8mb3": frozenset({"utf8mb4"})}
"""Character sets in which every text of the first one has the same bytes, so that it is copied, compared and found by
the same statements. Not those of latin1, whose bytes change.
"""


def holds_texts(there: str, here: str) -> bool:
    """Whether a column with the collation ``there`` holds each text of one with ``here`` in the same bytes."""
    wide, narrow = (plain_collation(name).partition("_")[0] for name in (there, here))
    return wide == narrow or wide in _WIDER.get(narrow, ())


def orders_alike(there: str, here: str) -> bool:
    """Whether it also takes the same of them for equal, and has them in the same order: the collation of the same name
    (tests/versions compares their weights).
    """
    wide, narrow = (plain_collation(name).partition("_") for name in (there, here))
    return holds_texts(there, here) and wide[2] == narrow[2]


def same_in_wider(there: str, here: str) -> str:
    """The collation that ``orders_alike``, in the character set of ``there``."""
    return plain_collation(there).partition("_")[0] + "_" + plain_collation(here).partition("_")[2]
