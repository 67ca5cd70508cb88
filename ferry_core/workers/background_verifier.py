"""The verification thread: one full pass, then repeated checks of what changed since, and further passes when they are
due. Controlled by the coordinator.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple

from ferry_core.api.choices import OnMismatch
from ferry_core.cancellation import Cancellation
from ferry_core.errors import Interrupted, KeyUnusable, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Reason
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.text import agreeing, counted
from ferry_core.verify.difference import Difference, RowsDiffer, summary
from ferry_core.verify.final_pass import Progress
from ferry_core.verify.verifier import KEYS_PER_TURN, Proof, Verdict, Verifier
from ferry_core.workers.passes import Due, Passes
from ferry_core.workers.repairs import Repairs, refuse_to_copy
from ferry_core.workers.surroundings import Surroundings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 0.05
MANY_KEYS = 10 * KEYS_PER_TURN
"""From so many unproven keys on no time is lost between turns: what does not fit into memory costs another pass."""
QUICK_SECONDS = 10.0
"""A pass that took longer is not repeated before an attempt."""
LAST_LOOK_SECONDS = 2 * QUICK_SECONDS
SAME_DIFFERENCE_TIMES = 6
"""A row that is not pending and differs in the same way in this many checks really differs."""
CONTINUOUS_WORKERS = 1

Row = tuple[Table, KeyLiterals]


class _Running(NamedTuple):
    """The pass that is not decided yet."""

    due: Due
    found_before: int


class BackgroundVerifier:
    """``run`` is the thread's body; ``proven`` says that every chunk has been compared once."""

    def __init__(self, verifier: Verifier, moves: Iterable[TableMove], around: Surroundings) -> None:
        self.differing = ""
        """What differed under the cutover's lock, until a later look finds that nothing does."""
        self._verifier = verifier
        self._moves = moves
        self._buffer, self._waits, self._events, self._wanted, self._ending, self.explained = around
        self._repairs = Repairs(moves, around.buffer, verifier.unproven, around.events)
        self._passes = Passes(moves, verifier.unproven, around.wanted)
        self._passed = threading.Event()
        self._began = time.time()
        self._took = 0.0
        self._seen: dict[Row, tuple[int, Difference]] = {}
        self._running: _Running | None = None
        self._pass = Cancellation()
        self._undecided = False
        self._proven_last = 0
        self._under_lock: Sequence[Difference] = ()
        """Found by the last attempt; the verification's thread takes it over."""
        self._attempting = threading.Event()
        self._repairing = threading.Lock()

    @property
    def proven(self) -> bool:
        """Also of a move that has joined or started over since the last pass: it needs one of its own.

        Rows that differed have to be judged, and compared once more if they are copied again.
        """
        return self._complete and not (self._repairs.open or self._undecided or self._under_lock)

    @property
    def _complete(self) -> bool:
        whole = self._verifier.unproven.whole_moves()
        return not whole and self._passed.is_set()  # in this order: a pass clears the one, then begins with the other

    def rebuilt(self, move: TableMove) -> None:
        """The source's table was rebuilt or repaired: the whole table needs another pass."""
        self._verifier.unproven.rebuilt(move)

    def forget(self, move: TableMove) -> None:
        """Its table is copied again, as another move."""
        self._verifier.unproven.give_up(move)

    @property
    def unproven_keys(self) -> int:
        return self._verifier.unproven.size()

    @property
    def repairing(self) -> str:
        """What is copied again, for people; empty if nothing is."""
        rows = self._repairs.open
        return f"{agreeing(rows, 'row', 'differ')} between source and target: to be copied again" if rows else ""

    @property
    def unseen(self) -> str:
        """What the verdict does not cover: no event reports rows that others change on the target."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began))
        why = f" (that pass took {self._took:.0f} s: too long to repeat it)" if self._took > QUICK_SECONDS else ""
        return f"not compared: rows that others changed on the target after {moment}{why}"

    def run(self) -> None:
        """Raises RowsDiffer or RowsDifferAgain with the keys."""
        todo = [move for move in self._moves if move.copied]
        self._began = time.time()
        running = _Running(Due(todo, self._wanted.requests().newest), self._repairs.found)
        self._events.pass_begins(len(todo), running.due.request)
        while todo and not self._ending.is_set():
            todo = [move for move in self._full_pass(todo) if not move.let_go]
            # Rows whose changes are on their way differ, and too many of them end a table's pass.
            self._waits.flushed([move for move in todo if move.copied and not move.table.whole])
        self._took = time.time() - self._began
        self._passes.ended(self._took)
        self._running = running
        self._passed.set()
        while not self._ending.wait(self._pause()):
            self.explained.tried(self._turn, self._moves)  # otherwise what was looked at is still unproven

    def _turn(self) -> None:
        self._look()
        self._decide()
        self._pass_if_due()

    # -- a cutover attempt, in the coordinator's thread ------------------------------------------------------------

    def stand_aside(self, check_cancelled: Callable[[], None]) -> None:
        """An attempt begins: until ``go_on`` no pass runs, and nothing more is copied again."""
        self._attempting.set()
        self._pass.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "a cutover attempt begins"))
        while not self._repairing.acquire(timeout=AGAIN_SECONDS):
            check_cancelled()
        self._repairing.release()

    def go_on(self) -> None:
        """The attempt has failed."""
        self._attempting.clear()

    def look_again(self, check_cancelled: Callable[[], None]) -> None:
        """Just before writes are stopped: repeat the pass if the last one was quick, to find rows that others changed
        since.

        Its findings are judged under the lock, when no change is in progress. ``check_cancelled`` is called all the
        time.
        """
        began = time.time()
        if self._took > QUICK_SECONDS:
            return
        cancelled = Cancellation(within=self._ending)
        flushed = partial(self._waits.flushed, cancelled=cancelled)
        pool = ThreadPoolExecutor(1, thread_name_prefix="last-look")
        look = pool.submit(self._verifier.compare_again, cancelled, lambda _table, _rows: None, flushed)
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

    def connect(self) -> None:
        """Open the sessions of ``prove``."""
        self._verifier.connect()

    def prove(self, deadline: float, check_cancelled: Callable[[], None]) -> str | None:
        """Under the cutover lock: describe what differs; None if nothing does.

        Raises RetriableError without a verdict, also while a pass is repeated: its table is not whole unproven any
        more, and what the pass has found so far is not judged yet.
        """
        if not self._complete:
            raise RetriableError(Reason.VERIFICATION_UNFINISHED, "a pass of the verification is not complete")
        differing = self._verifier.prove_all(deadline, check_cancelled)
        self._under_lock = differing
        self.differing = summary(differing) if differing else ""
        return self.differing or None

    # -- the verification's thread ---------------------------------------------------------------------------------

    def _full_pass(self, moves: Sequence[TableMove]) -> list[TableMove]:
        """Compare these tables, of which nothing is proven. Gives those that need another pass."""
        log.info("full pass of the verification begins: %s", counted(len(moves), "table"))
        for move in moves:
            self._verifier.unproven.begin(move)
            keys, decode = self._buffer.pending_snapshot(move)
            if keys:
                self._verifier.unproven.add(move, keys, decode)
        verdict = self.explained.tried(
            lambda: self._verifier.full_pass(
                self._ending, self._events.verified, self._waits.flushed, moves, self._buffer.is_pending
            ),
            moves,
        )
        if verdict is None:
            for move in moves:
                self._verifier.unproven.give_up(move)
            return list(moves)
        _log(verdict)
        moves_of = {move.table: move for move in moves}
        for difference in verdict.differing:  # whatever becomes of them: no attempt overlooks them
            self._verifier.suspect(moves_of[difference.table], [difference.key])
        decided = {move.table for move in verdict.decided}
        for table in decided.difference(one.table for one in verdict.differing):
            self._verifier.unproven.lost_nothing(moves_of[table])
        self._judge([one for one in verdict.differing if not moves_of[one.table].let_go], decided)
        return sorted(verdict.unfinished, key=lambda move: move.id)

    def _pause(self) -> float:
        return 0.0 if self._proven_last >= KEYS_PER_TURN and self.unproven_keys > MANY_KEYS else LOOK_SECONDS

    def _look(self) -> None:
        proof = self._verifier.prove_some(self._buffer.is_pending, cancelled=self._ending)
        self._proven_last = proof.proven
        if proof.found and not self._waits.streamed():
            return
        # Rows that follow others without an event are known once those are flushed.
        following = dict.fromkeys(batch.move for batch, _ in proof.found if batch.move.above)
        if following and not self._waits.flushed([*following]):
            return
        # A change that was still on its way during the check is known by now, so its row is not steady.
        seen, self._seen = self._seen, self._not_looked_at(proof)
        for difference in self._verifier.steady(proof):
            row = difference.table, difference.key
            self._seen[row] = seen.get(row, (0, difference))[0] + 1, difference
        if not self._seen and not proof.found:
            self.differing = ""
        known = {move.table for move in self._moves if not move.let_go}  # others are copied again
        steady = [one for times, one in self._seen.values() if times >= SAME_DIFFERENCE_TIMES]
        self._judge([one for one in steady if one.table in known])
        self._repairs.look()
        whole = self._verifier.unproven.whole_moves()
        if whole:
            # More keys changed than are kept, or it is not copied yet: another pass before the cutover.
            self._passed.clear()
            if copied := [move for move in whole if move.copied]:
                why = "had more changes than fit into memory, or were altered or copied since"
                log.info("%s %s: another full pass of them begins", counted(len(copied), "table"), why)
                self._full_pass(copied)
            if len(copied) == len(whole):
                self._passed.set()

    def _not_looked_at(self, proof: Proof) -> dict[Row, tuple[int, Difference]]:
        """What was seen of rows that are still unproven and were not checked in this turn: a turn checks only some."""
        if not self._seen:
            return {}
        turn = [*proof.batches, *(batch for batch, _ in proof.found)]
        checked = {(batch.move.table, key) for batch in turn for key in batch.literals()}
        left: dict[Row, tuple[int, Difference]] = {}
        for move in self._moves:
            if keys := [key for table, key in self._seen.keys() - checked if table == move.table]:
                unproven = self._verifier.unproven.named(move, set(keys))
                left |= {(move.table, key): self._seen[move.table, key] for key in unproven}
        return left

    def _judge(self, differing: Sequence[Difference], decided: Collection[Table] = ()) -> None:
        """These rows really differ: end the run, or have them copied again.

        During an attempt they are left alone: it compares them itself, and they are found again after it. ``decided``:
        no other row of these tables differs.
        """
        if not differing:
            return
        if self._wanted.on_mismatch() is OnMismatch.FAIL:
            refuse_to_copy(differing, self._moves, ())  # nothing is ever copied over them, so they are not "reported"
            raise RowsDiffer(differing)
        with self._repairing:
            if self._attempting.is_set():
                return
            self._repairs.repair(differing, decided)
        for difference in differing:
            self._seen.pop((difference.table, difference.key), None)

    def _decide(self) -> None:
        """Report the end of a pass once its findings are judged, and what was copied again is equal."""
        if not self._attempting.is_set():
            moves = {move.table: move for move in self._moves}
            for difference in self._under_lock:
                if difference.table in moves:  # otherwise it is copied again
                    self._passes.suspected(moves[difference.table], [difference.key])
            self._undecided = self._passes.undecided
            self._under_lock = ()
        running = self._running
        if running is None or self._repairs.open or self._passes.undecided:
            return
        if any(move.unproven.whole for move in running.due.moves):  # what was found is compared by another full pass
            return
        self._running = None
        self._events.pass_ends(self._repairs.found - running.found_before, running.due.request)

    def _pass_if_due(self) -> None:
        if self._running is None and not self._attempting.is_set() and (due := self._passes.due()) is not None:
            self._compare_again(due)

    def _compare_again(self, due: Due) -> None:
        """Another pass over tables that are proven; an attempt cancels it, and it begins again after that."""
        began = time.time()
        self._pass = cancelled = Cancellation(within=self._ending)
        if self._attempting.is_set():
            return
        self._passes.began(due)
        running = _Running(due, self._repairs.found)
        self._events.pass_begins(len(due.moves), due.request)

        def may_go_on() -> None:
            if hindered := self._passes.hindered(due):
                cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, hindered))

        def progress(table: Table, rows: int) -> None:
            self._events.verified(table, rows)
            may_go_on()
            if not due.request:
                self._wanted.hold(cancelled)
                may_go_on()

        workers = 0 if due.request else CONTINUOUS_WORKERS
        suspects: Mapping[TableMove, Sequence[KeyLiterals]] | None = None
        try:
            suspects = self.explained.tried(
                lambda: self._comparing(cancelled, progress, due.moves, workers, may_go_on), self._moves
            )
        except KeyUnusable:
            raise
        except RetriableError as error:
            log.info("a pass of the verification did not end: %s", error)
        if suspects is None:
            self._passes.interrupted(due)
            self._events.pass_cancelled()
            return
        self._running = running
        self._passes.ended(time.time() - began, suspects)
        if due.complete:
            self._compared_all(began, alone=bool(due.request))

    def _compared_all(self, began: float, *, alone: bool) -> None:
        """One worker between the signals of a throttle tells nothing of the last look."""
        self._began = began
        if alone:
            self._took = time.time() - began

    def _comparing(
        self,
        cancelled: Cancellation,
        progress: Progress,
        moves: Sequence[TableMove],
        workers: int,
        may_go_on: Callable[[], None],
    ) -> Mapping[TableMove, Sequence[KeyLiterals]]:
        """Compare in a thread of its own, so that what changes meanwhile is still proven, however long it takes."""
        with ThreadPoolExecutor(1, thread_name_prefix="verify-again") as pool:
            flushed = partial(self._waits.flushed, cancelled=cancelled)
            comparing = pool.submit(self._verifier.compare_again, cancelled, progress, flushed, moves, workers)
            try:
                while not wait([comparing], self._pause()).done:
                    may_go_on()
                    if not cancelled.is_set():
                        self._look()
            except BaseException:
                cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "the verification ends"))
                raise
        return comparing.result()


def _log(verdict: Verdict) -> None:
    log.info(
        "full pass of the verification ends: %s compared, %d differ, %s to be verified again",
        counted(verdict.rows, "row"),
        len(verdict.differing),
        counted(len(verdict.unfinished), "table"),
    )
