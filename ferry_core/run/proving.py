"""The verification thread: one full pass, then proof after proof of what changed since. Driven by the coordinator."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.errors import DataError
from ferry_core.tables.table import Table
from ferry_core.verify.difference import Difference
from ferry_core.verify.verifier import Verifier

FLUSH_PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.5
SAME_DIFFERENCE_TIMES = 6
"""A row that is not pending and differs in the same way in this many looks differs for good."""
NAMED_ROWS = 20


class Proving:
    """``run`` is the thread's body; ``passed`` says that every chunk has been proven once."""

    def __init__(
        self,
        verifier: Verifier,
        tables: Sequence[Table],
        buffer: ChangeBuffer,
        verified: Callable[[Table, int], None],
        ending: threading.Event,
    ) -> None:
        """``verified`` hears of rows compared."""
        self.passed = threading.Event()
        self.rows = 0
        self._verifier = verifier
        self._tables = list(tables)
        self._buffer = buffer
        self._verified = verified
        self._ending = ending
        self._seen: Counter[Difference] = Counter()

    @property
    def unproven_keys(self) -> int:
        return self._verifier.unproven.size()

    def run(self) -> None:
        """Raises DataError RowsDiffer naming the keys."""
        todo = self._tables
        while todo and not self._ending.is_set():
            for table in todo:
                self._begin(table)
            verdict = self._verifier.full_pass(self._ending, self._verified, self._wait_flushed, todo)
            self.rows += verdict.rows
            refuse(verdict.divergent)
            todo = sorted(verdict.unfinished, key=lambda table: table.id)
        self.passed.set()
        while not self._ending.wait(LOOK_SECONDS):
            self._look()

    def prove(self, deadline: float) -> str | None:
        """Under the cutover lock: what differs, as text; None if nothing. Raises RetriableError without a verdict."""
        differing = self._verifier.prove_all(deadline)
        return _named(differing) if differing else None

    def _begin(self, table: Table) -> None:
        self._verifier.unproven.begin(table)
        keys, decode = self._buffer.pending_snapshot(table)
        if keys and decode is not None:
            self._verifier.unproven.add(table, keys, decode)

    def _wait_flushed(self, table: Table) -> bool:
        return self._buffer.wait_flushed(table, time.monotonic() + FLUSH_PATIENCE_SECONDS)

    def _look(self) -> None:
        proof = self._verifier.prove_some(self._buffer.is_pending, cancelled=self._ending)
        self._seen = Counter({difference: self._seen[difference] + 1 for difference in proof.differing})
        refuse([difference for difference, times in self._seen.items() if times >= SAME_DIFFERENCE_TIMES])
        whole = self._verifier.unproven.whole_tables()
        if whole:
            # More keys changed than are kept: those tables need another pass before anything is handed over.
            self.passed.clear()
            for table in whole:
                self._begin(table)
            verdict = self._verifier.full_pass(self._ending, self._verified, self._wait_flushed, whole)
            refuse(verdict.divergent)
            self.passed.set()


def refuse(divergent: Sequence[Difference]) -> None:
    """DataError that names the rows, if there are any."""
    if divergent:
        raise DataError(
            "RowsDiffer",
            f"{_named(divergent)}; nothing about these rows is under way: somebody else wrote to the target, or this "
            "is a fault of mysql-ferry. Compare the rows, delete them on the target, and touch them on the source",
        )


def _named(differing: Sequence[Difference]) -> str:
    shown = "; ".join(str(difference) for difference in differing[:NAMED_ROWS])
    more = f"; and {len(differing) - NAMED_ROWS} more" if len(differing) > NAMED_ROWS else ""
    return f"{len(differing)} rows differ between source and target: {shown}{more}"
