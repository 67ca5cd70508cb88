"""One comparison of every chunk of every table, in parallel, while writes continue. Called by ``verifier``.

A difference found here is a *candidate*: the row may have changed between the two reads, or its change may not be
flushed yet. Nothing is held between reads and no row is locked.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ferry_core.cancellation import Cancellation
from ferry_core.moves.move import TableMove
from ferry_core.rows.bounds import next_bound
from ferry_core.tables.table import KeyLiterals, KeyRange, Table
from ferry_core.verify.chunks import ChunkQueue, Cursor
from ferry_core.verify.difference import Difference
from ferry_core.verify.narrow import ChunkResult, compare_chunk
from ferry_core.verify.sessions import ConnectSource, ConnectTarget, ReadSessions

ROWS_PER_CHUNK = 20_000
CANDIDATES_PER_TABLE = 20_000
CHUNK_TRIES = 3
"""How often a chunk with more candidates than are kept is compared, each time after its changes have arrived."""
MEANWHILE_SECONDS = 0.5

Progress = Callable[[Table, int], None]
"""Called by the workers after each chunk with the number of the source's rows in it."""

Found = Callable[[TableMove, Sequence[Difference]], object]
"""Called by the workers with a chunk's differing rows as soon as they are known."""

Settle = Callable[[TableMove, Sequence[Difference]], Sequence[Difference]]
"""Called by a worker with the candidates of a table that has many: gives those that are still candidates."""


@dataclass
class PassResult:
    """``overflowed`` tables have more candidates than are kept, although those that were changes on their way have been
    left out: their pass stopped early, and proves nothing of the other rows.
    """

    rows: int = 0
    chunks: int = 0
    candidates: list[Difference] = field(default_factory=list)
    overflowed: set[TableMove] = field(default_factory=set)


class FinalPass:
    """``run`` once. All rows of the tables must have been copied before."""

    def __init__(
        self,
        moves: Sequence[TableMove],
        connect_source: ConnectSource,
        connect_target: ConnectTarget,
        workers: int = 4,
        rows_per_chunk: int = ROWS_PER_CHUNK,
        *,
        found: Found = lambda _move, _differing: None,
        settle: Settle = lambda _move, candidates: candidates,
    ) -> None:
        self._found = found
        self._settle = settle
        self._connect_source = connect_source
        self._connect_target = connect_target
        self._workers = workers
        self._queue = ChunkQueue(moves, rows_per_chunk)
        self._lock = threading.Lock()
        self._result = PassResult()
        self._candidates: defaultdict[TableMove, list[Difference]] = defaultdict(list)
        self._settling = threading.Lock()

    def run(
        self, cancelled: Cancellation, progress: Progress, meanwhile: Callable[[], bool] = lambda: False
    ) -> PassResult:
        """Compare everything. Raises the reason if it was cancelled, or the first worker's error.

        ``meanwhile`` is called again and again in this thread, at once if it returns that there is more to do.
        """
        failed = threading.Event()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="verify") as pool:
            workers = [pool.submit(self._work, cancelled, failed, progress) for _ in range(self._workers)]
            more = False
            try:
                while wait(workers, 0 if more else MEANWHILE_SECONDS).not_done:
                    more = meanwhile()
            except BaseException:
                failed.set()
                raise
        for worker in workers:
            worker.result()
        cancelled.check()
        self._result.candidates = [one for candidates in self._candidates.values() for one in candidates]
        return self._result

    def _work(self, cancelled: Cancellation, failed: threading.Event, progress: Progress) -> None:
        with ReadSessions(self._connect_source, self._connect_target, bulk=True) as sessions:

            def find_bound(table: Table, lo: KeyLiterals | None, rows: int) -> KeyLiterals | None:
                return sessions.retrying(lambda: next_bound(sessions.source(table), table, lo, rows), cancelled)

            try:
                while not cancelled.is_set() and not failed.is_set():
                    if (found := self._queue.next(find_bound)) is None:
                        return
                    cursor, chunk = found
                    progress(cursor.move.table, self._compare(sessions, cursor, chunk, cancelled))
            except BaseException:
                failed.set()
                raise

    def _compare(self, sessions: ReadSessions, cursor: Cursor, chunk: KeyRange, cancelled: Cancellation) -> int:
        move = cursor.move
        for _ in range(CHUNK_TRIES):
            compared = self._compare_once(sessions, cursor, chunk, cancelled)
            if compared.differing:
                self._found(move, compared.differing)
            if compared.complete or self._too_many(self._settle(move, compared.differing)):
                break
        with self._lock:
            self._result.rows += compared.rows
            self._result.chunks += 1
            self._candidates[move] += compared.differing
            many = len(self._candidates[move]) > CANDIDATES_PER_TABLE
        if not compared.complete:
            self._overflowed(move)
        elif many:
            self._thin_out(move)
        return compared.rows

    def _compare_once(
        self, sessions: ReadSessions, cursor: Cursor, chunk: KeyRange, cancelled: Cancellation
    ) -> ChunkResult:
        table = cursor.move.table

        def compare() -> tuple[ChunkResult, float]:
            ends = sessions.source(table), sessions.target
            started = time.monotonic()  # a wait for a session says nothing of the chunk's size
            return compare_chunk(table, chunk, *ends, CANDIDATES_PER_TABLE), time.monotonic() - started

        compared, took = sessions.retrying(compare, cancelled)
        cursor.took(took)
        cursor.move.compare_seconds = took if table.whole else 0.0
        return compared

    def _thin_out(self, move: TableMove) -> None:
        """Leave out what is no candidate any more. Workers whose table has too many wait for each other."""
        with self._settling:
            with self._lock:
                candidates = self._candidates.pop(move, [])
            left = self._settle(move, candidates) if len(candidates) > CANDIDATES_PER_TABLE else candidates
            with self._lock:
                self._candidates[move] += left
        if self._too_many(left):
            self._overflowed(move)

    @staticmethod
    def _too_many(candidates: Sequence[Difference]) -> bool:
        """So that there is room for those of more chunks."""
        return len(candidates) > CANDIDATES_PER_TABLE // 2

    def _overflowed(self, move: TableMove) -> None:
        with self._lock:
            self._result.overflowed.add(move)
            del self._candidates[move][CANDIDATES_PER_TABLE:]
        self._queue.drop(move)
