"""The selected tables as statements are compared with them. Made by the stream, for ``statements``."""

from collections.abc import Callable, Collection

from ferry_core.tables.table import TableName


class SelectedNames:
    """The selected tables by name (``fold``: in any case), made once: no statement costs more where there are more."""

    def __init__(self, selected: Collection[TableName], *, fold: bool) -> None:
        self.fold: Callable[[str], str] = str.lower if fold else str
        self.by_name = {(self.fold(table.schema), self.fold(table.name)): table for table in selected}
