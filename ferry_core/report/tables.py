"""The report's figures of tables: of each ``TableMove``, and of all together. Used by ``progress`` and ``metrics``.

Read without the locks of the threads that write the moves: each figure is one value that is replaced as a whole.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from ferry_core.api.report import Progress, TableReport, TableState
from ferry_core.moves.move import MoveState, TableMove


def state_of(move: TableMove) -> TableState:
    """The visible state: Pending before its first chunk, Copied once only events change it."""
    if move.copied:
        return TableState.INDEXING if move.deferred else TableState.COPIED
    return TableState.COPYING if move.state is MoveState.COPYING and move.chunks.begun else TableState.PENDING


def rows_expected(move: TableMove) -> int:
    """The estimate, corrected by the number of rows already copied: a statistic may be far off.

    How many rows pass a filter without an index is a guess at first, then as many as among the rows walked so far.
    """
    table, copied = move.table, move.chunks.copied.rows
    if move.copied:
        return copied
    if copied and table.row_filter and not table.finding_index and (walked := move.chunks.progress):
        return max(copied, min(table.rows_estimated, round(copied / walked)))
    return max(table.rows_moved, copied)


def table_report(move: TableMove) -> TableReport:
    """One table."""
    state = state_of(move)  # read first: figures of work finished by then are complete
    copied, expected = move.chunks.copied, rows_expected(move)
    return TableReport(
        name=move.id,
        target=str(move.table.target),
        state=state.value,
        rows_estimated=expected,
        rows_copied=copied.rows,
        bytes_copied=copied.bytes,
        percent=_percent(copied.rows, expected, done=state in (TableState.INDEXING, TableState.COPIED)),
        pending_keys=move.progress.pending_keys,
        rows_differing=move.progress.mismatched_rows,
        rows_repaired=move.progress.repaired_rows,
    )


def copy_report(moves: Sequence[TableMove], completion: Callable[[int], datetime | None]) -> Progress:
    """All tables together. ``completion`` returns when a given number of remaining rows will be copied."""
    done = sum(move.copied for move in moves)  # read first, as above
    figures = [move.chunks.copied for move in moves]
    copied = sum(each.rows for each in figures)
    expected = sum(map(rows_expected, moves))
    all_done = bool(moves) and done == len(moves)
    return Progress(
        tables_total=len(moves),
        tables_copied=done,
        rows_copied=copied,
        rows_estimated=expected,
        bytes_copied=sum(each.bytes for each in figures),
        percent=_percent(copied, expected, done=all_done),
        estimated_completion_time=None if all_done else completion(max(0, expected - copied)),
    )


def _percent(copied: int, expected: int, *, done: bool) -> float:
    """100 means done. A table that outgrew its estimate is not done."""
    if done:
        return 100.0
    return min(99.0, round(100 * copied / expected, 1)) if expected else 0.0
