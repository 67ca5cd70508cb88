"""The verification thread: one full pass, then repeated checks of what changed since. Controlled by the coordinator."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.errors import Interrupted, KeyUnusable, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table
from ferry_core.verify.difference import Difference, RowsDiffer, named
from ferry_core.verify.verifier import Verdict, Verifier

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 0.05
QUICK_SECONDS = 10.0
"""A pass that took longer is not repeated before an attempt."""
LAST_LOOK_SECONDS = 2 * QUICK_SECONDS
SAME_DIFFERENCE_TIMES = 6
"""A row that is not pending and differs in the same way in this many checks really differs."""


class BackgroundVerifier:
    """``run`` is the thread's body; ``proven`` says that every chunk has been compared once."""

    def __init__(
        self,
        verifier: Verifier,
        moves: Iterable[TableMove],
        buffer: ChangeBuffer,
        verified: Callable[[Table, int], None],
        ending: Cancellation,
        source_end: Callable[[], Callable[[], bool]],
    ) -> None:
        """``verified`` hears of rows compared.

        ``source_end`` reads the current end of the source's binlog and returns a function: has the stream reached it?
        """
        self.rows = 0
        self.differing = ""
        """What differed under the cutover's lock, until a later look finds that nothing does."""
        self._passed = threading.Event()
        self._began = time.time()
        self._took = 0.0
        self._verifier = verifier
        self._moves = moves
        self._buffer = buffer
        self._verified = verified
        self._ending = ending
        self._source_end = source_end
        self._seen: Counter[Difference] = Counter()

    @property
    def proven(self) -> bool:
        """Also of a move that has joined or started over since the last pass: it needs one of its own."""
        return self._passed.is_set() and not self._verifier.unproven.whole_moves()

    def give_up(self, move: TableMove) -> None:
        """The whole table is unproven again: it needs another pass."""
        self._verifier.unproven.give_up(move)

    @property
    def unproven_keys(self) -> int:
        return self._verifier.unproven.size()

    @property
    def unseen(self) -> str:
        """What the verdict does not cover: no event reports rows that others change on the target."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began))
        why = f" (that pass took {self._took:.0f} s: too long to repeat it)" if self._took > QUICK_SECONDS else ""
        return f"not compared: rows that others changed on the target after {moment}{why}"

    def run(self) -> None:
        """Raises RowsDiffer with the keys."""
        todo = [move for move in self._moves if move.copied]
        self._began = time.time()
        log.info("full pass of the verification begins: %d tables", len(todo))
        while todo and not self._ending.is_set():
            for move in todo:
                self._begin(move)
            verdict = self._verifier.full_pass(self._ending, self._verified, self._wait_flushed, todo)
            self.rows += verdict.rows
            _log(verdict)
            refuse(verdict.differing)
            todo = sorted(verdict.unfinished, key=lambda move: move.id)
        self._took = time.time() - self._began
        self._passed.set()
        while not self._ending.wait(LOOK_SECONDS):
            self._look()

    def look_again(self, check_cancelled: Callable[[], None]) -> None:
        """Just before writes are stopped: repeat the pass if the last one was quick, to find rows that others changed
        since.

        Its findings are judged under the lock, when no change is in progress. ``check_cancelled`` is called all the
        time.
        """
        began = time.time()
        if self._took > QUICK_SECONDS:
            return
        cancelled = Cancellation()
        pool = ThreadPoolExecutor(1, thread_name_prefix="last-look")
        look = pool.submit(self._verifier.compare_again, cancelled)
        try:
            until = time.monotonic() + LAST_LOOK_SECONDS
            while not look.done() and time.monotonic() < until:
                wait([look], AGAIN_SECONDS)
                check_cancelled()
        finally:
            cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "the last check of the target was skipped"))
            pool.shutdown(wait=False)
        if not look.done():
            log.info("the last check of the target took longer than %g s and was skipped", LAST_LOOK_SECONDS)
            return
        try:
            look.result()
        except KeyUnusable:
            raise
        except RetriableError as error:
            log.info("the last check of the target failed: %s", error)
        else:
            self._began = began

    def prove(self, deadline: float, check_cancelled: Callable[[], None]) -> str | None:
        """Under the cutover lock: describe what differs; None if nothing does.

        Raises RetriableError without a verdict, also while a pass is repeated: its table is not whole unproven any
        more, and what the pass has found so far is not judged yet.
        """
        if not self.proven:
            raise RetriableError(Reason.VERIFICATION_UNFINISHED, "a pass of the verification is not complete")
        differing = self._verifier.prove_all(deadline, check_cancelled)
        self.differing = named(differing) if differing else ""
        return self.differing or None

    def _begin(self, move: TableMove) -> None:
        self._verifier.unproven.begin(move)
        keys, decode = self._buffer.pending_snapshot(move)
        if keys:
            self._verifier.unproven.add(move, keys, decode)

    def _wait_flushed(self, moves: Sequence[TableMove]) -> bool:
        """Wait until everything that the source has committed so far to these tables is on the target.

        False only when the run ends.

        It has no timeout: during a pause or without a stream, rows differ for as long as that lasts.
        """
        if not self._wait_streamed():
            return False
        for move in moves:
            while not self._buffer.wait_flushed(move, time.monotonic() + LOOK_SECONDS):
                if self._ending.wait(AGAIN_SECONDS):
                    return False
        return not self._ending.is_set()

    def _wait_streamed(self) -> bool:
        """Wait until the stream has delivered everything that the source has committed so far.

        False when the run ends.
        """
        streamed: Callable[[], bool] | None = None
        while not self._ending.is_set():
            try:
                streamed = streamed or self._source_end()
            except RetriableError as error:
                log.debug("the end of the source's binlog could not be read: %s", error)
            if streamed is not None and streamed():
                return True
            self._ending.wait(AGAIN_SECONDS)
        return False

    def _look(self) -> None:
        proof = self._verifier.prove_some(self._buffer.is_pending, cancelled=self._ending)
        if proof.found and not self._wait_streamed():
            return
        # Rows that follow others without an event are known once those are flushed.
        following = dict.fromkeys(batch.move for batch, _ in proof.found if batch.move.above)
        if following and not self._wait_flushed([*following]):
            return
        # A change that was still on its way during the check is known by now, so its row is not steady.
        self._seen = Counter({difference: self._seen[difference] + 1 for difference in self._verifier.steady(proof)})
        if not self._seen and not proof.found:
            self.differing = ""
        refuse([difference for difference, times in self._seen.items() if times >= SAME_DIFFERENCE_TIMES])
        whole = self._verifier.unproven.whole_moves()
        if whole:
            # More keys changed than are kept, or it is not copied yet: another pass before the cutover.
            self._passed.clear()
            copied = [move for move in whole if move.copied]
            if copied:
                self._pass_again(copied)
            if len(copied) == len(whole):
                self._passed.set()

    def _pass_again(self, moves: Sequence[TableMove]) -> None:
        why = "had more changes than fit into memory, or were altered or copied since"
        log.info("%d tables %s: another full pass of them begins", len(moves), why)
        for move in moves:
            self._begin(move)
        verdict = self._verifier.full_pass(self._ending, self._verified, self._wait_flushed, moves)
        _log(verdict)
        refuse(verdict.differing)


def _log(verdict: Verdict) -> None:
    log.info(
        "full pass of the verification ends: %d rows compared, %d differ, %d tables to be verified again",
        verdict.rows,
        len(verdict.differing),
        len(verdict.unfinished),
    )


def refuse(differing: Sequence[Difference]) -> None:
    """Raise RowsDiffer, if there are any differences."""
    if differing:
        raise RowsDiffer(differing)
