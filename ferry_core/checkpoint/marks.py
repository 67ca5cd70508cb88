"""Marks on the target that say which checkpoints of a state file it still holds.

A state file is on another machine than the rows that it speaks of. A target that loses its last seconds in a crash
(``innodb_flush_log_at_trx_commit`` 0 or 2) or is brought back from a snapshot lacks rows which the newest state says
are there. So each state has a number, which is committed on the target after the rows that it tells of and before the
state is stored. InnoDB recovers a prefix of its redo log: a mark that is there proves every row that was committed
before it. The file keeps a few earlier states; a run goes on from the newest one whose mark the target has.

A checkpoint in the target's own table needs none of this: it is lost and kept together with the rows.
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
"""In the checkpoint table a row of this format is not a state: the state is in a file."""
RUNS = 20
"""How many runs' last marks are kept: a state of an older one counts as lost."""
IN_TABLE = "in the target's own table"
"""Stands for the run whose state that table holds; no state file is of it."""
FIRST = 1
"""The number of the checkpoint that is stored before the first row is copied."""

Marks = Mapping[str, int]
"""Run -> the number of the last checkpoint that it marked, since the rows were deleted last."""


def read_marks(session: Session, uid: str) -> Marks:
    """The marks that the target has now; none where no run of the Ferry has been."""
    rows = exists(session, CHECKPOINT) and session.query(
        f"SELECT format, body FROM {CHECKPOINT} WHERE ferry_uid = {string(uid)}"
    )
    if not rows:
        return {}
    if int(rows[0][0] or 0) != MARK_FORMAT:
        return {IN_TABLE: FIRST + 1}
    return {str(run): int(number) for run, number in json.loads(rows[0][1] or b"{}").items()}


def forget_marks(session: Session, uid: str) -> None:
    """No state of before tells of rows that are there: they are deleted next. In the transaction of a claim."""
    session.execute(f"DELETE FROM {CHECKPOINT} WHERE ferry_uid = {string(uid)}")


def others_copied(marks: Marks) -> bool:
    """Whether rows may be there that a state which tells of none is not the state of."""
    return any(number > FIRST for number in marks.values())


class TargetMarks:
    """Writes a run's marks, each in a fenced transaction. Coordinator's thread."""

    def __init__(
        self, connect: Callable[[], Session], fence: Fence, uid: str, run: str, before: Marks, state_of: str | None
    ) -> None:
        """``before`` are those of earlier runs: their states stay usable until this run has its own.

        ``state_of`` is the run whose state this one goes on from: while no newer one could be stored, that is needed.
        """
        self.run = run
        self._connect = connect
        self._fence = fence
        self._uid = uid
        kept = {*list(before)[-RUNS:], state_of} - {IN_TABLE}
        self._before = {run: number for run, number in before.items() if run in kept}
        self._session: Session | None = None

    def write(self, number: int) -> None:
        """Commit the mark of a checkpoint whose rows are committed. Raises Fenced or a RetriableError."""
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

    What people said is that of the newest of all, as is what was read of the source, and which epochs there have been.
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
