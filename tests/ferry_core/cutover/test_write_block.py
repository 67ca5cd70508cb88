"""How long writers wait when the target fails during an attempt, measured by a writer, not by us.

An attempt is held at a step, the target fails there, and the time from the first blocked or refused write to the first
one that succeeds again must respect the deadline. Whole runs are in ``tests/e2e/test_target_fails.py``.
"""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ferry_core.consistency.fence import Fence
from ferry_core.cutover.durable import make_durable
from ferry_core.cutover.killing import ANSWER_SECONDS
from ferry_core.cutover.source_lock import ReadOnlyLock
from ferry_core.errors import AmbiguousError, ConfigError, FerryError, RetriableError, Terminated
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.cutover_in_process import DEADLINE, CutoverInProcess, failing_at
from tests.support.waits import Background, wait_until

if TYPE_CHECKING:
    from ferry_core.cutover.outcome import AttemptOutcome

ALLOWED = DEADLINE + 1.0
MUTEX = "SELECT IS_USED_LOCK('mysql-ferry-source-lock')"
BUSY = 10.0
"""What a loaded machine may add to every figure. Without the limit writers would wait for 20 s to some minutes."""
CASES = [
    *((step, CutoverInProcess.stalls) for step in ("recording the intent", "locking", "writes are stopped")),
    *(
        (step, how)
        for step in ("draining", "proving", "recording")
        for how in (CutoverInProcess.stalls, CutoverInProcess.is_gone)
    ),
]


@pytest.mark.parametrize(
    ("step", "how"), CASES, ids=[f"{step}, target {how.__name__.replace('_', ' ')}" for step, how in CASES]
)
def test_a_target_that_fails_blocks_writes_no_longer_than_the_deadline(
    cutover: CutoverInProcess, step: str, how: Callable[[CutoverInProcess], None]
) -> None:
    with failing_at(cutover, step, lambda: how(cutover)):
        tried: list[AttemptOutcome] = []
        attempting = Background(lambda: tried.append(cutover.attempt().run()))
        wait_until(lambda: not attempting.running or cutover.clock.blocked, "it locks, or ends")
        attempting.join(60)
        blocked = cutover.clock.longest()
    print(f"{step}: writes were blocked for {blocked:.2f} s: {tried}")
    assert not tried[0].done
    assert blocked <= ALLOWED + BUSY
    assert not cutover.read_only()
    cutover.heal()
    wait_until(lambda: cutover.phase() != "CuttingOver", "the lease says that the attempt is over")
    cutover.run.quiet()
    cutover.run.equal()


def _failed_beside(cutover: CutoverInProcess, source_fails: Callable[[], None]) -> None:
    """Once writes are stopped the target is gone, and the source is asked to allow them again when ``source_fails``."""

    def fails() -> None:
        cutover.is_gone()
        cutover.source_proxy.hold(b"SELECT @@global.")

    tried: list[AttemptOutcome] = []
    with failing_at(cutover, "draining", fails):
        attempting = Background(lambda: tried.append(cutover.attempt().run()))
        cutover.source_proxy.wait_held()
        source_fails()
        wait_until(lambda: not cutover.read_only_by_itself(), "writes are allowed again, without the target")
        attempting.join(60)
    assert not tried[0].done
    assert cutover.source_proxy.counts.held == 1
    cutover.heal()
    wait_until(lambda: cutover.phase() != "CuttingOver", "the lease says that the attempt is over")


def test_one_silent_connection_to_the_source_keeps_no_writes_blocked(cutover: CutoverInProcess) -> None:
    """That of the mutex, when the target is gone too: the source still has it, so another session may unlock."""
    _failed_beside(cutover, lambda: None)
    assert cutover.clock.longest() <= ALLOWED + BUSY


def test_a_source_that_is_slow_to_unlock_does_not_wait_for_the_target(cutover: CutoverInProcess) -> None:
    """It answers nobody for longer than a statement may usually take."""

    def slow() -> None:
        cutover.source_proxy.pause()
        time.sleep(ANSWER_SECONDS + 1)  # duration of the fault
        cutover.source_proxy.release()
        cutover.source_proxy.resume()

    _failed_beside(cutover, slow)
    assert cutover.clock.longest() <= ALLOWED + ANSWER_SECONDS + 1 + BUSY


