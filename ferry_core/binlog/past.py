"""What a stream must not pass over, and that is in the binlog for good: every resume meets it again.

Whatever setting wrote it may have been mended since, so the advice is never the setting alone. Raised by
``transactions`` and ``tracked``.
"""

from collections.abc import Collection

from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.schema.statements import StatementKind
from ferry_core.tables.table import Table, TableName

_SHOWN = 500


class NoWayPast(DataError):
    """``what`` is the message without its advice: after a hand-over nobody wants to start over."""

    def __init__(self, reason: Reason, what: str, first: str = "") -> None:
        """``first`` is what must be so before a new start, as "see that ..."."""
        then = f"{first}, then " if first else ""
        super().__init__(reason, f"{what}; this run cannot go on past it: {then}start over with a fresh copy")
        self.what = what


def partial_rows(table: Table) -> NoWayPast:
    return NoWayPast(
        Reason.PARTIAL_ROWS,
        f"{table.id} was changed by a partial JSON update, which this version cannot read",
        "see that binlog_row_value_options is empty, also in connected sessions",
    )


def hidden_cascade(table: Table) -> NoWayPast:
    return NoWayPast(
        Reason.FOREIGN_KEY_CASCADES,
        f"rows of {table.id} were changed, and by a cascading foreign key rows of other selected tables, which the "
        "binlog does not tell",
        "start the source with innodb_native_foreign_keys=OFF, or make the constraints RESTRICT",
    )


def incomplete_image(table: Table, column: str) -> NoWayPast:
    return NoWayPast(
        Reason.ROW_IMAGE_INCOMPLETE,
        f"an event of {table.id} lacks the key column {column}",
        "set binlog_row_image=FULL on the source, or give the column a value in every INSERT",
    )


def other_shape(table: Table, what: str) -> NoWayPast:
    return NoWayPast(
        Reason.SCHEMA_CHANGED,
        f"table {table.id} in the binlog is not as it is now: {what}; its definition was changed after the stream's "
        "position",
    )


def anonymous() -> NoWayPast:
    return NoWayPast(
        Reason.GTID_MODE_CHANGED,
        "the source wrote a transaction without GTID while this run streams by GTID",
        "set gtid_mode=ON",
    )


def incident(file: str) -> NoWayPast:
    return NoWayPast(
        Reason.SOURCE_INCIDENT,
        f"the source says in {file} that its binlog may lack changes (incident event): rows may differ that no event "
        "tells of",
    )


def unknown_event(file: str, kind: int) -> NoWayPast:
    return NoWayPast(
        Reason.BINLOG_EVENT_UNKNOWN,
        f"the source's binlog {file} has an event of type {kind}, which this version does not know and must not skip",
    )


def statement(text: str, kind: StatementKind, tables: Collection[TableName], different: str = "") -> NoWayPast:
    """A statement that changes a definition (``different`` says how), or rows that it does not name."""
    names = ", ".join(sorted(map(str, tables)))
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    if kind is StatementKind.SCHEMA_CHANGE:
        how = f" ({different})" if different else ""
        return NoWayPast(Reason.SCHEMA_CHANGED, f"the definition of {names} was changed on the source: {shown}{how}")
    # A name that is none of ours may stand for one of ours.
    whose = f"rows of {names} were" if names else "rows may, by way of a view, trigger or function, have been"
    return NoWayPast(
        Reason.STATEMENT_FORMAT,
        f"{whose} changed on the source by a session that logs statements instead of rows: {shown}",
        "see that every session has binlog_format=ROW",
    )
