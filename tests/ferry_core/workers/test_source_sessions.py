"""Sessions on the source that threads share: how many are open, who gets one, and what becomes of them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import pytest

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConnectionLost, Interrupted, LockConflict, Terminated
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.rows.session_pair import Need, SessionPair
from ferry_core.verify.sessions import ReadSessions
from ferry_core.workers import source_sessions
from ferry_core.workers.source_sessions import SourceSessions
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.waits import PATIENCE_SECONDS, Background, wait_until

WORKERS = 2

Result = TypeVar("Result")


def background(body: Callable[[], Result]) -> Future[Result]:
    """The result of ``body``, from a thread of its own."""
    pool = ThreadPoolExecutor(1)
    found = pool.submit(body)
    pool.shutdown(wait=False)
    return found


def no_target() -> NoReturn:
    pytest.fail("only the source is asked")


class Opened:
    """Opens sessions and knows them."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.all: list[Session] = []

    def __call__(self) -> Session:
        session = Session(self._pair.source.endpoint(), Purpose.SOURCE)
        self.all.append(session)
        return session

    @property
    def count(self) -> int:
        return sum(not session.closed for session in self.all)


@pytest.fixture
def opened(pair: Pair) -> Opened:
    return Opened(pair)


@pytest.fixture
def shared(opened: Opened) -> Iterator[SourceSessions]:
    made = SourceSessions(opened, lambda: WORKERS)
    yield made
    made.close()
    assert opened.count == 0


def need(*, text: bool = False, quiet: bool = False, bulk: bool = False, given_up: Callable[[], bool] = bool) -> Need:
    return Need(text, quiet, bulk, given_up)


@contextmanager
def borrowed(shared: SourceSessions, **wanted: Any) -> Iterator[Session]:
    session = shared.borrow(need(**wanted))
    try:
        yield session
    finally:
        shared.give_back(session)


def settings(session: Session) -> tuple[str, int]:
    return session.text("SELECT @@character_set_connection"), session.number("SELECT @@sql_notes")


def test_steps_that_read_many_rows_leave_a_session_to_others(shared: SourceSessions, opened: Opened) -> None:
    bulk = [shared.borrow(need(bulk=True)) for _ in range(WORKERS)]
    third = background(lambda: shared.borrow(need(bulk=True)))
    for _ in range(3):
        with borrowed(shared) as session:
            assert session not in bulk
    assert opened.count == WORKERS + 1
    assert not third.done()
    shared.give_back(bulk[0])
    shared.give_back(third.result(PATIENCE_SECONDS))
    shared.give_back(bulk[1])
    assert opened.count == WORKERS + 1


def test_who_has_waited_longest_is_first(shared: SourceSessions, opened: Opened) -> None:
    lent = [shared.borrow(need()) for _ in range(WORKERS + 1)]
    order: list[int] = []

    def use(number: int) -> None:
        with borrowed(shared):
            order.append(number)

    waiting = []
    for number in range(6):
        waiting.append(background(partial(use, number)))
        wait_until(lambda: len(shared._waiting) == len(waiting), "it waits")
    shared.give_back(lent.pop())
    for one in waiting:
        one.result(PATIENCE_SECONDS)
    assert order == sorted(order)
    for session in lent:
        shared.give_back(session)
    assert opened.count == WORKERS + 1


def test_each_step_gets_the_settings_that_it_needs(shared: SourceSessions, opened: Opened) -> None:
    for text, quiet in [(False, False), (True, False), (False, True), (True, True), (False, False)]:
        with borrowed(shared, text=text, quiet=quiet) as session:
            assert settings(session) == ("utf8mb4" if text else "binary", int(not quiet))
            assert session.purpose is (Purpose.SOURCE_TEXT if text else Purpose.SOURCE)
    assert len(opened.all) == 1


@pytest.mark.parametrize("error", [ConnectionLost, Interrupted, ZeroDivisionError])
def test_a_step_that_failed_leaves_no_transaction_to_the_next(
    shared: SourceSessions, opened: Opened, error: type[Exception]
) -> None:
    with closing(SessionPair(shared, no_target)) as pair:

        def fails() -> None:
            pair.source().begin()
            raise error(Reason.INTERNAL_ERROR, "in the middle")

        with pytest.raises(error):
            pair.step(fails)
        assert opened.count == 0
        assert pair.step(lambda: pair.source().number("SELECT 1")) == 1


def test_a_lock_conflict_costs_no_session(shared: SourceSessions, opened: Opened) -> None:
    with closing(SessionPair(shared, no_target)) as pair:

        def conflicts() -> None:
            pair.source()
            raise LockConflict(Reason.LOCK_CONFLICT, "waited too long")

        for _ in range(2):
            with pytest.raises(LockConflict):
                pair.step(conflicts)
    assert len(opened.all) == opened.count == 1


