"""A thread's sessions on both servers, opened on first use. ``workers`` writes with them, ``verify`` only reads."""

from collections.abc import Callable

from ferry_core.mysql.session import Session
from ferry_core.tables.table import Table


class SessionPair:
    """Other threads may only call ``abort``."""

    def __init__(self, open_source: Callable[[bool], Session], open_target: Callable[[], Session]) -> None:
        """``open_source`` is told whether the session is for tables with a row filter."""
        self._open_source = open_source
        self._open_target = open_target
        self._sources: dict[bool, Session] = {}
        self._target: Session | None = None

    def source(self, table: Table | None = None) -> Session:
        """The session that renders this table's rows.

        Without a table: one that needs no row filter.
        """
        text = table is not None and table.row_filter is not None
        if text not in self._sources or self._sources[text].closed:
            self._sources[text] = self._open_source(text)
        return self._sources[text]

    @property
    def target(self) -> Session:
        if self._target is None:
            self._target = self._open_target()
        return self._target

    def connect(self) -> None:
        """Open those of tables without a row filter."""
        self.source()
        _ = self.target

    def _opened(self) -> list[Session]:
        return [*list(self._sources.values()), *([self._target] if self._target is not None else [])]

    def abort(self) -> None:
        """Break these connections: their thread gets ConnectionLost."""
        for session in self._opened():
            session.abort()

    def close(self) -> None:
        for session in self._opened():
            session.close()
        self._sources, self._target = {}, None
