"""Giving an attempt up, and the start of a successor: who may allow writes again (``cutover/unlocking.py``).

The run whose attempt stopped the writes unlocks over the session that holds the mutex, and needs no target. Without the
mutex, and at every start, the lease row says whose lock it is.
"""

from collections.abc import Iterator

from tests.model.cutover_attempt import end_leftovers
from tests.model.cutover_state import (
    NOBODY,
    PERSON,
    CutoverConfig,
    Run,
    State,
    Step,
    free_lease,
    is_current,
    lease_of,
    mutex_free,
    restored,
    with_lease,
    with_run,
    with_source,
)

BEFORE_RECORD = frozenset(
    {"begun", "mutex", "intent", "enrolled", "confirmed", "pinged", "sent", "drained", "looked", "lease locked"}
)


class Undo:
    def __init__(self, config: CutoverConfig) -> None:
        self._config = config

    # -- giving up ------------------------------------------------------------------------------------------------

    def steps(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if not run.undo and (run.doing in BEFORE_RECORD or self._gives_up_too_late(run)):
            yield (ident, "GIVES UP"), with_run(state, ident, undo="given up")
        elif run.doing == "commit failed" and not run.undo and state.target_up:
            if is_current(state, run):
                yield (ident, "learns that nothing was recorded"), with_run(state, ident, undo="given up")
            else:
                yield (ident, "is fenced"), with_run(state, ident, doing="over", alive=False)
        elif run.undo == "given up":
            yield from self._ends_statement(state, ident, run)
        elif run.undo in ("unlock", "checked"):
            yield from self._unlocks(state, ident, run)
        elif run.undo in ("stands in", "looked", "sent"):
            yield from self._stands_in(state, ident, run)
        elif run.undo == "ask lease":
            yield from self._by_lease(state, ident, run)
        elif run.undo == "unlocked":
            yield from self._over(state, ident, run)

    def _gives_up_too_late(self, run: Run) -> bool:
        return run.doing == "commit sent" and not self._config.give_up_excludes_record

    def _ends_statement(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if not run.sent:
            yield (ident, "has nothing to unlock"), with_run(state, ident, undo="unlocked")
            return
        ended = "done" if run.session == "done" else "none"
        undo = "unlock" if self._config.unlock_without_target else "ask lease"
        yield (ident, "ends its lock statement"), with_run(state, ident, undo=undo, session=ended)

    def _unlocks(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        holds = not self._config.mutex or state.source.mutex == ident
        if run.undo == "checked" or (holds and self._config.unlock_by_mutex):
            yield (ident, "allows writes"), with_run(restored(state), ident, undo="unlocked", sent=False)
        elif holds:
            yield (ident, "checks that it holds the mutex"), with_run(state, ident, undo="checked")
        else:
            yield (ident, "has lost the mutex"), with_run(state, ident, undo="ask lease")

        if self._config.mutex_silent and run.undo == "unlock":
            session = "standing" if self._config.enrol_before_look else "none"
            yield (ident, "opens a second session"), with_run(state, ident, undo="stands in", session=session)

    def _stands_in(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        """Beside the session that holds the mutex. Others may end it at any moment: then it is opened again."""
        if run.undo == "stands in" and state.source.mutex != ident:
            yield (ident, "has lost the mutex"), with_run(state, ident, undo="ask lease", session="none")
        elif run.undo == "stands in":
            yield (ident, "sees that the mutex is held"), with_run(state, ident, undo="looked")
        elif run.undo == "looked" and (run.session == "standing" or not self._config.enrol_before_look):
            yield (ident, "sends read_only = OFF"), with_run(state, ident, undo="sent", session="unlocking")
        elif run.session == "unlocked":
            yield (ident, "is told: writable"), with_run(state, ident, undo="unlocked", sent=False, session="none")
        elif run.session == "none":
            yield (ident, "has lost its second session"), with_run(state, ident, undo="unlock")

    def _by_lease(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if not free_lease(state, ident):
            return
        if self._config.fenced_undo and not is_current(state, run):
            yield (
                (ident, "is fenced: its successor unlocks"),
                with_run(state, ident, doing="over", undo="", alive=False),
            )
            return
        yield from self._releases(state, ident, with_run(state, ident, undo="unlocked", sent=False))

    def _over(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        """Release the mutex. The lease is corrected when the target answers, which need not be before the run dies."""
        if state.source.mutex == ident:
            state = mutex_free(state)
        lease = lease_of(state, run)
        if lease.locked == ident:
            state = with_lease(state, run.ferry, locked=NOBODY)
        ended = with_run(
            state, ident, doing="idle", undo="", session="none", drained=-1, attempts=max(run.attempts - 1, 0)
        )
        yield (ident, "is over"), ended
        ours = lease.phase == "CuttingOver" and lease.attempt == ident
        if state.target_up and lease.locked in (NOBODY, ident) and is_current(state, run) and ours:
            yield (ident, "is over, corrects the lease"), with_lease(ended, run.ferry, phase="Streaming")

    # -- a successor ----------------------------------------------------------------------------------------------

    def starts(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        lease = lease_of(state, run)
        if run.doing == "starting" and state.target_up:
            if lease.phase == "Completed":
                told = (*state.told[: run.ferry], lease.drained, *state.told[run.ferry + 1 :])
                flushed = state._replace(unflushed=()) if self._config.flush_found else state
                over = with_run(flushed._replace(told=told), ident, doing="over", alive=False)
                yield (ident, "finds Completed"), over
            else:
                yield from self._takes_epoch(state, ident, run)
        elif run.doing == "epoch taken" and free_lease(state, ident):
            if not is_current(state, run):
                yield (ident, "is fenced"), with_run(state, ident, doing="over", alive=False)
            elif lease.phase == "Completed":
                yield (ident, "finds Completed"), with_run(state, ident, doing="starting")
            elif lease.phase == "CuttingOver":
                yield from self._releases(state, ident, with_run(state, ident, doing="idle"))
            else:
                yield (ident, "has nothing to undo"), with_run(state, ident, doing="idle")

    def _takes_epoch(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        """Ends the target sessions of earlier runs first. A COMMIT that was sent may still have come before."""
        lease = lease_of(state, run)
        if lease.locked not in (NOBODY, ident):
            killed = with_lease(state, run.ferry, locked=NOBODY)
            if state.runs[lease.locked - 1].doing == "commit sent":
                killed = with_run(killed, lease.locked, doing="commit failed")
            yield (ident, "ends the target session of", lease.locked), killed
            return
        taken = with_lease(state, run.ferry, epoch=lease.epoch + 1)
        yield (
            (ident, "takes epoch", lease.epoch + 1),
            with_run(taken, ident, doing="epoch taken", epoch=lease.epoch + 1),
        )

    def _releases(self, state: State, ident: int, after: State) -> Iterator[Step]:
        """Holding the lease row: end leftovers, take the mutex, restore what the attempt has set."""
        run = state.runs[ident - 1]
        after = end_leftovers(self._config, after, ident)
        streaming = with_lease(after, run.ferry, phase="Streaming")
        if self._config.mutex and after.source.mutex not in (NOBODY, ident):
            yield (ident, "leaves the lock to another Ferry"), streaming
        elif after.source.read_only == NOBODY:
            yield (ident, "finds the source writable"), streaming
        elif self._is_ours(after, run):
            yield (ident, "restores: writable"), with_source(streaming, read_only=NOBODY)
        else:
            yield (ident, "refuses: not certainly ours"), with_run(after, ident, doing="refused", undo="")

    def _is_ours(self, state: State, run: Run) -> bool:
        setter = state.source.read_only
        if not self._config.evidence:
            return True
        if setter == PERSON:
            return False
        return state.runs[setter - 1].ferry == run.ferry or not self._config.evidence_exact
