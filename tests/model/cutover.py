"""The model of the cutover: who stops the source's writes, who allows them again, and what the target records.

What may be found: a write that the source accepted after people were told that all of it is on the target; a source
that stays read-only although nobody is cutting over, and nobody says so; a person's read_only that a run has switched
off. The target may be away from any moment on, for good.

Rows are not in it: draining means that the target has all writes so far. Nor are deadlines as times: an attempt may be
given up at any moment until its COMMIT is sent. Not in it: a source that restarts after the last look at its lock, and
so takes writes again (the watch after the cutover reports them).
"""

from collections.abc import Iterator

from tests.model.cutover_attempt import Attempt
from tests.model.cutover_faults import CutoverFaults
from tests.model.cutover_state import (
    NOBODY,
    PERSON,
    CutoverConfig,
    State,
    Step,
    first_state,
    with_source,
)
from tests.model.cutover_undo import Undo


class Cutover:
    def __init__(self, config: CutoverConfig) -> None:
        self._config = config
        self._undo = Undo(config)
        self._attempt = Attempt(config)
        self._faults = CutoverFaults(config)

    def begins(self) -> Iterator[Step]:
        yield ("streaming",), first_state(self._config)

    def steps(self, state: State) -> Iterator[Step]:
        source = state.source
        if source.read_only == NOBODY and source.writes < self._config.writes:
            yield ("application writes",), with_source(state, writes=source.writes + 1)
        for ident, run in enumerate(state.runs, 1):
            yield from self._attempt.on_servers(state, ident, run)
            if run.alive:
                yield from self._attempt.steps(state, ident, run)
                yield from self._undo.steps(state, ident, run)
                yield from self._undo.starts(state, ident, run)
        yield from self._faults.happen(state)

    def wrong(self, state: State) -> str:
        for ferry, told in enumerate(state.told):
            if state.source.writes > told >= 0:
                return f"Ferry {ferry}: a write on the source after the hand-over"
        if state.person and state.source.read_only != PERSON:
            return "a person's read_only was switched off"
        return ""

    def may_end(self, state: State) -> bool:
        """Nothing happens any more: is the source writable, handed over, or known to be locked?"""
        setter = state.source.read_only
        if setter in (NOBODY, PERSON):
            return True
        run = state.runs[setter - 1]
        if state.told[run.ferry] >= 0:
            return True
        if any(one.ferry == run.ferry and one.doing == "refused" for one in state.runs):
            return True  # with the statement that unlocks
        if state.target_up:
            return False
        known = run.doing in ("commit sent", "commit failed", "recorded")
        return known or not run.alive or state.source.mutex != setter
