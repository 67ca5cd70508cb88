"""Types and collations that releases of a family spell differently, in one spelling: for comparing definitions."""

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
