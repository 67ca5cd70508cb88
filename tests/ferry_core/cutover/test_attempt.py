"""What an attempt says of itself; whole attempts on real servers are in ``tests/e2e/test_cutover.py``."""

import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast

from ferry_core.cutover.attempt import Handover
from ferry_core.cutover.source_lock import NoLock
from ferry_core.errors import LockConflict
from ferry_core.mysql.session import Session

if TYPE_CHECKING:
    from ferry_core.changes.buffer import ChangeBuffer
    from ferry_core.consistency.fence import Fence

NOBODY_SETS_IT = threading.Event()


class LockedTarget:
    """A target whose lease row is locked by others for a while."""

    def record(self, **_: Any) -> None:
        NOBODY_SETS_IT.wait(0.05)
        raise LockConflict("LockConflict", "target: the lease row is locked")

    def exclusively(self) -> contextlib.AbstractContextManager[tuple[None, Any]]:
        return contextlib.nullcontext((None, type("Lease", (), {"phase": "Streaming"})))


def no_session() -> Session:
    raise LockConflict("LockConflict", "not asked")


def test_a_wait_for_the_target_before_writes_are_stopped_is_no_write_block() -> None:
    handover = Handover(
        fence=cast("Fence", LockedTarget()),
        lock=NoLock(),
        control=no_session,
        buffer=cast("ChangeBuffer", None),
        prove=lambda _: None,
        go_on=lambda: None,
        make_way=contextlib.nullcontext,
        stopped=lambda: None,
        deadline_seconds=5,
    )
    attempt = handover.attempt()
    assert (attempt.reason, attempt.blocked_milliseconds) == ("LockConflict", 0)
