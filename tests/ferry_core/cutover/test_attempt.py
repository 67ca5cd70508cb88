"""What an attempt reports; whole attempts on real servers are in ``tests/e2e/test_cutover.py``."""

import contextlib
import threading
from typing import Any, cast
from unittest.mock import Mock

import pytest

from ferry_core.consistency.fence import Fence
from ferry_core.cutover import attempt, unlocking
from ferry_core.cutover.primary import Primary
from ferry_core.cutover.source_lock import NoLock, ReadOnlyLock
from ferry_core.cutover.unlocking import LeaseCorrector
from ferry_core.errors import AmbiguousError, DataError, ExitCode, LockConflict, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.servers import free_port

NOBODY_SETS_IT = threading.Event()


class LockedTarget:
    """A target whose lease row others keep locked for a while."""

    def read(self) -> None:
        """Reading is possible."""

    def by(self, _: object) -> "LockedTarget":
        return self

    def end_recording(self) -> None:
        """Nothing was being recorded."""

    def record(self, **_: Any) -> None:
        NOBODY_SETS_IT.wait(0.05)
        raise LockConflict(Reason.LOCK_CONFLICT, "target: the lease row is locked")

    def exclusively(self) -> contextlib.AbstractContextManager[tuple[None, Any]]:
        return contextlib.nullcontext((None, type("Lease", (), {"phase": "Streaming"})))


class LeaseOfALockedSource:
    """The lease of an attempt whose source must be unlocked."""

    def exclusively(self) -> contextlib.AbstractContextManager[tuple[None, Any]]:
        lease = type("Lease", (), {"phase": "CuttingOver", "cutover": {"read_only": "0"}})
        return contextlib.nullcontext((None, lease))


def nobody(role: str) -> Endpoint:
    """An address at which no server listens."""
    return Endpoint(ServerRole(role), "127.0.0.1", free_port(), "root", "")


def no_session() -> Session:
    raise LockConflict(Reason.LOCK_CONFLICT, "not asked")


def attempt_with(**parts: Any) -> attempt.CutoverAttempt:
    """Over servers that nobody asks; ``parts`` are what a test is about."""
    usual: dict[str, Any] = {
        "fence": LockedTarget(),
        "lock": NoLock(),
        "control": no_session,
        "hurried": no_session,
        "buffer": None,
        "stream": None,
        "prove": lambda _deadline, _check: None,
        "check_cancelled": lambda: None,
        "corrector": LeaseCorrector(contextlib.nullcontext),
        "stopped": lambda: None,
        "deadline_seconds": 5,
    }
    return attempt.CutoverAttempt(**usual | parts)


def test_waiting_for_the_target_before_writes_are_stopped_is_not_write_block_time() -> None:
    tried = attempt_with().run()
    assert (tried.reason, tried.blocked_milliseconds) == ("LockConflict", 0)


def test_new_tables_are_looked_for_after_everything_that_takes_time_under_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DDL that the stream reads while rows are compared and counters are raised is acted on."""
    steps: list[str] = []
    monkeypatch.setattr(attempt, "stream_to_end", lambda *_: steps.append("stream"))
    monkeypatch.setattr(attempt.CutoverAttempt, "_refuse_other_writers", lambda *_: None)

    def look() -> None:
        steps.append("look")
        raise DataError(Reason.NEW_TABLE, "created since the start: shop.fresh")

    fence = Mock()
    cutover = attempt_with(
        fence=fence,
        control=lambda: cast("Session", contextlib.nullcontext()),
        buffer=Mock(changes=3),
        prove=lambda _deadline, _check: steps.append("prove"),
        streamed=look,
        corrector=Mock(),
    )
    with pytest.raises(DataError, match="fresh"):
        cutover.run()
    assert steps == ["stream", "prove", "stream", "look"]
    assert all(call.kwargs["phase"] != "Completed" for call in fence.record.call_args_list)


def test_replication_that_is_acknowledged_for_the_source_is_not_for_its_primary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cutover = attempt_with(may_replicate=True, primary=Primary(no_session, may_be_errant=False))
    asked: list[object] = []
    monkeypatch.setattr(attempt, "refuse_xa", lambda *_: None)
    monkeypatch.setattr(attempt, "refuse_unlogged", lambda *_: None)
    monkeypatch.setattr(attempt, "refuse_replication", asked.append)
    source, written = cast("Session", object()), cast("Session", object())
    cutover._refuse_other_writers(source, written, 0)
    assert asked == [written]


@pytest.mark.parametrize("away", ["source", "target"])
def test_an_unlock_that_reaches_no_server_fails_with_advice(monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    """It must not fail silently: only a person can find out whether the source is locked."""
    monkeypatch.setattr(unlocking, "UNLOCK_SECONDS", 0.3)
    endpoint = nobody(away)
    lock = ReadOnlyLock(lambda: endpoint, Flavor.MARIADB)
    lost = Fence(lambda: Session(endpoint, Purpose.CONTROL), "uid", 1)
    fence = lost if away == "target" else cast("Fence", LeaseOfALockedSource())
    with pytest.raises(
        AmbiguousError, match=rf"{away} {endpoint.address}.*the next start of the Ferry, or.*SET GLOBAL read_only = OFF"
    ) as raised:
        unlocking.undo(fence, lock)
    assert (raised.value.reason, raised.value.exit_code) == ("SourceLocked", ExitCode.DATA)