def test_a_session_beside_that_of_the_mutex_does_not_unlock_once_the_source_has_ended_it(
    cutover: CutoverInProcess,
) -> None:
    """A successor may have stopped writes for itself since: only the lease tells."""

    def ends() -> None:
        cutover.pair.source.execute(f"KILL {cutover.pair.source.value(MUTEX)}")
        wait_until(lambda: cutover.pair.source.value(MUTEX) is None, "the mutex is free")

    def fails() -> None:
        cutover.is_gone()
        cutover.source_proxy.hold(b"SELECT @@global.")

    tried: list[AttemptOutcome] = []
    with failing_at(cutover, "draining", fails):
        attempting = Background(lambda: tried.append(cutover.attempt().run()))
        cutover.source_proxy.wait_held()
        ends()
        wait_until(lambda: cutover.doubts, "it says that it cannot unlock")
        assert cutover.read_only_by_itself()
        cutover.heal()
        attempting.join(60)
    assert not tried[0].done
    assert not cutover.read_only_by_itself()


def test_a_stop_unlocks_at_once_while_the_target_hangs(cutover: CutoverInProcess) -> None:
    ended: list[object] = []

    def attempt() -> None:
        try:
            ended.append(cutover.attempt(120).run())
        except FerryError as error:
            ended.append(error)

    with failing_at(cutover, "draining", cutover.stalls):
        attempting = Background(attempt)
        wait_until(lambda: not attempting.running or cutover.clock.blocked, "writes are refused")
        if not attempting.running:
            attempting.join()  # raises what ended it
        assert not ended
        cutover.stop = Terminated(Reason.STOPPED, "stopped")
        asked = time.monotonic()
        wait_until(lambda: not cutover.clock.blocked, "writes are allowed again")
        took = time.monotonic() - asked
        attempting.join(60)
    assert [type(end) for end in ended] == [Terminated]
    assert took < 1 + BUSY
    cutover.heal()


REFUSALS = {"read-only": 1290, "out of disk": 1114, "not allowed": 1142}


@pytest.mark.parametrize("errno", REFUSALS.values(), ids=REFUSALS)
def test_a_record_that_the_target_refuses_leaves_the_source_writable(cutover: CutoverInProcess, errno: int) -> None:
    """Refused by a trigger, because on MariaDB accounts with SUPER can write to a read-only target."""
    name = f"mysql_ferry.refuses_{cutover.schema}"
    cutover.pair.target.execute(
        f"CREATE TRIGGER {name} BEFORE UPDATE ON mysql_ferry.lease FOR EACH ROW "
        f"IF NEW.phase = 'Completed' AND NEW.ferry_uid = '{cutover.run.uid}' THEN "
        f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'no'; END IF"
    )
    try:
        if errno == REFUSALS["out of disk"]:
            assert cutover.attempt().run().reason == "ServerResourceExhausted"
        else:
            with pytest.raises(ConfigError):
                cutover.attempt().run()
    finally:
        cutover.pair.target.execute(f"DROP TRIGGER {name}")
    assert cutover.clock.longest() < ALLOWED + BUSY
    assert not cutover.read_only()
    wait_until(lambda: cutover.phase() == "Streaming", "the lease says that the attempt is over")


def test_a_record_whose_answer_is_lost_is_reported_as_unknown_meanwhile(cutover: CutoverInProcess) -> None:
    """An attempt that may have been recorded is never given up, whatever the deadline is."""
    tried: list[AttemptOutcome] = []
    cutover.steps["before the commit"] = cutover.stalls
    attempting = Background(lambda: tried.append(cutover.attempt(10).run()))
    wait_until(lambda: cutover.doubts, "it says that it does not know")
    said = cutover.doubts[0]
    assert said.reason == "OwnershipAmbiguous"
    assert "phase Completed" in said.message
    assert "SET GLOBAL read_only = OFF" in said.message
    assert cutover.read_only()
    cutover.heal()
    attempting.join(60)
    assert tried[0].done == (cutover.phase() == "Completed") == cutover.read_only()


