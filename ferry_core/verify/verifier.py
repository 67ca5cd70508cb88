"""Entry point of the package: proves that both servers hold the same rows, and tracks what is not proven.

The calls that lead to a verdict, and their threads:

    unproven.begin(move)       coordinator, which then adds the pending keys; from then on
    changed(...)               the change path adds every changed key (any thread, see ``unproven``)
    full_pass(...)             coordinator or a thread of its own; compares all chunks in its own worker threads
    prove_some(is_pending)     one background thread, repeatedly: so few keys remain when the lock comes
    prove_all(deadline, check_cancelled) coordinator, source writes stopped and the stream drained: the verdict

Why no proof needs a lock or R1 of its own: if a proof reads an outdated row, the event for it is either known or still
to come. An event still to come makes the key unproven when it comes. An event after ``begin`` made it unproven, and no
pass removes it, only a later proof of this key. A key whose event came before ``begin`` and that was not pending then
had been flushed by a generation that had made the event visible (R1), so the row cannot be read outdated. And
``prove_some`` checks only keys that are not pending, for which the same holds.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ferry_core.binlog.sink import KeyDecoder, RowKey
from ferry_core.cancellation import Cancellation
from ferry_core.errors import KeyUnusable, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Reason
from ferry_core.rows.session_pair import Lender
from ferry_core.tables.table import ALL_ROWS, ALL_ROWS_RAW, KeyLiterals, Table
from ferry_core.verify.difference import Difference
from ferry_core.verify.final_pass import ROWS_PER_CHUNK, FinalPass, Found, Progress, Settle
from ferry_core.verify.groups import (
    TURN_SECONDS,
    Part,
    by_table,
    compare_keys,
    doubtful,
    grouped,
    keys_of,
    parts_of_batch,
)
from ferry_core.verify.last_check import SLICE_SECONDS, LastCheck, late
from ferry_core.verify.sessions import ConnectSource, ConnectTarget, ReadSessions
from ferry_core.verify.unproven import MAX_BYTES, Batch, UnprovenKeys

log = logging.getLogger(__name__)

CONFIRM_ROUNDS = 3
"""A candidate becomes a difference when it differs in the same way this often, with its table flushed in between."""

KEYS_PER_TURN = 5000
"""About 0.15 s of work per table and turn."""

DIFFERING_KEYS_FOUND = 32
"""How many keys ``prove_some`` isolates in a batch that differs; the others wait for its next turn."""

IsPending = Callable[[TableMove, RowKey], bool]
WaitFlushed = Callable[[Sequence[TableMove]], object]


@dataclass
class Verdict:
    """``differing`` rows differ although no change of them is pending. ``unfinished`` tables need another pass."""

    rows: int = 0
    differing: list[Difference] = field(default_factory=list)
    unfinished: set[TableMove] = field(default_factory=set)
    decided: set[TableMove] = field(default_factory=set)  # no other row of these differs


@dataclass
class Proof:
    """Result of one turn of ``prove_some``.

    Differing rows stay unproven; each was found in a batch, usually of its key alone.
    """

    looked_at: int = 0
    proven: int = 0
    pending: int = 0
    found: list[tuple[Batch, list[Difference]]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    """All keys of the turn, also those that are pending."""

    @property
    def differing(self) -> list[Difference]:
        """Differences as read.

        While the source is written to, a difference may be a change that has not arrived yet.
        """
        return [difference for _, differences in self.found for difference in differences]


class Verifier:
    """One per run; it exists as long as keys may change. A pass is only a part of it."""

    def __init__(
        self,
        moves: Iterable[TableMove],
        connect_source: ConnectSource,
        connect_target: ConnectTarget,
        *,
        workers: int = 4,
        rows_per_chunk: int = ROWS_PER_CHUNK,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.unproven = UnprovenKeys(moves, max_bytes)
        self._moves = moves
        self._connect_source = connect_source
        self._connect_target = connect_target
        self._workers = workers
        self._rows_per_chunk = rows_per_chunk
        self._background = self._sessions()
        self._background_lock = threading.Lock()
        self._last_check = LastCheck(self._background, self._sessions, workers, self.unproven)

    def _sessions(self) -> ReadSessions:
        return ReadSessions(self._connect_source, self._connect_target)

    def changed(self, move: TableMove, keys: Sequence[RowKey], decode: KeyDecoder | None) -> None:
        """Call for every changed key, *after* it is in the change buffer."""
        self.unproven.add(move, keys, decode)

    def forget(self, move: TableMove) -> None:
        """The move starts over: it is unproven as a whole."""
        with self._background_lock:
            self.unproven.give_up(move)

    # -- before the lock ------------------------------------------------------------------------------------------

    def full_pass(
        self,
        cancelled: Cancellation,
        progress: Progress,
        wait_flushed: WaitFlushed,
        moves: Sequence[TableMove] | None = None,
        is_pending: IsPending | None = None,
    ) -> Verdict:
        """Compare every chunk, then the differing rows again. ``unproven.begin`` must have been called before.

        ``wait_flushed(moves)`` returns when every change of the tables known at that moment is on the target. Rows that
        keep changing are left to ``prove_all``. With ``is_pending`` rows that change while chunks are compared are
        proven meanwhile, as by ``prove_some``. Raises the reason if it was cancelled.
        """
        chosen = list(self._moves) if moves is None else moves

        def meanwhile() -> bool:
            return is_pending is not None and self._prove_meanwhile(is_pending, cancelled)

        chunks = self._pass(chosen, self._workers, settle=self._settling(cancelled, wait_flushed))
        result = chunks.run(cancelled, progress, meanwhile)
        verdict = Verdict(result.rows, unfinished=set(result.overflowed))
        moves_of = {move.table: move for move in chosen}
        candidates = [one for one in result.candidates if not moves_of[one.table].unproven.whole]
        differing, steady = self._confirm(candidates, moves_of, cancelled, wait_flushed)
        for move in chosen:
            if move.unproven.whole:
                verdict.unfinished.add(move)  # too many keys changed, or it starts over
                continue
            # Keys that an event has named since the pass began are left out: ``prove_some`` checks them one by one.
            its = differing.get(move.table, [])
            keys = {difference.key for difference in its}
            named = self.unproven.named(move, keys)
            still = [difference for difference in its if difference.key not in named]
            verdict.differing += [difference for difference in still if difference in steady]
            unsteady = [difference.key for difference in still if difference not in steady]
            self.suspect(move, unsteady)
            if move in result.overflowed:
                self.unproven.give_up(move)
            elif not unsteady and not self.unproven.left_out(move, named):
                verdict.decided.add(move)
        return verdict

    def _pass(
        self, moves: Sequence[TableMove], workers: int, *, settle: Settle, found: Found = lambda *_: None
    ) -> FinalPass:
        return FinalPass(
            moves,
            self._connect_source,
            self._connect_target,
            workers,
            self._rows_per_chunk,
            found=found,
            settle=settle,
        )

    def _prove_meanwhile(self, is_pending: IsPending, cancelled: Cancellation) -> bool:
        """One turn, and whether there is more to prove.

        Otherwise a busy source would change more keys during each pass than are kept, and no pass would count.
        """
        try:
            return self.prove_some(is_pending, cancelled=cancelled).proven >= KEYS_PER_TURN
        except KeyUnusable:
            raise
        except RetriableError as error:  # the pass goes on, and waits for its servers itself
            cancelled.check()
            log.info("rows that changed during the pass are proven later: %s", error)
            return False

    def _settling(self, cancelled: Cancellation, wait_flushed: WaitFlushed) -> Settle:
        """For a pass that finds many rows which differ, most of them because their changes are on their way."""

        def settle(move: TableMove, candidates: Sequence[Difference]) -> Sequence[Difference]:
            wait_flushed([move])
            with self._sessions() as sessions:
                found = compare_keys(sessions, {move.table: keys_of(candidates)}, cancelled).get(move.table, [])
            named = self.unproven.named(move, set(keys_of(found)), by_events=True)
            return [difference for difference in found if difference.key not in named]

        return settle

    def suspect(self, move: TableMove, keys: Sequence[KeyLiterals]) -> None:
        """These rows may differ although no event has named them since they were proven: they are unproven again."""
        if keys:
            decode = _all_rows if move.table.whole else None
            self.unproven.add(move, [row_key(move, key) for key in dict.fromkeys(keys)], decode)

    def _confirm(
        self,
        candidates: Sequence[Difference],
        moves: Mapping[Table, TableMove],
        cancelled: Cancellation,
        wait_flushed: WaitFlushed,
    ) -> tuple[Mapping[Table, Sequence[Difference]], set[Difference]]:
        """Candidates that still differ, by table, and which of all stayed the same. The others are equal."""
        differing, steady = by_table(candidates), set(candidates)
        with self._sessions() as sessions:
            for _ in range(CONFIRM_ROUNDS):
                if not differing:
                    break
                # Not for a table that is copied whole: that may take as long as it is written to. If no event has named
                # its only key once all are known, its copy is not pending.
                wait_flushed([moves[table] for table in differing if not table.whole])
                named = {table for table in differing if table.whole and self.unproven.size(moves[table])}
                differing = {table: found for table, found in differing.items() if table not in named}
                keys = {table: keys_of(found) for table, found in differing.items()}
                differing = compare_keys(sessions, keys, cancelled)
                steady.intersection_update(chain.from_iterable(differing.values()))
        return differing, steady

    def compare_again(
        self,
        cancelled: Cancellation,
        progress: Progress,
        wait_flushed: WaitFlushed,
        moves: Sequence[TableMove] | None = None,
        workers: int = 0,
    ) -> Mapping[TableMove, Sequence[KeyLiterals]]:
        """Compare every chunk once more. Gives the keys of rows that differ although no event has named them.

        Events report all changes by the source. This finds changes by others on the target. It judges nothing: the rows
        are unproven, so ``prove_some`` looks at each of them, and ``prove_all`` at those that are left.
        """
        chosen = list(self._moves) if moves is None else moves
        moves_of = {move.table: move for move in chosen}
        named: set[TableMove] = set()

        def suspect(move: TableMove, some: Sequence[Difference]) -> None:
            """At once: what a pass has found outlives its cancellation."""
            if move.table.whole and self.unproven.size(move):
                named.add(move)  # by an event
            else:
                self.suspect(move, keys_of(some))

        settle = self._settling(cancelled, wait_flushed)
        result = self._pass(chosen, workers or self._workers, settle=settle, found=suspect).run(cancelled, progress)
        for move in result.overflowed:
            self.unproven.give_up(move)
        found = {moves_of[table]: keys_of(its) for table, its in by_table(result.candidates).items()}
        return {move: keys for move, its in found.items() if move not in named and (keys := self._unnamed(move, its))}

    def _unnamed(self, move: TableMove, keys: Sequence[KeyLiterals]) -> Sequence[KeyLiterals]:
        if move.table.whole:
            return keys
        named = self.unproven.named(move, set(keys), by_events=True)
        return [key for key in keys if key not in named]

    def prove_some(
        self, is_pending: IsPending, limit: int = KEYS_PER_TURN, cancelled: Cancellation | None = None
    ) -> Proof:
        """Check up to ``limit`` unproven keys per table that are not pending, and mark the equal ones as proven.

        ``is_pending`` must be True for keys that wait in the change buffer *and* for those of a generation in flight.
        """
        proof = Proof()
        cancelled = cancelled or Cancellation()
        with self._background_lock:
            for group in grouped(self._settled(is_pending, limit, proof)):
                unclear = doubtful(group, self._background, cancelled, TURN_SECONDS)
                for part in group:
                    if part.batch is None:
                        continue
                    if part in unclear:
                        self._prove(part.batch, proof, cancelled)
                    else:
                        proof.proven += self.unproven.proven(part.batch)
        return proof

    def _settled(self, is_pending: IsPending, limit: int, proof: Proof) -> Iterator[Part]:
        for move in self._moves:
            batch = self.unproven.take(move, limit)
            if batch is None:
                continue
            proof.batches.append(batch)
            settled = batch.only(key for key in batch.keys if not is_pending(move, key))
            proof.looked_at += len(batch.keys)
            proof.pending += len(batch.keys) - len(settled.keys)
            yield from parts_of_batch(settled)

    def _prove(self, batch: Batch, proof: Proof, cancelled: Cancellation) -> None:
        """Prove the equal part of a batch: halve the differing part until single keys are left."""
        batches = [batch]
        found = 0
        while batches:
            part = batches.pop()
            table = part.move.table
            differing = compare_keys(self._background, {table: part.literals()}, cancelled).get(table)
            if not differing:
                proof.proven += self.unproven.proven(part)
            elif len(part.keys) > 1 and found < DIFFERING_KEYS_FOUND:
                middle = len(part.keys) // 2
                batches += [part.only(part.keys[:middle]), part.only(part.keys[middle:])]
            else:
                found += 1
                proof.found.append((part, differing))

    def steady(self, proof: Proof) -> list[Difference]:
        """Differences in rows that no event has named since they were checked.

        Call it when the stream has delivered everything that the source had committed by the end of that check.
        Comparing hashes of several checks is not enough: a row that flips between two values shows the same pair every
        time. A row may be unproven under two keys: one from an event and one that a server rendered, or two that only
        SQL considers equal ('a' and 'A'). That of the event which has the row's own key decides: it may be pending.
        """
        steady: list[Difference] = []
        for batch, differences in proof.found:
            if self.unproven.untouched(batch):
                of_events = batch.only(key for key in batch.keys if not isinstance(key, tuple)).literals()
                others = {difference.key for difference in differences}.difference(of_events)
                named = self.unproven.named(batch.move, others, by_events=True)
                steady += [difference for difference in differences if difference.key not in named]
        return steady

    # -- under the lock -------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open sessions for ``prove_all``, which others then need not wait for. They are kept for the next attempt."""
        self._last_check.connect()
        if isinstance(self._connect_source, Lender):
            self._connect_source.warm(self._workers)

    def prove_all(self, deadline: float, check_cancelled: Callable[[], None]) -> list[Difference]:
        """The verdict under the lock: differences among everything unproven, with all changes flushed and source writes
        stopped.

        An empty list means that both servers are equal. Raises RetriableError without a verdict: a table has no
        complete pass, or ``deadline`` (time.monotonic) passed. Raises what ``check_cancelled`` raises, which is called
        all the time.
        """
        # A turn of the background thread may hang on a server that does not answer: the deadline covers that wait too.
        turn = Cancellation(deadline, late("the background verification did not end before the deadline"))
        while not self._background_lock.acquire(timeout=SLICE_SECONDS):
            check_cancelled()
            turn.check()
        try:
            if whole := self.unproven.whole_moves():  # not before: meanwhile more keys may have changed than are kept
                names = ", ".join(sorted(move.id for move in whole))
                raise RetriableError(Reason.VERIFICATION_UNFINISHED, f"no complete verification pass over {names} yet")
            groups = list(grouped(self._remaining()))
            return self._last_check.differences(groups, deadline, check_cancelled) if groups else []
        finally:
            self._background_lock.release()

    def _remaining(self) -> Iterator[Part]:
        for move in self._moves:
            taken = self.unproven.take(move, self.unproven.size(move))
            if taken is not None:
                yield from parts_of_batch(taken)

    def close(self) -> None:
        """Close all connections. Call it when no method is running any more."""
        self._last_check.close()


def row_key(move: TableMove, key: KeyLiterals) -> RowKey:
    """The key of a row that differs, as pending and unproven keys have it."""
    return ALL_ROWS_RAW if move.table.whole else key


def _all_rows(_: bytes) -> KeyLiterals:
    return ALL_ROWS
