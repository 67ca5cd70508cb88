"""What befalls the cutover: kills, second runs, a target that is away or loses a commit, restarts, persons."""

from collections.abc import Iterator

from tests.model.cutover_state import (
    NOBODY,
    PERSON,
    CutoverConfig,
    Run,
    State,
    Step,
    mutex_free,
    spent,
    with_run,
    with_source,
)


class CutoverFaults:
    def __init__(self, config: CutoverConfig) -> None:
        self._config = config

    def happen(self, state: State) -> Iterator[Step]:
        left = dict(state.left)
        for ident, run in enumerate(state.runs, 1):
            if run.alive and "kills" in left:
                yield ("KILL", ident), spent(with_run(state, ident, alive=False, undo=""), "kills")
        yield from self._successors(state, "second_runs" in left)
        if "target_away" in left and state.target_up:
            away = spent(state, "target_away")._replace(target_up=False)
            yield ("TARGET AWAY for a while",), away
            yield ("TARGET AWAY for good",), away._replace(returns=False)
        if not state.target_up and state.returns:
            yield ("target back",), state._replace(target_up=True)
        if "target_loses" in left and state.target_up and state.unflushed:
            yield ("TARGET loses its last commit",), spent(self._target_lost(state), "target_loses")
        if "source_restarts" in left and not self._committing(state):
            yield ("SOURCE restarts",), spent(self._source_restarted(state), "source_restarts")
        if "mutex_lost" in left and state.source.mutex != NOBODY:
            yield ("MUTEX session breaks",), spent(mutex_free(state), "mutex_lost")
        if "persons" in left and self._quiet(state):
            set_by_person = with_source(state, read_only=PERSON)._replace(person=True)
            yield ("PERSON sets read_only",), spent(set_by_person, "persons")

    def _successors(self, state: State, beside: bool) -> Iterator[Step]:
        """Once a run has ended without a cutover it is started again; or, as a fault, beside one that lives."""
        if len(state.runs) >= self._config.runs + self._config.ferries - 1:
            return
        for ferry in range(self._config.ferries):
            lives = any(run.alive for run in state.runs if run.ferry == ferry)
            completed = state.told[ferry] >= 0 and state.leases[ferry].phase == "Completed"
            if completed or (lives and not beside):
                continue
            after = spent(state, "second_runs") if lives else state
            run = Run(ferry, 0, "starting", "", "none", False, -1, self._config.attempts, True)
            yield ("START of Ferry", ferry, "as run", len(state.runs) + 1), after._replace(runs=(*state.runs, run))

    @staticmethod
    def _target_lost(state: State) -> State:
        state = state._replace(leases=tuple(one._replace(locked=NOBODY) for one in state.unflushed), unflushed=())
        for ident, run in enumerate(state.runs, 1):
            if run.doing == "commit sent":
                state = with_run(state, ident, doing="commit failed")
        return state

    @staticmethod
    def _source_restarted(state: State) -> State:
        """SET GLOBAL does not survive it, and no session does."""
        state = mutex_free(with_source(state, read_only=NOBODY))._replace(person=False)
        for ident, run in enumerate(state.runs, 1):
            if run.session != "none":
                state = with_run(state, ident, session="none")
        return state

    @staticmethod
    def _committing(state: State) -> bool:
        """A restart ends the write block. After the last look only the watch finds out, and reports it."""
        after = ("lease locked", "commit sent", "recorded", "told")
        return any(told >= 0 for told in state.told) or any(run.doing in after for run in state.runs)

    @staticmethod
    def _quiet(state: State) -> bool:
        """No attempt is under way: nothing but a Ferry may change read_only during one."""
        busy = any(run.session != "none" or (run.alive and run.doing not in ("idle", "over")) for run in state.runs)
        return state.source.read_only == NOBODY and not busy
