"""The checkpoint in a table on the target, the default in a Pod: it needs no volume, and a lost node loses nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ferry_core.api.report import Stage
from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.store import parse
from ferry_core.consistency.own_tables import CHECKPOINT
from ferry_core.errors import RetriableError
from ferry_core.mysql.listings import exists
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session

if TYPE_CHECKING:
    from ferry_core.consistency.fence import Fence


class TargetStore:
    """One row per Ferry in ``mysql_ferry.checkpoint``; every write is a fenced transaction."""

    def __init__(self, connect: Callable[[], Session], uid: str) -> None:
        self._connect = connect
        self._uid = uid
        self._session: Session | None = None
        self.fence: Fence | None = None

    def load(self) -> RunState | None:
        session = self._open()
        rows = exists(session, CHECKPOINT) and session.query(
            f"SELECT format, body FROM {CHECKPOINT} WHERE ferry_uid = {string(self._uid)} AND format > 0"
        )
        if not rows:
            return None
        return parse((rows[0][1] or b"").decode(), int(rows[0][0] or 0), self.describe())

    def save(self, state: RunState, epoch: int) -> None:
        assert self.fence is not None, "a run takes its epoch before it writes"
        statement = (
            f"REPLACE INTO {CHECKPOINT} VALUES ({string(self._uid)}, {epoch}, {state.format},"
            f" {string(state.model_dump_json())}, NOW(6))"
        )
        if state.stage == Stage.COMPLETED.value:
            # After the cutover the fence refuses every transaction of a copier, except this record of the cutover.
            with self.fence.exclusively() as (exclusive, _):
                exclusive.execute(statement)
            return
        session = self._open()
        try:
            with self.fence.transaction(session, pausable=False):
                session.execute(statement)
        except RetriableError:
            session.close()
            self._session = None
            raise

    def describe(self) -> str:
        return f"checkpoint {self._uid} in {CHECKPOINT} on the target"

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> Session:
        if self._session is None:
            self._session = self._connect()
        return self._session