def test_a_session_that_another_thread_broke_is_not_lent_again(shared: SourceSessions, opened: Opened) -> None:
    with closing(SessionPair(shared, no_target)) as pair:

        def broken_after_its_last_statement() -> None:
            pair.source()
            pair.abort()

        pair.step(broken_after_its_last_statement)
        assert opened.count == 0
        assert pair.step(lambda: pair.source().number("SELECT 1")) == 1


def test_a_wait_ends_with_the_pass_that_waits(shared: SourceSessions) -> None:
    lent = [shared.borrow(need()) for _ in range(WORKERS + 1)]
    cancelled = Cancellation()
    with ReadSessions(shared, no_target) as sessions:
        waiting = background(lambda: sessions.retrying(sessions.source, cancelled))
        wait_until(lambda: bool(shared._waiting), "it waits")
        cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "an attempt begins"))
        with pytest.raises(Interrupted, match="an attempt begins"):
            waiting.result(PATIENCE_SECONDS)
    for session in lent:
        shared.give_back(session)


def test_nobody_gets_a_session_once_the_run_ends(shared: SourceSessions, opened: Opened) -> None:
    lent = [shared.borrow(need()) for _ in range(WORKERS + 1)]
    waiting = background(lambda: shared.borrow(need()))
    wait_until(lambda: bool(shared._waiting), "it waits")
    shared.close()
    with pytest.raises(Terminated):
        waiting.result(PATIENCE_SECONDS)
    assert opened.count == WORKERS + 1
    for session in lent:
        shared.give_back(session)
    assert opened.count == 0


