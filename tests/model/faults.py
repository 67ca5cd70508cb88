"""What ends a run or breaks into it, and what is kept for the next one: checkpoints (R5), kills, restarts, Recopy.

A dead run leaves transactions that may still commit until its successor takes the next epoch; so does a run that
is only thought dead. The checkpoint is stored on the target, or in a state file whose states have marks on the target.
"""

from collections.abc import Iterator

from tests.model.config import Config
from tests.model.copier import last_read
from tests.model.source import Source
from tests.model.state import (
    COMMITTED,
    DONE,
    TODO,
    Mark,
    Run,
    State,
    Step,
    Stored,
    Write,
    in_flight,
    kept,
    open_chunks,
    put,
    rows_of,
    without,
)
from tests.model.target import Target


class Faults:
    def __init__(self, config: Config, source: Source, target: Target) -> None:
        self._config = config
        self._ranges = config.ranges
        self._source = source
        self._target = target
        self._two_steps = config.whole or config.store == "file"

    # -- what dead runs left --------------------------------------------------------------------------------------

    def orphans(self, state: State) -> Iterator[Step]:
        certain = self._config.fence and self._config.end_lost
        for at, orphan in enumerate(state.orphans):
            rest = without(state.orphans, at)
            if isinstance(orphan, Mark):
                stored = state.stored._replace(chunks=put(state.stored.chunks, orphan.chunk, 1))
                yield ("a dead run marks chunk", orphan.chunk), state._replace(stored=stored, orphans=rest)
                yield ("a dead run's mark is lost",), state._replace(orphans=rest)
                continue
            landed = self._target.written(state, orphan)
            yield ("a lost transaction commits", orphan.keys or orphan.span), landed._replace(orphans=rest)
            if state.run and not certain:
                yield ("a lost transaction vanishes",), state._replace(orphans=rest)

    def _left(self, state: State, run: Run) -> tuple[Write | Mark, ...]:
        """What this run leaves when it dies now."""
        chunks = [
            Write((), self._ranges[at], rows_of(progress))
            for at, progress in enumerate(run.chunks)
            if in_flight(progress)
        ]
        batches = [
            Write(self._ranges[0] if self._config.whole else batch.keys, (), rows_of(batch.progress))
            for generation in run.generations
            for batch in generation.batches
            if in_flight(batch.progress)
        ]
        marks = [] if self._config.fence_store else [Mark(at) for at, one in enumerate(run.chunks) if one == COMMITTED]
        return kept((*state.orphans, *chunks, *batches, *marks))

    # -- R5 -------------------------------------------------------------------------------------------------------

    def checkpoints(self, state: State, run: Run) -> Iterator[Step]:
        if run.phase in ("look", "new", "compare", "record", "unrecorded", "ended"):
            return
        if self._two_steps:
            yield from self._in_two_steps(state, run)
            return
        position = self._safe(state, run)
        if position > state.stored.position:
            stored = state.stored._replace(position=position, last=last_read(state, run.pos))
            yield ("checkpoint", position), self._target.committed(state, stored=stored)

    def _safe(self, state: State, run: Run) -> int:
        """The position that may be stored."""
        config = self._config
        safe = run.pos
        if config.lag and not config.whole:
            holding = [pos for _, pos in run.pending]
            for generation in run.generations if config.forget_at != "take" else ():
                holding += [pos for _, pos in generation.taken]
            safe = min([safe, *holding])
        if config.xa_position != "none":
            safe = min([safe, *(held.pos for held in run.held)])
        end, _ = run.compared
        if config.ddl and config.hold and run.pos < end:
            statements = [pos for pos in range(run.pos) if state.log[pos].kind == "D"]
            safe = min([safe, *statements[-1:]])
        return safe

    def _in_two_steps(self, state: State, run: Run) -> Iterator[Step]:
        """What is asked first may be outdated when it is stored."""
        config = self._config
        if not run.asked:
            stored = Stored(1, self._done(run), self._safe(state, run), last_read(state, run.pos))
            if stored == state.stored:
                return
            asked = state._replace(run=run._replace(asked=(stored,)))
            if config.store == "file":
                yield ("mark on the target", *stored), self._target.committed(asked, marked=state.marked + 1)
            else:
                yield ("ask for the checkpoint", *stored), asked
            return
        (stored,) = run.asked
        over = state._replace(run=run._replace(asked=()))
        if config.store == "file":
            # Not after a restart of the target: the session that wrote the mark is gone, and the run with it.
            file = (*state.file, (state.marked, stored))
            yield ("save in the file", *stored), over._replace(stored=stored, file=file)
            return
        if config.whole_position_first:
            stored = stored._replace(chunks=self._done(run))
        else:
            stored = stored._replace(position=self._safe(state, run), last=last_read(state, run.pos))
        yield ("save", *stored), self._target.committed(over, stored=stored)

    def _done(self, run: Run) -> tuple[int, ...]:
        dirty = self._config.whole and self._config.whole_dirty and bool(run.pending or run.generations)
        return tuple(int(one in (COMMITTED, DONE) and not dirty) for one in run.chunks)

    # -- faults ---------------------------------------------------------------------------------------------------

    def happen(self, state: State, run: Run) -> Iterator[Step]:
        config = self._config
        dead = state._replace(faults=state.faults - 1, run=None, memory=(0, 0), orphans=self._left(state, run))
        nothing = Stored(0, (0,) * len(config.ranges))
        if config.crash:
            yield ("KILL",), dead
        if config.forget:
            at = len(state.log) if not config.absolute else 0
            yield ("KILL, checkpoint lost",), dead._replace(stored=nothing._replace(position=at), file=())
        if config.source_loses or config.xa_dropped:
            known = dead._replace(memory=max(state.memory, last_read(state, run.pos)))
            yield from self._source.lose_tail(known) if config.source_loses else self._source.drop_xa(known)
        if config.target_loses:
            yield from self._target.lose_commits(dead._replace(orphans=()))

    def recopies(self, state: State, run: Run) -> Iterator[Step]:
        config = self._config
        if not config.recopy:
            return
        nothing = Stored(0, (0,) * len(config.ranges))
        if run.phase == "unrecorded":
            yield ("clear the record and marks",), state._replace(run=run._replace(phase="new"), stored=nothing)
            return
        closed = not open_chunks(run) and not run.generations
        if not state.faults or run.phase != "copy" or (config.recopy_drains and not closed):
            return
        fresh = Run("new", run.pos, 0, (), run.held, (), (), (TODO,) * len(config.ranges))
        state = state._replace(faults=state.faults - 1, orphans=self._left(state, run))
        if config.recopy_order == "record first":
            yield ("RECOPY",), state._replace(run=fresh, stored=nothing)
        else:
            unrecorded = fresh._replace(phase="unrecorded")
            yield ("RECOPY, rows emptied",), state._replace(run=unrecorded, target=(None,) * config.keys)
