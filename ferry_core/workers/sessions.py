"""The sessions of one thread that moves rows: one or two on the source, one on the target, opened on demand.

Used by the copy workers and by the flusher's batches; ``workers.step`` decides when they are replaced.
"""

import time

from ferry_core.consistency.fence import Fence
from ferry_core.mysql.processes import kill
from ferry_core.mysql.session import Session
from ferry_core.rows.copier import RowCopier
from ferry_core.tables.table import Table
from ferry_core.workers.connections import Connections

IDLE_SECONDS = 40.0
"""Sessions idle for longer are replaced before a step: the target ends its own after 60 s (``mysql.session``)."""


class SessionPair:
    """Sessions of one thread, opened on demand; only ``interrupt`` is for other threads."""

    def __init__(self, connections: Connections, fence: Fence, lock_clause: str) -> None:
        self._connections = connections
        self._fence = fence
        self._lock_clause = lock_clause
        self._sources: dict[bool, Session] = {}
        self._copiers: dict[bool, RowCopier] = {}
        self._target: Session | None = None
        self._slot: int | None = None
        self._used = 0.0
        self.conflicted = False
        """Whether a step met a lock conflict; who asks takes it back first."""
        self.busy = False

    def source(self, table: Table) -> Session:
        """The session that renders this table's rows."""
        return self._source(text=table.row_filter is not None)

    def plain_source(self) -> Session:
        """A session for key walks, which know no row filter."""
        return self._source(text=False)

    def _source(self, *, text: bool) -> Session:
        if text not in self._sources:
            self._sources[text] = self._connections.source(text=text)
        return self._sources[text]

    def copier(self, table: Table) -> RowCopier:
        """Where both sessions meet; kept with them, for it knows their packet sizes and statements."""
        text = table.row_filter is not None
        now = time.monotonic()
        if now - self._used > IDLE_SECONDS:
            self.close()
        self._used = now
        if text not in self._copiers:
            if self._target is None:
                session = self._connections.target()
                try:
                    self._slot = self._fence.enrol(session)
                except BaseException:
                    session.close()
                    raise
                self._target = session
            self._copiers[text] = RowCopier(self.source(table), self._target, self._fence, self._lock_clause)
        return self._copiers[text]

    def recover(self) -> None:
        """After any failure of a connection: prove that nothing of the old target session can commit, start afresh."""
        if self._target is not None and self._slot is not None:
            self._target.close()
            self._fence.prove_ended(self._target.connection_id, self._slot)
        self.close()

    def interrupt(self, source_control: Session, target_control: Session) -> None:
        """Kill the statements under way, from another thread; the step sees Interrupted."""
        for session in list(self._sources.values()):
            kill(source_control, session.connection_id, query_only=True)
        target = self._target
        if target is not None:
            kill(target_control, target.connection_id, query_only=True)

    def close(self) -> None:
        for session in self._sources.values():
            session.close()
        self._sources.clear()
        self._copiers.clear()
        if self._target is not None:
            self._target.close()
            self._target = None
        if self._slot is not None:
            self._fence.leave(self._slot)
            self._slot = None
