"""Figures of one table that only the report needs. ``report.progress`` guards them."""

from dataclasses import dataclass

from ferry_core.api.report import TableState


@dataclass
class TableProgress:
    """Rows and bytes come from the move's chunks, its state from the move's state."""

    announced: TableState = TableState.PENDING
    """The state about which readers of the report were last notified."""
    pending_keys: int = 0
    """As of the last tick."""
    mismatched_rows: int = 0
    repaired_rows: int = 0
