"""The snapshot: numbers, transitions, percentage, estimate, and which changes wake which waiter."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.api.report import Report, Stage
from ferry_core.api.spec import Copy
from ferry_core.checkpoint.state import TableState
from ferry_core.errors import ConnectionLost, DataError
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.reasons import Condition, Reason
from ferry_core.report.heartbeat import ALIVE_SECONDS
from ferry_core.report.metrics import exposition, registry_of
from ferry_core.report.progress import Progress
from ferry_core.report.rate import SmoothedRate
from ferry_core.rows.copier import CopyResult
from ferry_core.throttle import Observed, ThrottleState
from ferry_core.workers.chunk_source import ChunkSource
from tests.support.tables import finish_chunk, move_of, moves_of, simple_table

START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return START.timestamp() + self.now - 1000


def a_move(rows: int) -> TableMove:
    return move_of(simple_table(rows=rows))


def copy(progress: Progress, move: TableMove, rows: int, *, last: bool = False) -> None:
    """One chunk."""
    result = CopyResult(rows, rows * 10, rows, 0, 0, 0.1, 0.2)
    finish_chunk(move, result, last=last)
    progress.chunk(move, result)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def progress(time: Time) -> Progress:
    return Progress(3, time.monotonic, time.wall)


def test_a_new_report_is_unknown_everywhere(progress: Progress) -> None:
    report = progress.report()
    assert report.stage == report.phase == "Pending"
    assert report.progress.percent == 0
    assert report.replication.lag_seconds is None
    assert report.observed_generation == report.copier.acknowledged_generation == 3
    assert report.start_time == START
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_rows_add_up_by_table_and_in_total(progress: Progress) -> None:
    first, _ = moves = moves_of([simple_table("first", rows=100), simple_table("second", rows=300)])
    progress.begin(moves)
    assert progress.report().progress.percent == 0
    copy(progress, first, 40)
    copy(progress, first, 10)
    one, other = progress.tables()
    assert (one.state, one.rows_copied, one.bytes_copied, one.percent) == ("Copying", 50, 500, 50)
    assert (other.state, other.target, other.percent) == ("Pending", "shop.second", 0)
    total = progress.report().progress
    assert (total.rows_copied, total.rows_estimated, total.percent) == (50, 400, 12.5)


def test_a_move_that_joins_is_reported_and_one_that_starts_over_has_no_rows(progress: Progress) -> None:
    moves = MoveSet.of([simple_table("a", rows=10)], Copy())
    (first,) = moves
    progress.begin(moves)
    copy(progress, first, 10, last=True)
    joined = moves.join(simple_table("b", rows=30))
    progress.set_pending({joined: 3})
    assert [(table.state, table.pending_keys) for table in progress.tables()] == [("Copied", 0), ("Pending", 3)]
    joined.state = MoveState.COPYING
    copy(progress, joined, 10)
    assert [table.state for table in progress.tables()] == ["Copied", "Copying"]
    first.state = MoveState.RESTARTING
    ChunkSource(moves).void(first)
    assert [(table.state, table.rows_copied) for table in progress.tables()] == [("Pending", 0), ("Copying", 10)]
    assert (total := progress.report().progress).tables_copied == 0
    assert (total.rows_copied, total.rows_estimated) == (10, 40)


def test_estimates_are_corrected_and_100_percent_means_done(progress: Progress) -> None:
    move, empty = moves = moves_of([simple_table("t", rows=100), simple_table("empty")])
    progress.begin(moves)
    copy(progress, move, 250)
    assert progress.tables()[0].percent == progress.report().progress.percent == 99
    copy(progress, move, 0, last=True)
    assert progress.report().progress.percent == 99
    copy(progress, empty, 0, last=True)
    total = progress.report().progress
    assert (total.percent, total.tables_copied, total.rows_estimated) == (100, 2, 250)
    assert [table.percent for table in progress.tables()] == [100, 100]


def test_rows_restored_from_a_checkpoint_do_not_count_as_speed(progress: Progress, time: Time) -> None:
    known = TableState(started=True, frontier=["1000"], rows_copied=1000, bytes_copied=9999)
    table = simple_table(rows=2000)
    (move,) = MoveSet.of([table], Copy(), {table.id: known})
    progress.begin([move])
    for _ in range(60):
        time.now += 1
        copy(progress, move, 5)
    total = progress.report().progress
    assert total.rows_copied == 1300
    assert total.estimated_completion_time is not None
    left = total.estimated_completion_time - (START + timedelta(seconds=60))
    assert left.total_seconds() == pytest.approx(140, rel=0.1)
    progress.set_paused(True, "paused by spec.paused")
    report = progress.report()
    assert report.phase == "Paused"
    assert report.progress.estimated_completion_time is None
    progress.set_paused(False)
    assert progress.report().phase == "Pending"


@given(st.floats(0.1, 1e6), st.integers(3, 400))
def test_a_steady_rate_is_found_at_once_and_kept(rate: float, seconds: int) -> None:
    smoothed = SmoothedRate()
    for second in range(seconds + 1):
        smoothed.add(rate if second else 0, float(second))
    assert smoothed.per_second(float(seconds)) == pytest.approx(rate, rel=0.2)


def test_a_rate_fades_when_nothing_comes() -> None:
    smoothed = SmoothedRate()
    assert smoothed.per_second(5.0) is None
    for second in range(60):
        smoothed.add(100, float(second))
    busy = smoothed.per_second(60)
    later = smoothed.per_second(120)
    assert busy is not None
    assert later is not None
    assert later < busy / 5
    assert smoothed.per_second(10_000) is None


def test_a_conditions_time_changes_with_its_status_only(progress: Progress, time: Time) -> None:
    progress.set_condition(Condition.CAUGHT_UP, None, Reason.LAG_UNKNOWN)
    time.now += 10
    progress.set_condition(Condition.CAUGHT_UP, False, Reason.LAG_ABOVE_THRESHOLD, "7 s")
    time.now += 10
    progress.set_condition(Condition.CAUGHT_UP, False, Reason.LAG_ABOVE_THRESHOLD, "6 s")
    condition = progress.report().condition("CaughtUp")
    assert condition is not None
    assert (condition.status, condition.message) == ("False", "6 s")
    assert condition.last_transition_time == START + timedelta(seconds=10)


def test_a_terminal_failure_needs_a_person_a_retriable_one_does_not(progress: Progress) -> None:
    progress.failed(ConnectionLost(Reason.CONNECTION_LOST, "source gone"))
    report = progress.report()
    assert report.failure is not None
    assert report.failure.retriable
    assert report.phase == "Failed"
    assert report.condition("Stalled") is None
    progress.failed(DataError(Reason.SOURCE_BINLOG_PURGED, "binlog.000003 is gone" + "x" * 10_000))
    report = progress.report()
    assert report.failure is not None
    assert not report.failure.retriable
    stalled = report.condition("Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "SourceBinlogPurged")


def test_a_completed_run(progress: Progress, time: Time) -> None:
    progress.attempt_begins(1)
    progress.attempt_ended("DeadlineExceeded", 9000)
    time.now += 5
    progress.attempt_begins(2)
    progress.attempt_ended("Done", 120)
    progress.completed("writes may move")
    report = progress.report()
    assert (report.stage, report.phase) == ("Completed", "Completed")
    assert report.completion_time == START + timedelta(seconds=5)
    assert (report.cutover.attempts, report.cutover.last_result) == (2, "Done")
    assert report.cutover.writes_blocked_milliseconds == 120


def test_the_revision_rises_with_every_transition(progress: Progress) -> None:
    def rises(change: object) -> bool:
        before = progress.report().revision
        assert callable(change)
        change()
        return progress.report().revision > before

    move = a_move(10)
    assert rises(lambda: progress.begin([move]))
    assert rises(lambda: progress.set_stage(Stage.COPYING))
    assert not rises(lambda: progress.set_stage(Stage.COPYING))
    assert rises(lambda: progress.set_message("x"))
    assert not rises(lambda: progress.set_message("x"))
    assert rises(lambda: progress.set_condition("A", True, Reason.DONE))
    assert not rises(lambda: progress.set_condition("A", True, Reason.DONE))
    throttled = ThrottleState(active=True, reason="r", signals=("rows-per-second",))
    assert rises(lambda: progress.throttled(throttled, {}, Observed()))
    assert not rises(lambda: progress.throttled(throttled, {"rows-per-second": 1.0}, Observed()))
    assert rises(lambda: copy(progress, move, 1)), "the table's state changed"
    assert not rises(lambda: copy(progress, move, 1))
    assert not rises(lambda: progress.set_pending({move: 5}))
    assert rises(lambda: copy(progress, move, 1, last=True))
    assert progress.report().replication.pending_keys == 5


def test_numbers_raise_the_revision_once_a_second(progress: Progress, time: Time) -> None:
    move = a_move(1000)
    progress.begin([move])
    copy(progress, move, 1)
    before = progress.report().revision
    for _ in range(100):
        time.now += 0.05
        copy(progress, move, 1)
        progress.report()
    assert before + 4 <= progress.report().revision <= before + 6
    time.now += 60
    progress.report()
    quiet = progress.report().revision
    time.now += 60
    assert progress.report().revision == quiet


def test_a_poll_wakes_at_once_or_at_its_end() -> None:
    progress = Progress()
    known = progress.report().revision
    newest = progress.wait_changed(known - 1, 60)
    assert newest is not None
    assert newest.revision == known
    assert progress.wait_changed(known, 0) is None
    found: list[Report | None] = []
    thread = threading.Thread(target=lambda: found.append(progress.wait_changed(known, 60)))
    thread.start()
    progress.set_message("now")
    thread.join(60)
    assert [report and report.message for report in found] == ["now"]
    assert progress.wait_changed(progress.report().revision, 0.05) is None


def test_a_poll_for_news_sleeps_through_numbers(progress: Progress, time: Time) -> None:
    move = a_move(1000)
    progress.begin([move])
    copy(progress, move, 1)
    known = progress.report().revision
    time.now += 2
    copy(progress, move, 1)
    assert progress.wait_changed(known, 0, only_news=True) is None
    assert progress.wait_changed(known, 0) is not None
    progress.set_message("news")
    told = progress.wait_changed(known, 0, only_news=True)
    assert told is not None
    assert told.message == "news"


def lives_after(progress: Progress, time: Time, seconds: float) -> bool:
    time.now += seconds
    return progress.alive


def test_alive_means_a_recent_heartbeat_or_a_long_statement(progress: Progress, time: Time) -> None:
    assert lives_after(progress, time, 2 * ALIVE_SECONDS), "validation only asks servers"
    before = progress.ready
    progress.set_stage(Stage.COPYING)
    assert (before, progress.ready) == (False, True)
    assert not lives_after(progress, time, 0)
    progress.heartbeat.beat()
    assert lives_after(progress, time, 0)
    with progress.heartbeat.long_step():
        assert lives_after(progress, time, 20 * ALIVE_SECONDS)
    assert lives_after(progress, time, ALIVE_SECONDS - 1)
    assert not lives_after(progress, time, 2)


def test_many_writers_lose_nothing() -> None:
    progress = Progress()
    moves = MoveSet.of([simple_table(rows=10**6)], Copy())
    (move,) = moves
    progress.begin(moves)
    chunks, result = ChunkSource(moves), CopyResult(3, 30, 3, 0, 0, 0.1, 0.2)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            report = progress.report()
            assert report.progress.bytes_copied == 10 * report.progress.rows_copied

    def write() -> None:
        for _ in range(500):
            chunks.finished(move, move.chunks.further(3, ("1",)), result)
            progress.chunk(move, result)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert move.chunks.copied == (6000, 60000)


def moves_beside(tables: int) -> MoveSet:
    return MoveSet.of([simple_table(f"t{number}", rows=10) for number in range(tables)], Copy())


def seconds_of_chunks_and_pending_keys(tables: int) -> float:
    """CPU seconds of what the threads report while they copy one table beside so many others."""
    moves, progress = moves_beside(tables), Progress()
    move = next(iter(moves))
    progress.begin(moves)
    began = process_time()
    for number in range(1000):
        copy(progress, move, 1)
        progress.set_pending({move: number})
    return process_time() - began


def seconds_of_reports(tables: int) -> float:
    """CPU seconds of a status line and a scrape."""
    progress = Progress()
    progress.begin(moves_beside(tables))
    registry = registry_of(progress)
    began = process_time()
    for _ in range(5):
        progress.report()
        exposition(registry)
    return process_time() - began


@pytest.mark.parametrize(
    ("seconds", "few", "many", "factor"),
    [(seconds_of_chunks_and_pending_keys, 1, 5000, 1), (seconds_of_reports, 1000, 10_000, 10)],
    ids=["an event costs the same", "a report grows with the tables"],
)
def test_the_cost_with_many_tables(seconds: Callable[[int], float], few: int, many: int, factor: int) -> None:
    for attempt in count():
        one, other = (min(seconds(tables) for _ in range(3)) for tables in (few, many))
        if other < 3 * factor * one:
            return
        assert attempt < 5, f"{one:.4f} s with {few} tables, {other:.4f} s with {many}"