def test_idle_sessions_are_closed(shared: SourceSessions, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.warm(WORKERS)
    assert opened.count == WORKERS
    with borrowed(shared):
        shared.warm(9)
        assert opened.count == WORKERS + 1
        shared.close_idle()
        assert opened.count == WORKERS + 1
        monkeypatch.setattr(source_sessions, "IDLE_SECONDS", -1.0)
        shared.close_idle()
        assert opened.count == 1


def test_a_failed_connect_keeps_nobody_out(pair: Pair) -> None:
    fails = threading.Event()
    fails.set()

    def connect() -> Session:
        if fails.is_set():
            raise ConnectionLost(Reason.CONNECTION_LOST, "not now")
        return Session(pair.source.endpoint(), Purpose.SOURCE)

    shared = SourceSessions(connect, lambda: WORKERS)
    for _ in range(WORKERS + 2):
        with pytest.raises(ConnectionLost):
            shared.borrow(need())
    fails.clear()
    with borrowed(shared) as session:
        assert session.number("SELECT 1") == 1
    shared.close()


def test_a_cutover_attempt_leaves_room_for_its_own_sessions(shared: SourceSessions, opened: Opened) -> None:
    lent = [shared.borrow(need()) for _ in range(WORKERS)]
    shared.warm(1)
    assert opened.count == WORKERS + 1
    with shared.room(WORKERS) as leave:
        assert opened.count == WORKERS, "the free one is closed"
        waiting = background(lambda: shared.borrow(need()))
        wait_until(lambda: bool(shared._waiting), "it waits")
        shared.give_back(lent.pop())
        assert opened.count == WORKERS - 1
        assert not waiting.done()
        shared.give_back(lent.pop())
        with borrowed_later(shared, waiting):
            leave(0)
            with borrowed(shared):
                assert opened.count == 2


def test_an_attempt_that_was_given_up_takes_no_session_from_the_next(shared: SourceSessions, opened: Opened) -> None:
    with shared.room(WORKERS) as leave_late:
        pass
    leave_late(WORKERS)
    lent = [shared.borrow(need()) for _ in range(WORKERS + 1)]
    with shared.room(1) as leave:
        leave_late(WORKERS)
        shared.give_back(lent.pop())
        shared.give_back(lent.pop())
        leave_late(0)
        with borrowed(shared):
            assert opened.count == WORKERS
            leave(0)
    for session in lent:
        shared.give_back(session)


def test_a_pair_gives_back_only_what_it_has(shared: SourceSessions) -> None:
    """Another thread closes the pair while its own goes on with the next step."""
    pair = SessionPair(shared, no_target)
    first, close = pair.source(), Session.close
    steps: list[Future[Session]] = []

    def next_step() -> Session:
        pair.give_back()
        return pair.source()

    def closed_slowly() -> None:
        if not steps:
            steps.append(background(next_step))
            wait(steps, 0.5)
        close(first)

    first.close = closed_slowly  # type: ignore[method-assign]
    pair.close()
    mine = steps[0].result(PATIENCE_SECONDS)
    assert not mine.closed
    with borrowed(shared) as other:
        assert other is not mine
    pair.close()


def test_changed_keys_get_a_session_whatever_else_is_running(shared: SourceSessions, opened: Opened) -> None:
    """Also if an attempt begins, or ``copy.workers`` is lowered, while steps run that take hours."""
    lent = [shared.borrow(need(bulk=True)) for _ in range(WORKERS)]
    with shared.room(WORKERS + 1):
        with borrowed(shared):
            second = background(lambda: shared.borrow(need()))
            wait_until(lambda: bool(shared._waiting), "it waits")
            assert opened.count == WORKERS + 1
        shared.give_back(second.result(PATIENCE_SECONDS))
        bulk = background(lambda: shared.borrow(need(bulk=True)))
        wait_until(lambda: bool(shared._waiting), "it waits")
        with borrowed(shared):
            assert not bulk.done()
        for session in lent:
            shared.give_back(session)
        shared.give_back(bulk.result(PATIENCE_SECONDS))


def test_a_wait_for_a_session_is_no_time_in_which_a_step_failed(
    shared: SourceSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monotonic, passed, tries = time.monotonic, 0.0, 0
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed)
    lent = [shared.borrow(need()) for _ in range(WORKERS)]

    def fails_twice() -> int:
        nonlocal tries
        session = sessions.source()
        tries += 1
        if tries < 3:
            raise LockConflict(Reason.LOCK_CONFLICT, "not now")
        return session.number("SELECT 1")

    def step() -> int:
        return sessions.retrying(fails_twice, Cancellation(), PATIENCE_SECONDS)

    with ReadSessions(shared, no_target) as sessions:
        sessions.source()
        first = background(lambda: shared.borrow(need()))
        wait_until(lambda: len(shared._waiting) == 1, "somebody waits before the step's second try")
        step_done = background(step)
        lent.append(first.result(PATIENCE_SECONDS))
        wait_until(lambda: bool(shared._waiting), "the second try waits")
        passed = 10 * PATIENCE_SECONDS
        shared.give_back(lent.pop())
        assert step_done.result(PATIENCE_SECONDS) == 1
    assert tries == 3
    for session in lent:
        shared.give_back(session)


@pytest.mark.parametrize("lost", [False, True])
def test_only_sessions_that_are_lost_are_closed(pair: Pair, shared: SourceSessions, opened: Opened, lost: bool) -> None:
    shared.warm(2)
    session = shared.borrow(need())
    (free,) = (one for one in opened.all if one is not session)
    if lost:
        pair.source.execute(f"KILL {free.connection_id}")
    session.close()
    shared.give_back(session)
    with borrowed(shared) as found:
        assert (found is free) != lost
        assert found.number("SELECT 1") == 1
    assert len(opened.all) == 2 + lost


def test_what_a_step_leaves_open_ends_with_its_session(
    shared: SourceSessions, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    with borrowed(shared) as session:
        session.begin()
    assert session.closed
    assert "left with a transaction:" in caplog.text
    with borrowed(shared) as session:
        session.begin()
        session.rollback()
    assert opened.count == 1


def test_a_chunk_that_waits_for_a_session_lets_a_flush_pass(pair: Pair, schema: str) -> None:
    """One flusher serves all tables: if it waited for such a chunk, no change would be written for that long."""
    name = make_table(pair, schema, "id INT NOT NULL PRIMARY KEY, v INT", "(1, 10), (2, 20)")
    with EngineInProcess(pair, schema) as run:
        run.stream()
        assert run.make_readable()
        copying = run.engine._pair()
        copying.bulk = True
        found = run.engine._next_chunk(copying)
        assert found is not None
        long = [run.engine._rows.borrow(need(bulk=True)) for _ in range(16)]
        chunk = Background(lambda: run.engine._copy_chunk(copying, *found))
        assert chunk.stays(), "it waits for a session"
        pair.source.execute(f"UPDATE {name} SET v = 11 WHERE id = 1")
        run.pending(1)
        run.flush().join()
        chunk.join()
        assert not run.chunks.all_done
        for session in long:
            run.engine._rows.give_back(session)
        run.chunk().join()
        run.equal()


@contextmanager
def borrowed_later(shared: SourceSessions, waiting: Future[Session]) -> Iterator[Session]:
    session = waiting.result(PATIENCE_SECONDS)
    yield session
    shared.give_back(session)
