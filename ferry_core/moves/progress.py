"""What the report knows of one table and nobody else does. ``report.progress`` guards it."""

from dataclasses import dataclass

from ferry_core.api.report import TableState


@dataclass
class TableProgress:
    """Rows and bytes are those of the move's chunks, its state follows from the move's."""

    announced: TableState = TableState.PENDING
    """The state that readers of the report were woken for."""
    pending_keys: int = 0
    """Of the last tick."""
    mismatched_rows: int = 0
