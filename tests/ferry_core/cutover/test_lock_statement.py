"""A statement that stops writes and outlives its run's mutex, beside an attempt of another Ferry."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from ferry_core.cutover.source_lock import ReadOnlyLock, Released
from ferry_core.errors import RetriableError
from tests.support.cutover_in_process import stop_writes
from tests.support.servers import Server
from tests.support.waits import PATIENCE_SECONDS, wait_until

MUTEX = "SELECT IS_USED_LOCK('mysql-ferry-source-lock')"


@contextlib.contextmanager
def about_to_stop_writes(lock: ReadOnlyLock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An attempt that has made its last checks; at the end of the block its statement reaches the server."""
    ready, go = threading.Event(), threading.Event()

    def begins() -> None:
        ready.set()
        assert go.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(lock.block, "begins", begins)

    def attempt() -> None:
        with contextlib.suppress(RetriableError):
            stop_writes(lock)

    thread = threading.Thread(target=attempt)
    thread.start()
    try:
        wait_until(ready.is_set, "the attempt is about to stop writes")
        yield
    finally:
        go.set()
        thread.join(PATIENCE_SECONDS)


def test_no_attempt_begins_before_another_ferrys_statement_has_ended(
    lock: ReadOnlyLock, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise both lock the source, and the first Ferry's next run unlocks it after the second's cutover."""
    stored = lock.stored()
    intent = lock.intent(60)
    other = ReadOnlyLock(server.endpoint, server.flavor, "uid-2")
    with about_to_stop_writes(lock, monkeypatch):
        server.execute(f"KILL {server.value(MUTEX)}")
        wait_until(lambda: server.value(MUTEX) is None, "the mutex is free")
        with pytest.raises(RetriableError) as caught:
            other.begin(5)
        assert caught.value.reason == "SourceLockBusy"
        assert server.value(MUTEX) is None, "the mutex is still held"
    with pytest.raises(RetriableError) as caught:
        other.begin(5)
    assert caught.value.reason == "SourceReadOnly"
    assert ReadOnlyLock(server.endpoint, server.flavor, "uid-1").release(intent) is Released.ALLOWED
    assert lock.stored() == stored
    other.begin(5)
    other.end()
