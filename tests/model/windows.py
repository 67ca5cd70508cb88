"""Windows: from a source read to the commit on the target. Chunks, and flushes of changed keys (R3, R4).

A generation takes any subset of the changed keys and splits it into one batch or two. Batches and chunks read and
commit at any time. A table without a key is one key and one chunk: it is emptied, then read, then written.
"""

from collections.abc import Iterator
from itertools import combinations

from tests.model.config import Config, Keys
from tests.model.copier import busy_keys
from tests.model.source import Source
from tests.model.state import (
    COMMITTED,
    DONE,
    EMPTIED,
    TODO,
    Batch,
    Generation,
    Label,
    Pending,
    Progress,
    Run,
    Scan,
    State,
    Step,
    Write,
    add,
    in_flight,
    kept,
    open_chunks,
    put,
    rows_of,
    without,
)
from tests.model.target import Target


class Windows:
    def __init__(self, config: Config, source: Source, target: Target) -> None:
        self._config = config
        self._ranges = config.ranges
        self._source = source
        self._target = target
        self._classes = config.classes or tuple(range(config.keys))

    # -- chunks ---------------------------------------------------------------------------------------------------

    def chunks(self, state: State, run: Run) -> Iterator[Step]:
        for at, progress in enumerate(run.chunks):
            span = self._ranges[at]
            if progress in (TODO, EMPTIED) or isinstance(progress, Scan):
                yield from self._reads_chunk(state, run, at)
            elif in_flight(progress):
                after = run._replace(chunks=put(run.chunks, at, COMMITTED if state.faults else DONE))
                again = run._replace(chunks=put(run.chunks, at, TODO))
                yield from self._commits(state, Write((), span, rows_of(progress)), after, again)
            elif progress == COMMITTED and not self._config.whole and self._config.store == "target":
                after = run._replace(chunks=put(run.chunks, at, DONE))
                stored = state.stored._replace(chunks=put(state.stored.chunks, at, 1))
                yield ("mark chunk", span), self._target.committed(state, stored=stored)._replace(run=after)

    def _reads_chunk(self, state: State, run: Run, at: int) -> Iterator[Step]:
        progress, span = run.chunks[at], self._ranges[at]
        if progress == TODO and not (run.phase == "copy" and self._chunk_may_enter(run, span)):
            return
        if self._config.whole and progress == TODO and state.target != (None,) * self._config.keys:
            emptied = self._target.committed(state, (None,) * self._config.keys)
            yield ("chunk empties",), emptied._replace(run=run._replace(chunks=put(run.chunks, at, EMPTIED)))
            return
        for name, rows in self._reads(state, span, progress):
            yield (
                (f"chunk reads{name}", span, rows),
                self._elsewhere(state, name, run._replace(chunks=put(run.chunks, at, rows))),
            )

    def _chunk_may_enter(self, run: Run, span: Keys) -> bool:
        if self._config.gate == "table":
            return not run.generations
        if self._config.gate == "none":
            return True
        classes = {self._classes[key] for key in span}
        return not any(self._classes[key] in classes for key in busy_keys(run.generations))

    # -- reads and commits of both --------------------------------------------------------------------------------

    def _reads(self, state: State, keys: Keys, progress: Progress) -> Iterator[tuple[str, Progress]]:
        rows = self._source.read(state, keys, progress if isinstance(progress, Scan) else TODO)
        if rows is not None:
            yield "", rows
        if self._config.other_server and not self._config.identity and state.faults:
            yield " ELSEWHERE", self._source.read_elsewhere(state, keys)

    @staticmethod
    def _elsewhere(state: State, name: str, run: Run) -> State:
        return state._replace(run=run, faults=state.faults - 1 if name else state.faults)

    def _commits(self, state: State, write: Write, after: Run, again: Run) -> Iterator[Step]:
        """``after`` the commit; ``again`` after a lost connection, whose transaction may have committed."""
        config = self._config
        keys = write.keys or write.span
        written = self._target.written(state, write)
        yield ("commit on the target", keys), written._replace(run=after)
        if not state.faults:
            return
        faults = state.faults - 1
        if config.lost and config.end_lost:
            yield ("CONNECTION LOST, had committed", keys), written._replace(run=again, faults=faults)
            yield ("CONNECTION LOST, had not committed", keys), state._replace(run=again, faults=faults)
        elif config.lost:
            orphans = kept((*state.orphans, write))
            yield ("CONNECTION LOST", keys), state._replace(run=again, faults=faults, orphans=orphans)
        if config.other_server and not config.identity:
            yield ("commit ELSEWHERE", keys), state._replace(run=after, faults=faults)

    # -- flushes --------------------------------------------------------------------------------------------------

    def flushes(self, state: State, run: Run) -> Iterator[Step]:
        yield from self._takes(state, run)
        for at, generation in enumerate(run.generations):
            for number in range(len(generation.batches)):
                yield from self._batch(state, run, at, number)

    def _takes(self, state: State, run: Run) -> Iterator[Step]:
        at_most = 1 if self._config.generations else 2
        early = run.phase in ("look", "new", "compare", "record", "unrecorded", "empty")
        if early or len(run.generations) >= at_most:
            return
        free = self._flushable(run)
        for count in range(1, len(free) + 1):
            for taken in combinations(free, count):
                rest = tuple(one for one in run.pending if one not in taken)
                for split in _splits(tuple(key for key, _ in taken)):
                    batches = tuple(Batch(keys, TODO) for keys in split)
                    generation = Generation(run.pos, taken, batches)
                    after = run._replace(pending=rest, generations=(*run.generations, generation))
                    yield ("take", *split), state._replace(run=after)

    def _flushable(self, run: Run) -> Pending:
        busy = busy_keys(run.generations)
        free = tuple(one for one in run.pending if one[0] not in busy)
        opened = open_chunks(run)
        if self._config.gate == "table" and opened:
            return ()
        if self._config.whole and self._config.whole_after_first and TODO in run.chunks:
            return ()
        if self._config.gate == "rows":
            classes = {self._classes[key] for at in opened for key in self._ranges[at]}
            return tuple(one for one in free if self._classes[one[0]] not in classes)
        return free

    def _batch(self, state: State, run: Run, at: int, number: int) -> Iterator[Step]:
        generation = run.generations[at]
        keys, progress = generation.batches[number]
        span = self._ranges[0] if self._config.whole else keys
        if progress == TODO and self._config.whole:
            emptied = self._target.committed(state, (None,) * self._config.keys)
            if self._may_read(state, generation):
                yield ("batch empties",), emptied._replace(run=_moved(run, at, number, EMPTIED))
        elif progress in (TODO, EMPTIED) or isinstance(progress, Scan):
            if self._may_read(state, generation):
                for name, rows in self._reads(state, span, progress):
                    label: Label = (f"batch reads{name}", keys, rows)
                    yield label, self._elsewhere(state, name, _moved(run, at, number, rows))
        elif in_flight(progress):
            after = _moved(run, at, number, COMMITTED)
            yield from self._commits(state, Write(span, (), rows_of(progress)), after, _moved(run, at, number, TODO))

    def _may_read(self, state: State, generation: Generation) -> bool:
        config = self._config
        return config.locking_reads or not config.r1_flush or self._source.visible_below(state, generation.seen)

    # -- verification ---------------------------------------------------------------------------------------------

    def compares(self, state: State, run: Run) -> Iterator[Step]:
        """A key whose rows differ is copied again. A pending one is not compared."""
        if run.phase != "copy" or any(progress not in (COMMITTED, DONE) for progress in run.chunks):
            return
        waiting = busy_keys(run.generations) | {key for key, _ in run.pending}
        for key in run.unproven:
            if key in waiting:
                continue
            row = state.rows[key]
            if (row if row and row.selected else None) == state.target[key]:
                proven = tuple(one for one in run.unproven if one != key)
                yield ("proven", key), state._replace(run=run._replace(unproven=proven))
            else:
                pending = add(run.pending, (key,), run.pos)
                yield ("differs", key), state._replace(run=run._replace(pending=pending))


def _moved(run: Run, at: int, number: int, progress: Progress) -> Run:
    """A generation whose batches have all committed is forgotten."""
    generation = run.generations[at]
    batches = put(generation.batches, number, generation.batches[number]._replace(progress=progress))
    if all(batch.progress == COMMITTED for batch in batches):
        return run._replace(generations=without(run.generations, at))
    return run._replace(generations=put(run.generations, at, generation._replace(batches=batches)))


def _splits(keys: Keys) -> Iterator[tuple[Keys, ...]]:
    """Into one batch, or two."""
    yield (keys,)
    for count in range(1, len(keys)):
        for left in combinations(keys, count):
            if left[0] == keys[0]:
                yield left, tuple(key for key in keys if key not in left)
