"""Marks on the target that show which checkpoints of a state file match the target's rows.

A state file is on another machine than the rows that it describes. A target that loses its last seconds in a crash
(``innodb_flush_log_at_trx_commit`` 0 or 2), or is restored from a snapshot, lacks rows that the newest state counts as
copied. So each state has a number, which is committed on the target after the rows that the state describes and before
the state is saved. InnoDB recovers a prefix of its redo log: if a mark is present, every row committed before it is
present too. The file keeps a few earlier states, and a run resumes from the newest one whose mark the target has. A
checkpoint in a table on the target needs no marks: it is lost or kept together with the rows.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping

from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.own_tables import CHECKPOINT
from ferry_core.errors import ConfigError, RetriableError
from ferry_core.mysql.listings import exists
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

MARK_FORMAT = 0
"""Format number of a checkpoint row that holds marks and not a state. The state is then in a file."""
RUNS = 20
"""How many runs' last marks are kept. A state of an older run counts as lost."""
IN_TABLE = "in the target's own table"
"""Name for the run whose state is in the target's own table. No state file belongs to it."""
FIRST = 1
"""Number of the checkpoint that is saved before the first row is copied."""

Marks = Mapping[str, int]
"""Run -> number of the last checkpoint that it marked since the rows were last deleted."""


def read_marks(session: Session, uid: str) -> Marks:
    """Marks that the target has now; none if no run of the Ferry has been there."""
    rows = exists(session, CHECKPOINT) and session.query(
        f"SELECT format, body FROM {CHECKPOINT} WHERE ferry_uid = {string(uid)}"
    )
    if not rows:
        return {}
    if int(rows[0][0] or 0) != MARK_FORMAT:
        return {IN_TABLE: FIRST + 1}
    return {str(run): int(number) for run, number in json.loads(rows[0][1] or b"{}").items()}


def forget_marks(session: Session, uid: str) -> None:
    """Delete all marks in the transaction of a claim.

    The rows are deleted next, so no earlier state describes existing rows.
    """
    session.execute(f"DELETE FROM {CHECKPOINT} WHERE ferry_uid = {string(uid)}")


def others_copied(marks: Marks) -> bool:
    """Whether the target may have rows that belong to another state than this one, which has no rows."""
    return any(number > FIRST for number in marks.values())


class TargetMarks:
    """Writes a run's marks, each in a fenced transaction. Used in the coordinator's thread."""

    def __init__(
        self, connect: Callable[[], Session], fence: Fence, uid: str, run: str, before: Marks, state_of: str | None
    ) -> None:
        """``before`` are the marks of earlier runs; their states stay usable until this run has its own.

        ``state_of`` is the run whose state this run resumed from. Its mark is needed until a newer state is saved.
        """
        self.run = run
        self._connect = connect
        self._fence = fence
        self._uid = uid
        kept = {*list(before)[-RUNS:], state_of} - {IN_TABLE}
        self._before = {run: number for run, number in before.items() if run in kept}
        self._session: Session | None = None

    def write(self, number: int) -> None:
        """Commit the mark of a checkpoint whose rows have been committed. Raises Fenced or a RetriableError."""
        body = json.dumps({**self._before, self.run: number})
        if self._session is None:
            self._session = self._connect()
        try:
            with self._fence.transaction(self._session, pausable=False):
                self._session.execute(
                    f"REPLACE INTO {CHECKPOINT} VALUES ({string(self._uid)}, {self._fence.epoch}, {MARK_FORMAT},"
                    f" {string(body)}, NOW(6))"
                )
        except RetriableError:
            self.close()
            raise

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def newest_held(store: SqliteStore, marks: Marks, where: str) -> RunState | None:
    """The newest state in the file whose rows the target still has.

    Requests by people, the last place read in the binlog and the used epochs are taken from the newest state of all.
    """
    newest = store.load()
    if newest is None or not newest.tables or newest.run is None or _holds(marks, newest):
        return newest
    for earlier in store.earlier():
        if earlier.tables and _holds(marks, earlier):
            log.warning(
                "%s has lost its last writes, in a crash or because a backup was restored: resuming from the "
                "checkpoint of %s instead of that of %s",
                *(where, _time(earlier), _time(newest)),
            )
            known = {"paused", "paused_over", "series", "last_read", "epoch"}
            return earlier.model_copy(update={name: getattr(newest, name) for name in known})
    raise ConfigError(
        Reason.STATE_OF_OTHER_TARGET,
        f"{store.describe()} records rows that {where} does not have: it is another server, was restored from a "
        f"backup older than the checkpoints in the file, or the copy was started over since with another state. Point "
        f"the Ferry at the target it began with, give the newest state with --state, or start over: run "
        "ferry cleanup, and empty or drop the tables on the target",
    )


def _holds(marks: Marks, state: RunState) -> bool:
    return state.run is not None and marks.get(state.run, -1) >= state.number


def _time(state: RunState) -> str:
    return time.strftime("%F %T UTC", time.gmtime(state.stored_at))
