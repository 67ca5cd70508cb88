"""The names of the selected tables, prepared for comparison with statements.

Made by the stream, used by ``statements``.
"""

from collections.abc import Callable, Collection

from ferry_core.tables.table import TableName


class SelectedNames:
    """The selected tables by name (``fold``: ignoring case).

    Built once, so that a statement costs the same for any number of tables.
    """

    def __init__(self, selected: Collection[TableName], *, fold: bool) -> None:
        self.fold: Callable[[str], str] = str.lower if fold else str
        self.by_name = {(self.fold(table.schema), self.fold(table.name)): table for table in selected}
