"""Events that no run can stream past. They stay in the binlog, so every resume meets them again.

The setting that caused such an event may be corrected by now, so the message always advises a fresh copy too. Raised by
``transactions``, ``selected`` and ``tracked``.
"""

from collections.abc import Collection

from ferry_core.errors import DataError
from ferry_core.mysql.shown_statement import without_literals
from ferry_core.reasons import Reason
from ferry_core.schema.statements import StatementKind
from ferry_core.tables.table import Table, TableName

_SHOWN = 500


class UnresumableEvent(DataError):
    """``what`` is the message without advice, for use after the cutover, when nobody wants to start over."""

    def __init__(self, reason: Reason, what: str, first: str = "") -> None:
        """``first`` says what must be true before a new start, as in "see that ..."."""
        then = f"{first}, then " if first else ""
        super().__init__(reason, f"{what}; no run can stream past this event: {then}start over with a fresh copy")
        self.what = what


def hidden_cascade(table: TableName) -> UnresumableEvent:
    return UnresumableEvent(
        Reason.FOREIGN_KEY_CASCADES,
        f"rows of {table} were changed, and by a cascading foreign key rows of selected tables, which the "
        "binlog does not show",
        "start the source with innodb_native_foreign_keys=OFF, or make the constraints RESTRICT",
    )


def incomplete_image(table: Table, column: str) -> UnresumableEvent:
    return UnresumableEvent(
        Reason.ROW_IMAGE_INCOMPLETE,
        f"an event of {table.id} lacks the key column {column}",
        "set binlog_row_image=FULL on the source, or give the column a value in every INSERT",
    )


def other_shape(table: Table, what: str) -> UnresumableEvent:
    error = UnresumableEvent(
        Reason.SCHEMA_CHANGED,
        f"table {table.id} in the binlog differs from its present definition: {what}; it was altered after the "
        "stream's position",
    )
    error.changed = frozenset({table.id})
    return error


def anonymous() -> UnresumableEvent:
    return UnresumableEvent(
        Reason.GTID_MODE_CHANGED,
        "the source wrote a transaction without GTID while this run streams by GTID",
        "set gtid_mode=ON",
    )


def incident(file: str) -> UnresumableEvent:
    return UnresumableEvent(
        Reason.SOURCE_INCIDENT,
        f"the source says in {file} that its binlog may lack changes (incident event): rows may differ without "
        "any event about them",
    )


def unknown_event(file: str, kind: int) -> UnresumableEvent:
    return UnresumableEvent(
        Reason.BINLOG_EVENT_UNKNOWN,
        f"the source's binlog {file} has an event of type {kind}, which this version does not know and must not skip",
    )


def removal(text: str, tables: Collection[TableName]) -> UnresumableEvent:
    """TRUNCATE and the like, which no row event tells of."""
    error = UnresumableEvent(
        Reason.SCHEMA_CHANGED,
        f"rows of {', '.join(sorted(map(str, tables)))} were removed on the source by a statement that logs none of "
        f"them: {_shortened(text)}",
        "let applications use DELETE until the cutover, leave the table out with tables.exclude, or set "
        "schema.onChange: Recopy",
    )
    error.changed = frozenset(map(str, tables))
    return error


def statement(text: str, kind: StatementKind, tables: Collection[TableName], different: str = "") -> UnresumableEvent:
    """A statement that changed a definition (``different`` says how) or changed rows that it does not name."""
    names = ", ".join(sorted(map(str, tables)))
    if kind is StatementKind.SCHEMA_CHANGE:
        how = f" ({different})" if different else ""
        error = UnresumableEvent(
            Reason.SCHEMA_CHANGED, f"the definition of {names} was changed on the source: {_shortened(text)}{how}"
        )
        error.changed = frozenset(map(str, tables))
        return error
    # A name that is not selected may be a view, trigger or function that writes to a selected table.
    whose = f"rows of {names} were changed on the source"
    if not names:
        whose = "rows may have been changed on the source, through a view, trigger or function,"
    return UnresumableEvent(
        Reason.STATEMENT_FORMAT,
        f"{whose} by a session that logs statements instead of rows: {_shortened(without_literals(text))}",
        "see that every session has binlog_format=ROW",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