@pytest.mark.parametrize("lost", ["epoch = epoch - 1, phase = 'New', cutover = '{}'", "ferry_uid = 'gone'"])
def test_a_record_that_the_target_loses_at_once_is_not_reported_as_a_cutover(
    cutover: CutoverInProcess, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """As by a restored backup or a failover in these milliseconds: a person decides."""

    def lose(connect: Callable[[], Session], fence: Fence) -> None:
        cutover.pair.target.execute(f"UPDATE mysql_ferry.lease SET {lost} WHERE ferry_uid = '{cutover.run.uid}'")
        make_durable(connect, fence)

    monkeypatch.setattr("ferry_core.cutover.attempt.make_durable", lose)
    try:
        with pytest.raises(AmbiguousError) as said:
            cutover.attempt(60).run()
        assert cutover.read_only()
    finally:
        cutover.lock.unlock()
    assert "has lost that record again" in said.value.message
    assert re.search(r"allow writes on source .*: SET GLOBAL read_only = OFF", said.value.message)


def test_a_lost_record_says_that_a_lock_of_the_run_ends_with_it(
    cutover: CutoverInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, "restored from a backup")

    monkeypatch.setattr("ferry_core.cutover.attempt.make_durable", lose)
    monkeypatch.setattr(type(cutover.lock), "outlives_run", False)
    try:
        with pytest.raises(AmbiguousError) as said:
            cutover.attempt(60).run()
    finally:
        cutover.lock.unlock()
    assert "locked only as long as this run lives" in said.value.message
    assert "stay blocked" not in said.value.message


def test_a_stop_does_not_wait_for_long_for_a_lost_answer(
    cutover: CutoverInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.cutover.attempt.STOP_SECONDS", 1.0)
    ended: list[AmbiguousError] = []

    def attempt() -> None:
        try:
            cutover.attempt(60).run()
        except AmbiguousError as error:
            ended.append(error)

    cutover.steps["before the commit"] = cutover.stalls
    attempting = Background(attempt)
    wait_until(lambda: cutover.doubts, "it says that it does not know")
    cutover.stop = Terminated(Reason.STOPPED, "stopped")
    attempting.join()
    assert ended[0].reason == "OwnershipAmbiguous"
    assert cutover.read_only()
    cutover.heal()


@pytest.mark.parametrize("stalled", [False, True], ids=["target answers", "target stalls"])
def test_without_the_mutex_a_run_reads_the_lease_before_it_unlocks(cutover: CutoverInProcess, stalled: bool) -> None:
    """The session that held the mutex is lost: a successor may hold the mutex now, and only the lease tells."""

    def fails() -> None:
        (holder,) = cutover.pair.source.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
        cutover.pair.source.execute(f"KILL {holder}")
        if stalled:
            cutover.stalls()

    tried: list[AttemptOutcome] = []
    with failing_at(cutover, "draining", fails):
        attempting = Background(lambda: tried.append(cutover.attempt().run()))
        if stalled:
            wait_until(lambda: cutover.doubts, "it says that it cannot unlock")
            assert cutover.doubts[0].reason == "SourceLocked"
            assert "SET GLOBAL read_only = OFF" in cutover.doubts[0].message
            assert cutover.read_only()
            cutover.heal()
        attempting.join(60)
    assert not tried[0].done
    assert not cutover.read_only()
    assert cutover.phase() == "Streaming"


def test_a_run_that_was_superseded_does_not_unlock_its_successors_lock(cutover: CutoverInProcess) -> None:
    """It hangs in its drain, its successor takes over and stops writes for itself, and then the run wakes up."""
    successor = ReadOnlyLock(cutover.pair.source.endpoint, cutover.pair.flavor, cutover.run.uid)

    def fails() -> None:
        target = cutover.pair.target.endpoint("target")
        fence, _ = Fence.take(lambda: Session(target, Purpose.TARGET), cutover.run.uid, "t/t", "s")
        successor.release(cutover.lock.stored() | dict.fromkeys(cutover.lock.stored(), "0"))
        successor.begin(5)
        successor.acquire(5)
        cutover.stop = RetriableError(Reason.STOPPED, "it wakes up")
        assert fence.epoch > cutover.run.fence.epoch

    with failing_at(cutover, "draining", fails), pytest.raises(FerryError) as caught:
        cutover.attempt(60).run()
    assert caught.value.reason in ("NewerRun", "Stopped")
    assert successor.held()
    successor.end()
