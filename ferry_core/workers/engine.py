"""The threads of a run: one streamer, n copy workers, one flusher with its own pool; starts and stops them.

They share only three objects: the change buffer, the chunk source, the table gates. The first error of any thread ends
the run: ``check`` raises it in the coordinator's thread. Created and controlled by the coordinator.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.changes.derived_keys import DerivedKeys
from ferry_core.changes.dropped_xa import DroppedXa
from ferry_core.changes.flusher import Flusher, Taken
from ferry_core.changes.whole_tables import WholeTables, timed
from ferry_core.consistency.table_locks import wait_for_rows
from ferry_core.errors import DataError, FerryError, RetriableError, TerminalError, Terminated, TooLarge
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.reasons import Reason
from ferry_core.rows.chunks import Chunk
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import KeyLiterals, KeySet
from ferry_core.throttle import Throttle, WholePacing
from ferry_core.workers.chunk_source import ChunkSource
from ferry_core.workers.events import EngineEvents
from ferry_core.workers.explained import EXPLAIN_SECONDS, Explained
from ferry_core.workers.flow import Flow
from ferry_core.workers.patience import RETRY_SECONDS
from ferry_core.workers.related_rows import RelatedRows
from ferry_core.workers.row_locks import RowLocks
from ferry_core.workers.sessions import CopySessions, FlushWaitsError
from ferry_core.workers.standing_aside import StandingAside
from ferry_core.workers.step import CopyStep

log = logging.getLogger(__name__)

FLUSH_WORKERS = 4
IDLE_SECONDS = 0.05
LEASE_LOOK_SECONDS = 2.0
KILL_SECONDS = 0.5
"""How long steps may take to notice that their statements were killed."""
STREAMER = "streamer"


class Shared(NamedTuple):
    """Objects that the threads share."""

    moves: MoveSet
    buffer: ChangeBuffer
    chunks: ChunkSource
    streamer: BinlogStreamer[TableMove]


class Engine:
    """Owns the threads and their sessions. Call ``start_*`` once; ``stop`` may be repeated."""

    def __init__(
        self,
        flow: Flow,
        shared: Shared,
        throttle: Throttle,
        workers_wanted: Callable[[], int],
        events: EngineEvents,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.moves, self.buffer, self.chunks, self.streamer = shared
        self.whole_tables = WholeTables(self.buffer)
        self.flow = flow
        self._rows = flow.reader.rows
        self._fence = flow.writer.fence
        self._throttle = throttle
        self._workers_wanted = workers_wanted
        self._events = events
        self.ending = Cancellation()
        self._pacing = WholePacing(throttle, self.ending)
        self.explained = Explained(self.moves, self.ending)
        self.chunks.explains = self.explained.by
        aside = StandingAside(throttle, self.ending, self._interrupt_quietly)
        self.suspend_writes = aside.suspended
        self.row_locks = RowLocks(flow.reader.hurried_control)
        self._step = CopyStep(aside.wait_allowed, self.ending, events.error, retry_seconds, self.row_locks)
        self._fence.writes_allowed = aside.refuse_writes
        self._threads: list[threading.Thread] = []
        self._pairs: list[CopySessions] = []
        self._copying: list[CopySessions] = []
        self._pairs_lock = threading.Lock()
        self._workers: set[int] = set()
        self._failure: BaseException | None = None
        self._stream_ended = threading.Event()
        self._stopped = False
        self._flush_pool = ThreadPoolExecutor(FLUSH_WORKERS, thread_name_prefix="flush")
        self._whole_pool = ThreadPoolExecutor(FLUSH_WORKERS, thread_name_prefix="flush-whole")  # for hours, perhaps
        self._flush_local = threading.local()
        find = RelatedRows(self._step, self._flushing_pair, flow.reader.visibility.lock_clause).find
        self._derived = DerivedKeys(self.moves, self.buffer, find)

    # -- life -----------------------------------------------------------------------------------------------------

    def start_streaming(self) -> None:  # and flushing
        self.start(STREAMER, self._stream)
        self.start("flusher", self._flusher(self._flush_pool).run)
        whole = self._flusher(self._whole_pool)
        whole.due = self.whole_tables.due
        self.start("flusher-whole", whole.run)
        self.start("lease", self._watch_lease)
        self.start("xa", self._watch_xa().run)

    def _flusher(self, pool: ThreadPoolExecutor) -> Flusher:
        steps = pool, self._copy_keys, self._make_visible, self.ending.is_set, self._events.flush
        flusher = Flusher(self.buffer, *steps)
        flusher.derived = self._derived
        flusher.hold = partial(self._throttle.hold, self.ending)
        return flusher

    def start_copying(self) -> None:
        """Start as many workers as are wanted now. Called again when there is more to copy, or more are wanted.

        If fewer are wanted, the surplus ones idle. All end when everything is copied.
        """
        with self._pairs_lock:
            missing = set(range(self._workers_wanted())) - self._workers if not self.chunks.all_done else ()
            self._workers |= set(missing)
        for number in missing:
            self.start(f"copy-{number}", partial(self._copy_chunks, number))

    def _may_leave(self, number: int) -> bool:
        """Whether a copy worker is no longer needed; then it stops being one."""
        if self.ending.is_set():
            return True
        with self._pairs_lock:
            if done := self.chunks.all_done:
                self._workers.discard(number)
        return done

    def _stream(self) -> None:
        try:
            self.streamer.run()
        except DataError:
            # A newer run streams with our server id, and the source closed our stream: report that, if it is the cause.
            with contextlib.suppress(RetriableError):
                self._fence.read()
            raise

    def _watch_xa(self) -> DroppedXa:
        reader = self.flow.reader
        return DroppedXa(self.buffer, reader.control, reader.visibility, self.streamer.reached, self.ending.wait)

    def _watch_lease(self) -> None:
        """Detect a newer run also if this run has nothing to write."""
        while not self.ending.wait(LEASE_LOOK_SECONDS):
            self._rows.close_idle()
            try:
                self._fence.read()
            except RetriableError as error:
                log.debug("the lease could not be read: %s", error)

    def check(self) -> None:
        """Raise the error that ended a thread, or for which the stream has let go of a table, if there is one."""
        if error := self._failure or self.moves.news:
            raise error

    @property
    def busy(self) -> bool:
        """Whether any step is between its source read and its commit."""
        with self._pairs_lock:
            return any(pair.busy for pair in self._pairs)

    @property
    def workers(self) -> tuple[int, int]:
        """Number of copy workers with a chunk, and of those waiting for one, without surplus workers."""
        with self._pairs_lock:
            busy = sum(pair.busy for pair in self._copying)
            return busy, max(0, min(len(self._copying), self._workers_wanted()) - busy)

    def interrupt(self) -> None:
        """Kill the statements of all running steps. The steps are redone when allowed."""
        with self._pairs_lock:
            busy = [pair for pair in self._pairs if pair.busy]
        if busy:
            with self.flow.reader.hurried_control() as source, self.flow.writer.hurried_control() as target:
                for pair in busy:
                    pair.interrupt(source, target)

    def stop(self, grace_seconds: float = 1.0) -> None:
        """End all threads: steps get ``grace_seconds`` to commit, then their statements are killed."""
        self._stopped = True
        self.ending.cancel()
        self._rows.close()
        self.buffer.close()
        self.streamer.stop()
        self._join(self._threads, grace_seconds)
        for pool in (self._flush_pool, self._whole_pool):
            pool.shutdown(wait=True, cancel_futures=True)
        for pair in self._pairs:
            pair.close()

    def stop_writing(self) -> None:
        """After the cutover: only the streamer continues, to see writes that the source still accepts."""
        self.ending.cancel()
        self._rows.close()
        self._join([thread for thread in self._threads if thread.name != STREAMER], 1.5)

    def _join(self, threads: Sequence[threading.Thread], grace_seconds: float) -> None:
        """Wait for threads. After the grace time kill their statements, or break their connections."""
        if _ended(threads, grace_seconds):
            return
        # A server that hangs would block the KILL itself.
        killer = threading.Thread(target=self._interrupt_quietly, name="interrupt", daemon=True)
        killer.start()
        if _ended(threads, KILL_SECONDS):
            return
        log.warning("running steps do not end; breaking their connections")
        while not _ended(threads, 0.2):
            self.flow.abort()
        self.flow.abort()
        killer.join()

    def _interrupt_quietly(self) -> None:
        try:
            self.interrupt()
        except FerryError as error:
            log.debug("could not interrupt the running steps: %s", error)

    def start(self, name: str, body: Callable[[], None]) -> None:
        """Run ``body`` in a thread of this run. An exception of it ends the run."""

        def run() -> None:
            try:
                body()
            except Terminated:
                log.debug("%s ended", name)
            except BaseException as error:
                # After the cutover (``stop_writing``) only the streamer is needed.
                wanted = not (self._stopped if name == STREAMER else self.ending.is_set())
                if self._failure is None and wanted:
                    log.debug("%s failed", name, exc_info=True)
                    self._fail(name, error)
            finally:
                if name == STREAMER:
                    self._stream_ended.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fail(self, name: str, error: BaseException) -> None:
        """Record the first error. If a changed definition caused it, wait for the stream to name the statement."""
        waited = name == STREAMER or error in self.explained.unexplained
        if not waited and isinstance(error, DataError) and error.reason == Reason.TABLE_NOT_AS_KNOWN:
            deadline = time.monotonic() + EXPLAIN_SECONDS
            while not (self.ending.is_set() or self._stream_ended.wait(IDLE_SECONDS) or time.monotonic() > deadline):
                pass
        if self._failure is None:
            self._failure = error

    def _pair(self) -> CopySessions:
        pair = CopySessions(self.flow, self._pacing)
        with self._pairs_lock:
            self._pairs.append(pair)
        return pair

    # -- chunks ---------------------------------------------------------------------------------------------------

    def _copy_chunks(self, number: int) -> None:
        pair = self._pair()
        pair.bulk = True
        with self._pairs_lock:
            self._copying.append(pair)
        while not self._may_leave(number):
            wanted = number < self._workers_wanted()
            found = self._next_chunk(pair) if wanted and self._throttle.admit(1, self.ending) else None
            if found is None:
                self.ending.wait(IDLE_SECONDS)
                continue
            self._copy_chunk(pair, *found)
        with self._pairs_lock:
            self._copying.remove(pair)
        pair.close()

    def _next_chunk(self, pair: CopySessions) -> tuple[TableMove, Chunk] | None:
        return self._step.retrying(
            pair,
            lambda: self.chunks.next_chunk(pair.source, lambda move: move.gate.open_for_chunks),
        )

    def _copy_chunk(self, pair: CopySessions, move: TableMove, chunk: Chunk) -> None:
        with move.gate.chunk(self.ending.is_set) as entered:
            if not entered:
                self.chunks.returned(chunk)
                return
            if not self.chunks.valid(move, chunk):
                return
            try:
                result = self._copied(pair, move, chunk)
            except FlushWaitsError:  # only while nothing of the chunk is read or written
                self.chunks.returned(chunk)
                return
            except TerminalError as error:
                self._refuse_unexplained(pair, move, error)
                return
            if result is None:
                return
            self._events.judge(move, result)
            timed(move, result)
            self.chunks.finished(move, chunk, result)
        if not move.table.whole:  # such a copy charges its rows itself
            self._throttle.charge(result.rows_sent - 1)
        self._events.chunk(move, result)

    def _copied(self, pair: CopySessions, move: TableMove, chunk: Chunk) -> CopyResult | None:
        """None if it was too large, and is divided."""
        pair.yields = lambda: not move.gate.open_for_chunks
        try:
            return self._step.copy(pair, chunk.table, chunk.selector, lambda: self._retry_chunk(chunk))
        except TooLarge as error:
            self._events.error(error)
            if chunk.single and error.reason is Reason.READ_TOO_SLOW:  # it cannot be divided
                raise
            self._step.retrying(pair, lambda: self.chunks.split(chunk, pair.source(chunk.table)))
            return None
        finally:
            pair.yields = bool

    def _refuse_unexplained(self, pair: CopySessions, move: TableMove, error: TerminalError) -> None:
        """Raise the error of a step, unless the move's table is copied again; then nothing of the step can commit."""
        if not self.explained.by(move, error):
            raise error
        log.debug("%s is copied again, so this does not matter: %s", move.id, error)
        self._step.give_up(pair)

    def _retry_chunk(self, chunk: Chunk) -> None:
        self.chunks.troubled(chunk)
        self._events.chunk_retried()

    # -- changed keys ---------------------------------------------------------------------------------------------

    def _copy_keys(self, move: TableMove, keys: tuple[KeyLiterals, ...]) -> bool:
        """Copy one batch until it has committed. Returns whether it met a lock conflict."""
        pair = self._flushing_pair()
        pair.conflicted = False
        todo = [keys]
        while todo:
            part = todo.pop()
            try:
                result = self._step.copy(pair, move.table, KeySet(part))
                self._events.judge(move, result)
                timed(move, result)
                self._derived.noticed(move, result.missing)
                self._events.keys(move, result)
            except TooLarge:
                if len(part) == 1:
                    raise
                middle = len(part) // 2
                todo += [part[middle:], part[:middle]]
            except TerminalError as error:
                self._refuse_unexplained(pair, move, error)
                return False  # ``MoveStarter`` drops all keys of the move
        return bool(pair.conflicted)

    def _flushing_pair(self) -> CopySessions:
        """Of this thread's own: one of the pool, or a flusher's."""
        pair: CopySessions | None = getattr(self._flush_local, "pair", None)
        if pair is None:
            pair = self._flush_local.pair = self._pair()
        return pair

    def _make_visible(self, generations: Sequence[Taken]) -> bool:
        """R1, in a flusher's thread, on its own pair of sessions: what the last has seen includes the others'."""
        pair = self._flushing_pair()
        tables = [move.table for move, _ in generations]
        seen = max(generation.seen for _, generation in generations)
        xids = frozenset().union(*(generation.xids for _, generation in generations))

        def undecided() -> frozenset[str]:
            # A transaction prepared again with the same XID has nothing to do with these keys.
            return xids.difference(self.buffer.prepared_xids())

        over, visibility = self.ending.is_set, self.flow.reader.visibility
        bulk = any(table.whole for table in tables)  # it may wait long for a lock on one; others must not
        return self._step.retrying(
            pair, lambda: wait_for_rows(pair.source(bulk=bulk), visibility, tables, seen, over, undecided)
        )


def _ended(threads: Sequence[threading.Thread], seconds: float) -> bool:
    """Whether all of them end within the time."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.01))
    return not any(thread.is_alive() for thread in threads)
