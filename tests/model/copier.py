"""The copier's streamer and its start of a table (R2), up to the first chunk. Chunks and flushes are in ``windows``.

The streamer runs beside everything else. A position behind its events is what it has read.
"""

from collections.abc import Iterator

from tests.model.config import Config, Keys
from tests.model.source import Source
from tests.model.state import (
    DONE,
    NEVER,
    TODO,
    Event,
    Generation,
    Held,
    Label,
    Progress,
    Run,
    State,
    Step,
    Stored,
    add,
)
from tests.model.target import Target

UNTRACKED = frozenset({"look", "new", "compare", "record", "unrecorded"})
"""Phases in which events of the table do not count."""
UNSTREAMED = frozenset({"look", "compare", "record", "ended"})


class Copier:
    def __init__(self, config: Config, source: Source, target: Target) -> None:
        self._config = config
        self._source = source
        self._target = target
        self._chunks = len(config.ranges)

    # -- a run begins ---------------------------------------------------------------------------------------------

    def begins(self, state: State) -> Iterator[Step]:
        """The next epoch: nothing of an earlier run commits from here on. Then from the checkpoint, or from nothing."""
        config = self._config
        orphans = tuple(
            one for one in state.orphans if not (config.fence if hasattr(one, "span") else config.fence_store)
        )
        state = self._resumable(state._replace(orphans=orphans))
        stored = state.stored
        if config.history and not self._has_history(state):
            yield ("run refused: another history",), state._replace(run=self._ended(stored.position))
            return
        chunks: tuple[Progress, ...] = tuple(DONE if done else TODO for done in stored.chunks)
        phase = "new"
        if stored.started:
            waits = config.resume_waits != "none" and TODO in chunks
            phase = "wait" if waits else "copy"
        if config.ddl:
            phase = "look"
        every = tuple(range(config.keys))
        unproven = every if config.verify and (config.proofs_end or TODO in chunks) else ()
        run = Run(phase, stored.position, stored.position, (), (), (), (), chunks, unproven)
        yield ("run starts", phase), state._replace(run=run)

    def _resumable(self, state: State) -> State:
        """With the newest checkpoint of a state file whose mark the target has."""
        if self._config.store == "target":
            return state
        held = tuple(one for one in state.file if one[0] <= state.marked or not self._config.marks)
        stored = held[-1][1] if held else Stored(0, (0,) * self._chunks)
        return state._replace(file=held, stored=stored)

    @staticmethod
    def _has_history(state: State) -> bool:
        pos, tx = max(state.stored.last, state.memory)
        return pos == 0 or (pos <= len(state.log) and state.log[pos - 1].tx == tx)

    def _ended(self, pos: int) -> Run:
        """Ended for good, with a reason: nothing is handed over."""
        return Run("ended", pos, 0, (), (), (), (), (TODO,) * self._chunks)

    # -- the streamer ---------------------------------------------------------------------------------------------

    def streams(self, state: State, run: Run) -> Iterator[Step]:
        if run.pos >= len(state.log) or run.phase in UNSTREAMED:
            return
        event = state.log[run.pos]
        begun = self._config.track_first or any(progress != TODO for progress in run.chunks)
        tracking = run.phase not in UNTRACKED and begun
        held, pending = run.held, run.pending
        keys: Keys = ()
        if event.kind == "T":
            keys = event.keys
            pending = self._added(run, keys, run.pos) if tracking else pending
        elif event.kind == "P":
            held = (*held, Held(event.xid, run.pos, event.keys))
        elif event.kind in "CR":
            held = tuple(one for one in held if one.xid != event.xid)
            decided = next((one for one in run.held if one.xid == event.xid), None)
            if decided and event.kind == "C" and tracking:
                by_prepare = self._config.xa_position == "prepare" and decided.pos != NEVER
                keys = decided.keys
                pending = self._added(run, keys, decided.pos if by_prepare else run.pos)
        elif event.kind == "D" and tracking:
            yield from self._compares_statement(state, run, event)
            return
        unproven = run.unproven
        if self._config.verify and keys:
            unproven = tuple(sorted({*unproven, *keys}))
        after = run._replace(pos=run.pos + 1, held=held, pending=pending, unproven=unproven)
        yield ("stream", event.kind, event.keys), state._replace(run=after)

    def _added(self, run: Run, keys: Keys, pos: int) -> tuple[tuple[int, int], ...]:
        if self._config.skip_unread:
            unread = {key for at, one in enumerate(run.chunks) if one == TODO for key in self._config.ranges[at]}
            keys = tuple(key for key in keys if key not in unread)
        if not self._config.keep_in_flight:
            busy = busy_keys(run.generations)
            keys = tuple(key for key in keys if key not in busy)
        return add(run.pending, keys, pos)

    def _compares_statement(self, state: State, run: Run, event: Event) -> Iterator[Step]:
        """The definition as it is now shows what one statement did, but not what two did."""
        end, compared = run.compared
        alone = run.pos >= end or compared in (0, event.tx)
        if (self._config.alone and not alone) or run.definition != state.shape:
            yield ("stream", "D", "run ends: the definition changed"), state._replace(run=self._ended(run.pos))
            return
        after = run._replace(pos=run.pos + 1, compared=(len(state.log), event.tx))
        yield ("stream", "D", "the same definition"), state._replace(run=after)

    def drops_xa(self, state: State, run: Run) -> Iterator[Step]:
        """The source lost a prepared transaction: its keys are read again, and no longer hold the checkpoint back."""
        listed = self._source.listed(state)
        for at, held in enumerate(run.held):
            decided = any(event.kind in "CR" and event.xid == held.xid for event in state.log[run.pos :])
            if held.xid in listed or held.pos == NEVER or decided or run.phase in UNTRACKED:
                continue
            if self._config.xa_drop_visible and not self._source.visible_below(state, held.pos + 1):
                continue
            dropped = (*run.held[:at], held._replace(pos=NEVER), *run.held[at + 1 :])
            pending = add(run.pending, held.keys, held.pos)
            yield ("xa dropped", held.xid), state._replace(run=run._replace(held=dropped, pending=pending))

    # -- R2 -------------------------------------------------------------------------------------------------------

    def starts(self, state: State, run: Run) -> Iterator[Step]:
        if run.phase == "look":
            yield from self._looks(state, run)
        elif run.phase == "compare":
            yield from self._compares(state, run)
        elif run.phase == "new" and self._config.ddl:
            at = len(state.log)
            yield ("start at", at), state._replace(run=run._replace(phase="compare", pos=at, start=at))
        elif run.phase in ("new", "record"):
            yield from self._records(state, run)
        elif run.phase == "empty":
            emptied = self._target.committed(state, (None,) * self._config.keys)
            yield ("empty",), emptied._replace(run=run._replace(phase="wait"))
        elif run.phase in ("wait", "list", "end"):
            yield from self._waits(state, run)

    def _looks(self, state: State, run: Run) -> Iterator[Step]:
        stored = state.stored
        if stored.started and self._config.compare_digest and stored.definition != state.shape:
            yield ("look: run refused",), state._replace(run=self._ended(run.pos))
            return
        phase = "compare" if stored.started else "new"
        yield ("look",), state._replace(run=run._replace(phase=phase, definition=state.shape))

    def _compares(self, state: State, run: Run) -> Iterator[Step]:
        started = state.stored.started
        if self._config.compare_after_start and run.definition != state.shape:
            if started:
                yield ("compare: run ends",), state._replace(run=self._ended(run.pos))
            else:
                yield ("compare: validate again",), state._replace(run=None)
            return
        resumed = "wait" if TODO in run.chunks else "copy"
        after = run._replace(phase=resumed if started else "record", compared=(len(state.log), 0))
        yield ("compare: the same",), state._replace(run=after)

    def _records(self, state: State, run: Run) -> Iterator[Step]:
        """Empty the table, begin to track here, and record that durably."""
        config = self._config
        if config.emptied == "first":
            state = self._target.committed(state, (None,) * config.keys)
        phase = "empty" if config.emptied == "after record" else "wait"
        last = last_read(state, run.pos)
        position = run.pos if config.absolute else 0
        stored = Stored(1, (0,) * self._chunks, position, last, run.definition)
        after = run._replace(phase=phase, start=run.pos, pending=(), generations=(), asked=())
        recorded: Label = ("start, record", run.pos)
        if config.store == "target":
            yield recorded, self._target.committed(state, stored=stored)._replace(run=after)
        else:
            marked = self._target.committed(state, marked=state.marked + 1)
            yield recorded, marked._replace(stored=stored, file=((marked.marked, stored),), run=after)

    def _waits(self, state: State, run: Run) -> Iterator[Step]:
        config, source = self._config, self._source
        unasked = not config.r1_start or config.locking_reads
        if run.phase == "wait":
            if unasked or not config.xa_after_r1 or source.visible_below(state, run.start):
                skipped = config.resume_waits == "r1" and config.faults > state.faults
                listed = source.listed(state) if config.xa_recover and not skipped else ()
                yield ("list XA", listed), state._replace(run=run._replace(phase="list", waits=listed))
        elif run.phase == "list":
            seen = not config.r1_start or config.xa_after_r1 or source.visible_below(state, run.start)
            if seen and not set(source.listed(state)) & set(run.waits):
                if config.r1_end and not config.locking_reads:
                    after = run._replace(phase="end", waits=(len(state.log),))
                    yield ("XA decided",), state._replace(run=after)
                else:
                    yield ("readable",), state._replace(run=run._replace(phase="copy", start=0, waits=()))
        else:
            (end,) = run.waits
            if run.pos >= end and source.visible_below(state, end):
                yield ("readable",), state._replace(run=run._replace(phase="copy", start=0, waits=()))


def busy_keys(generations: tuple[Generation, ...]) -> set[int]:
    return {key for generation in generations for key, _ in generation.taken}


def last_read(state: State, pos: int) -> tuple[int, int]:
    """Nothing where transactions are not told apart: the source keeps its history."""
    tx = state.log[pos - 1].tx if 0 < pos <= len(state.log) else 0
    return (pos, tx) if tx else (0, 0)
