"""One cutover attempt, step by step as in ``cutover/attempt.py``; and what the servers do with its statements.

``doing`` names what the attempt has done. Steps that ask whether the attempt was given up are not made after that; the
others are, by the thread that was abandoned.
"""

from collections.abc import Iterator

from tests.model.cutover_state import (
    FOUND_BY_OTHERS,
    NOBODY,
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


class Attempt:
    def __init__(self, config: CutoverConfig) -> None:
        self._config = config

    def steps(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        before_lock = {
            "idle": self._begins,
            "begun": self._takes_mutex,
            "mutex": self._records_intent,
            "intent": self._enrols,
            "enrolled": self._confirms,
            "confirmed": self._pings,
            "pinged": self._sends,
        }
        under_lock = {
            "sent": self._drains,
            "drained": self._looks_again,
            "looked": self._locks_lease,
            "lease locked": self._sends_commit,
            "recorded": self._tells,
            "told": self._ends_watch,
        }
        step = before_lock.get(run.doing) or under_lock.get(run.doing)
        if step is not None:
            yield from step(state, ident, run)

    # -- until writes are stopped ---------------------------------------------------------------------------------

    def _begins(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.undo or not state.target_up:
            return
        if not is_current(state, run):
            yield (ident, "is fenced"), with_run(state, ident, doing="over", alive=False)
        elif run.attempts:
            yield (ident, "begins"), with_run(end_leftovers(self._config, state, ident), ident, doing="begun")

    def _takes_mutex(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.undo or (self._config.mutex and state.source.mutex != NOBODY):
            return
        if self._config.one_statement and any(other.session in FOUND_BY_OTHERS for other in state.runs):
            return
        held = with_source(state, mutex=ident) if self._config.mutex else state
        if self._config.refuse_read_only and state.source.read_only != NOBODY:
            yield (ident, "refuses a read-only source"), with_run(state, ident, doing="idle", attempts=0)
        else:
            yield (ident, "takes the mutex"), with_run(held, ident, doing="mutex")

    def _records_intent(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.undo:
            return
        if not self._config.intent_first:
            yield (ident, "goes on without a record"), with_run(state, ident, doing="intent")
        elif free_lease(state, ident) and is_current(state, run):
            recorded = with_lease(state, run.ferry, phase="CuttingOver", attempt=ident)
            yield (ident, "records CuttingOver"), with_run(recorded, ident, doing="intent")

    def _enrols(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if self._config.refuse_read_only and state.source.read_only != NOBODY:
            return
        if self._config.enrol_before_confirm:
            yield (ident, "enrols"), with_run(state, ident, doing="enrolled", session="enrolled", sent=True)
        elif not run.undo and state.target_up and is_current(state, run) and self._holds(state, ident):
            yield (ident, "confirms"), with_run(state, ident, doing="enrolled")

    def _confirms(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if not self._config.enrol_before_confirm:
            yield (ident, "enrols"), with_run(state, ident, doing="pinged", session="enrolled", sent=True)
        elif not run.undo and state.target_up and is_current(state, run):
            yield (ident, "confirms"), with_run(state, ident, doing="confirmed")

    def _pings(self, state: State, ident: int, _: Run) -> Iterator[Step]:
        if self._holds(state, ident):
            yield (ident, "still holds the mutex"), with_run(state, ident, doing="pinged")

    def _sends(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.session == "enrolled":
            yield (ident, "sends read_only = ON"), with_run(state, ident, doing="sent", session="pending")

    def _holds(self, state: State, ident: int) -> bool:
        return not self._config.mutex or state.source.mutex == ident

    # -- under the lock -------------------------------------------------------------------------------------------

    def _drains(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.session == "done" and not run.undo and state.target_up and is_current(state, run):
            yield (ident, "drains"), with_run(state, ident, doing="drained", drained=state.source.writes)

    def _looks_again(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if not run.undo and (state.source.writes == run.drained or not self._config.late_look):
            yield (ident, "finds no late change"), with_run(state, ident, doing="looked")

    def _locks_lease(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        current = is_current(state, run) or not self._config.fenced_record
        if not run.undo and free_lease(state, ident) and current:
            locked = with_lease(state, run.ferry, locked=ident)
            yield (ident, "locks the lease row"), with_run(locked, ident, doing="lease locked")

    def _sends_commit(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        if run.undo and self._config.give_up_excludes_record:
            return
        held = state.source.read_only != NOBODY and self._holds(state, ident)
        if held or not self._config.last_look:
            yield (ident, "sends COMMIT of Completed"), with_run(state, ident, doing="commit sent")

    def _tells(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        """After the record is on the target's disk. If the target has lost it by then, a person decides."""
        if self._config.flush and not state.target_up:
            return
        flushed = state._replace(unflushed=()) if self._config.flush else state
        if self._config.flush and lease_of(state, run).phase != "Completed":
            yield (ident, "says that the record was lost"), with_run(flushed, ident, doing="refused")
            return
        told = (*state.told[: run.ferry], lease_of(state, run).drained, *state.told[run.ferry + 1 :])
        yield (ident, "tells: Completed"), with_run(flushed._replace(told=told), ident, doing="told")

    def _ends_watch(self, state: State, ident: int, _: Run) -> Iterator[Step]:
        free = mutex_free(state) if state.source.mutex == ident else state
        yield (ident, "ends its watch"), with_run(free, ident, doing="over", alive=False)

    # -- the servers ----------------------------------------------------------------------------------------------

    def on_servers(self, state: State, ident: int, run: Run) -> Iterator[Step]:
        """Statements take effect, also those of a dead run; sessions of dead runs end."""
        if run.session == "pending":
            done = with_run(state, ident, session="done")
            yield ("source is read-only for", ident), with_source(done, read_only=ident)
        if run.session == "unlocking":
            yield ("source is writable by", ident), restored(with_run(state, ident, session="unlocked"))
        lease = lease_of(state, run)
        if run.doing == "commit sent" and state.target_up and lease.locked == ident:
            completed = with_lease(state, run.ferry, phase="Completed", locked=NOBODY, drained=run.drained)
            completed = completed._replace(unflushed=state.leases)
            yield ("target commits Completed of", ident), with_run(completed, ident, doing="recorded")
        if run.doing == "commit sent" and state.target_up and lease.locked != ident:
            yield ("COMMIT fails: the session has ended of", ident), with_run(state, ident, doing="commit failed")
        if run.alive:
            return
        if state.source.mutex == ident:
            yield ("mutex session ends of", ident), mutex_free(state)
        if run.session in ("enrolled", "standing"):
            yield ("lock session ends of", ident), with_run(state, ident, session="none")
        if lease.locked == ident and run.doing != "commit sent":
            yield ("target session ends of", ident), with_lease(state, run.ferry, locked=NOBODY)


def end_leftovers(config: CutoverConfig, state: State, ident: int) -> State:
    """End the sessions of this Ferry's other runs on the source: that of the lock statement and that of the mutex."""
    if not config.kill_leftovers:
        return state
    ferry = state.runs[ident - 1].ferry
    for other, run in enumerate(state.runs, 1):
        if other == ident or run.ferry != ferry:
            continue
        if run.session in FOUND_BY_OTHERS:
            state = with_run(state, other, session="none")
        if state.source.mutex == other:
            state = mutex_free(state)
    return state
