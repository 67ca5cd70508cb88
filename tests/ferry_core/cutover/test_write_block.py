"""For how long writers wait when the target fails in the middle of an attempt: measured by one who writes, not by us.

An attempt is held at a step, the target fails there, and the time from the first write that waits or is refused to the
first one that passes again must keep to the deadline. Whole runs are in ``tests/e2e/test_target_fails.py``.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ferry_core.consistency.fence import Fence
from ferry_core.cutover.source_lock import ReadOnlyLock
from ferry_core.errors import AmbiguousError, ConfigError, FerryError, RetriableError, Terminated
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.attempts import DEADLINE, Bench, failing_at
from tests.support.engine import Background, wait_until

if TYPE_CHECKING:
    from ferry_core.cutover.outcome import Attempt

ALLOWED = DEADLINE + 1.0
BUSY = 2.0
"""What a machine under load may add to every figure. Without the bound the writers wait for 20 s to some minutes."""
CASES = [
    *((step, Bench.stalls) for step in ("recording the intent", "locking", "writes are stopped")),
    *((step, how) for step in ("draining", "proving", "recording") for how in (Bench.stalls, Bench.is_gone)),
]


@pytest.mark.parametrize(
    ("step", "how"), CASES, ids=[f"{step}, target {how.__name__.replace('_', ' ')}" for step, how in CASES]
)
def test_a_target_that_fails_blocks_writes_no_longer_than_the_deadline(
    bench: Bench, step: str, how: Callable[[Bench], None]
) -> None:
    with failing_at(bench, step, lambda: how(bench)):
        tried: list[Attempt] = []
        attempting = Background(lambda: tried.append(bench.cutover().run()))
        wait_until(lambda: not attempting.running or bench.clock.blocked, "it locks, or ends")
        attempting.join(60)
        blocked = bench.clock.longest()
    print(f"{step}: writes were blocked for {blocked:.2f} s: {tried}")
    assert not tried[0].done
    assert blocked <= ALLOWED + BUSY
    assert not bench.read_only()
    bench.heal()
    wait_until(lambda: bench.phase() != "CuttingOver", "the lease says that the attempt is over")
    bench.run.quiet()
    bench.run.equal()


def test_a_stop_unlocks_at_once_while_the_target_hangs(bench: Bench) -> None:
    ended: list[FerryError] = []

    def attempt() -> None:
        try:
            bench.cutover(60).run()
        except Terminated as error:
            ended.append(error)

    with failing_at(bench, "draining", bench.stalls):
        attempting = Background(attempt)
        wait_until(lambda: bench.clock.blocked, "writes are refused")
        bench.stop = Terminated(Reason.STOPPED, "stopped")
        asked = time.monotonic()
        wait_until(lambda: not bench.clock.blocked, "writes are allowed again")
        took = time.monotonic() - asked
        attempting.join(60)
    assert ended
    assert took < 1 + BUSY
    bench.heal()


REFUSALS = {"read-only": 1290, "out of disk": 1114, "not allowed": 1142}


@pytest.mark.parametrize("errno", REFUSALS.values(), ids=REFUSALS)
def test_a_record_that_the_target_refuses_leaves_the_source_writable(bench: Bench, errno: int) -> None:
    """By a trigger: a target that turned read-only lets accounts with SUPER write on MariaDB."""
    name = f"mysql_ferry.refuses_{bench.schema}"
    bench.pair.target.execute(
        f"CREATE TRIGGER {name} BEFORE UPDATE ON mysql_ferry.lease FOR EACH ROW "
        f"IF NEW.phase = 'Completed' AND NEW.ferry_uid = '{bench.run.uid}' THEN "
        f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {errno}, MESSAGE_TEXT = 'no'; END IF"
    )
    try:
        if errno == REFUSALS["out of disk"]:
            assert bench.cutover().run().reason == "ServerResourceExhausted"
        else:
            with pytest.raises(ConfigError):
                bench.cutover().run()
    finally:
        bench.pair.target.execute(f"DROP TRIGGER {name}")
    assert bench.clock.longest() < ALLOWED + BUSY
    assert not bench.read_only()
    wait_until(lambda: bench.phase() == "Streaming", "the lease says that the attempt is over")


def test_a_record_whose_answer_is_lost_says_so_while_it_finds_out(bench: Bench) -> None:
    """What may have been recorded is never given up, whatever the deadline."""
    tried: list[Attempt] = []
    bench.steps["before the commit"] = bench.stalls
    attempting = Background(lambda: tried.append(bench.cutover().run()))
    wait_until(lambda: bench.doubts, "it says that it does not know", 20)
    said = bench.doubts[0]
    assert said.reason == "OwnershipAmbiguous"
    assert "phase Completed" in said.message
    assert "SET GLOBAL read_only = OFF" in said.message
    assert bench.read_only()
    bench.heal()
    attempting.join(60)
    assert tried[0].done == (bench.phase() == "Completed") == bench.read_only()


def test_a_stop_does_not_wait_for_long_for_a_lost_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferry_core.cutover.attempt.STOP_SECONDS", 1.0)
    ended: list[AmbiguousError] = []

    def attempt() -> None:
        try:
            bench.cutover().run()
        except AmbiguousError as error:
            ended.append(error)

    bench.steps["before the commit"] = bench.stalls
    attempting = Background(attempt)
    wait_until(lambda: bench.doubts, "it says that it does not know", 20)
    bench.stop = Terminated(Reason.STOPPED, "stopped")
    attempting.join(10)
    assert ended[0].reason == "OwnershipAmbiguous"
    assert bench.read_only()
    bench.heal()


@pytest.mark.parametrize("stalled", [False, True], ids=["target answers", "target stalls"])
def test_without_the_mutex_a_run_asks_the_lease_before_it_unlocks(bench: Bench, stalled: bool) -> None:
    """The session that held the mutex is lost: a successor may hold it now, and only the lease tells."""

    def fails() -> None:
        (holder,) = bench.pair.source.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
        bench.pair.source.execute(f"KILL {holder}")
        if stalled:
            bench.stalls()

    tried: list[Attempt] = []
    with failing_at(bench, "draining", fails):
        attempting = Background(lambda: tried.append(bench.cutover().run()))
        if stalled:
            wait_until(lambda: bench.doubts, "it says that it cannot unlock", 20)
            assert bench.doubts[0].reason == "SourceLocked"
            assert "SET GLOBAL read_only = OFF" in bench.doubts[0].message
            assert bench.read_only()
            bench.heal()
        attempting.join(60)
    assert not tried[0].done
    assert not bench.read_only()
    assert bench.phase() == "Streaming"


def test_a_run_that_was_superseded_does_not_unlock_its_successors_lock(bench: Bench) -> None:
    """It hangs in its drain, its successor takes over and stops writes for itself, and then it wakes up."""
    successor = ReadOnlyLock(bench.pair.source.endpoint, bench.pair.flavor, bench.run.uid)

    def fails() -> None:
        target = bench.pair.target.endpoint("target")
        fence, _ = Fence.take(lambda: Session(target, Purpose.TARGET), bench.run.uid, "t/t", "s")
        successor.release(bench.lock.stored() | dict.fromkeys(bench.lock.stored(), "0"))
        successor.begin(5)
        successor.acquire(5)
        bench.stop = RetriableError(Reason.STOPPED, "it wakes up")
        assert fence.epoch > bench.run.fence.epoch

    with failing_at(bench, "draining", fails), pytest.raises(FerryError) as caught:
        bench.cutover(60).run()
    assert caught.value.reason in ("NewerRun", "Stopped")
    assert successor.held()
    successor.end()
