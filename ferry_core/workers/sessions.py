"""The sessions of one thread that moves rows: one on the source, borrowed for a step, and one on the target.

Used by the copy workers and by the flusher's batches. ``workers.step`` decides when to replace them.
"""

import time
from typing import TYPE_CHECKING

from ferry_core.mysql.processes import kill
from ferry_core.mysql.session import Session
from ferry_core.rows.copier import RowCopier
from ferry_core.rows.session_pair import SessionPair
from ferry_core.rows.whole import Pacing, WholeCopier
from ferry_core.tables.table import Table
from ferry_core.workers.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SECONDS = 40.0
"""A session on the target that was idle for longer is replaced before a step, because the target closes it after 60 s
(``mysql.session``).
"""


class FlushWaitsError(Exception):
    """A chunk that waits for a session gives up, because a flush waits for the end of the chunk."""


class CopySessions(SessionPair):
    """Other threads may only call ``interrupt`` and ``abort``."""

    def __init__(self, flow: Flow, pacing: Pacing | None = None) -> None:
        """``pacing`` holds copies of whole tables back."""
        super().__init__(flow.reader.rows, self._enrolled)
        self._flow = flow
        self._fence = flow.writer.fence
        self._copiers: dict[Session, RowCopier] = {}
        self._lock_clause = flow.reader.visibility.lock_clause
        self._whole = WholeCopier(self, self._fence, self._lock_clause, pacing)
        self._slot: int | None = None
        self._used = 0.0
        self.conflicted = False
        """Whether a step met a lock conflict. The caller resets it before the step."""
        self.busy = False
        """Whether a step has its sessions and has not ended."""
        self.yields: Callable[[], bool] = bool
        """Whether a wait for a session ends with FlushWaitsError."""

    def _given_up(self) -> bool:
        if self.yields():
            raise FlushWaitsError
        return False

    def _enrolled(self) -> Session:
        session = self._flow.writer.rows()
        try:
            self._slot = self._fence.enrol(session)
        except BaseException:
            session.close()
            raise
        return session

    def copier(self, table: Table) -> RowCopier | WholeCopier:
        """The copier for both sessions, kept with them because it caches their packet sizes and statements."""
        source = self.source(table)
        self.refresh()
        if table.whole:
            return self._whole
        if source not in self._copiers:
            self._copiers = {session: copier for session, copier in self._copiers.items() if not session.closed}
            self._copiers[source] = RowCopier(source, self.target, self._fence, self._lock_clause, self._refreshed)
        return self._copiers[source]

    def _refreshed(self) -> Session:
        self.refresh()
        return self.target

    def refresh(self) -> None:
        """Close a session on the target that has been idle for long. Call it before a step uses it."""
        now = time.monotonic()
        if now - self._used > IDLE_SECONDS:
            self._close_target()
        self._used = now

    def recover(self) -> None:
        """After any connection failure: prove that nothing of the old target session can commit, then use new
        sessions.
        """
        if self._target is not None and self._slot is not None:
            self._target.close()
            self._fence.prove_ended(self._target.connection_id, self._slot)
        self.close()

    def interrupt(self, source_control: Session, target_control: Session) -> None:
        """Kill running statements, from another thread; the step gets Interrupted."""
        with self._lending:
            if self._borrowed is not None:
                self._broken = True
                kill(source_control, self._borrowed.connection_id, query_only=True)
        target = self._target
        if target is not None:
            kill(target_control, target.connection_id, query_only=True)

    def close(self) -> None:
        super().close()
        self._close_target()

    def _close_target(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None
        self._copiers.clear()
        if self._slot is not None:
            self._fence.leave(self._slot)
            self._slot = None
