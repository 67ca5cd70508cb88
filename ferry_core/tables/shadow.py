"""Recognises the tables that online schema changes leave beside a table: gh-ost's and pt-online-schema-change's."""

import re
from collections.abc import Collection

from ferry_core.tables.table import TableName

_SHADOW = re.compile(r"_(?P<table>.+?)(_\d{14})?_(gho|ghc|del|new|old)")
"""gh-ost: ``_t_gho``, ``_t_ghc``, ``_t_del``, ``_t_20300131235959_del``; pt-osc: ``_t_new``, ``__t_new``, ``_t_old``"""
_LONGEST_NAME = 64


def is_shadow(name: TableName, selected: Collection[str]) -> bool:
    """Whether ``name`` is such a table of a selected one; ``selected`` are ids. gh-ost cuts long names off."""
    found = _SHADOW.fullmatch(name.name)
    if found is None:
        return False
    if len(name.name) < _LONGEST_NAME:
        tables = found["table"], found["table"].lstrip("_")
        return any(str(TableName(name.schema, table)) in selected for table in tables)
    others = (TableName.parse(table) for table in selected)
    return any(other.schema == name.schema and other.name.startswith(found["table"]) for other in others)
