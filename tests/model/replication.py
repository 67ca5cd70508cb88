"""The model of how rows get to the target: docs/correctness.md as steps of a source, a copier and a target.

What may be found: a *quiet* state (nothing is on its way, all is copied and flushed) in which the target does not hold
exactly the selected rows. Every quiet state is checked, not only the last one. A run that has ended with a reason hands
nothing over, so it is no loss.

Not in it: several tables (keys of XA transactions of tables that are not started yet are in it, as the time between the
stream's start and the table's), cascades, foreign rows, MariaDB's snapshots, big transactions, throttling. The cutover
is a model of its own.
"""

from collections.abc import Iterator

from tests.model.config import Config
from tests.model.copier import Copier
from tests.model.faults import Faults
from tests.model.source import Source
from tests.model.state import (
    COMMITTED,
    DONE,
    NEVER,
    Event,
    Generation,
    Held,
    Hidden,
    Pending,
    Prepared,
    Run,
    State,
    Step,
    Stored,
)
from tests.model.target import Target
from tests.model.windows import Windows

_READ = Event("", (), 0)
"""Stands for each event that nobody will read again."""
_NOT_STORED = Stored(0, ())
"""Stands for each checkpoint that nobody will use."""


class Replication:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._source = Source(config)
        target = Target(config)
        self._copier = Copier(config, self._source, target)
        self._windows = Windows(config, self._source, target)
        self._faults = Faults(config, self._source, target)

    def begins(self) -> Iterator[Step]:
        return self._source.begins()

    def steps(self, state: State) -> Iterator[Step]:
        for label, after in self._steps(state):
            yield label, self._normal(after)

    def _steps(self, state: State) -> Iterator[Step]:
        run = state.run
        yield from self._source.steps(state)
        if state.orphans:
            yield from self._faults.orphans(state)
        if run is None:
            yield from self._copier.begins(state)
            return
        if run.phase == "ended":
            if state.faults and self._config.ddl:
                yield ("A PERSON STARTS IT AGAIN",), state._replace(run=None, faults=state.faults - 1)
            return
        yield from self._copier.streams(state, run)
        if self._config.xa_dropped and run.held:
            yield from self._copier.drops_xa(state, run)
        if run.phase != "copy":
            yield from self._copier.starts(state, run)
        yield from self._windows.chunks(state, run)
        if run.pending or run.generations:
            yield from self._windows.flushes(state, run)
        if run.unproven:
            yield from self._windows.compares(state, run)
        yield from self._faults.recopies(state, run)
        if state.faults:
            yield from self._faults.checkpoints(state, run)
            yield from self._faults.happen(state, run)

    # -- the property ---------------------------------------------------------------------------------------------

    def may_end(self, state: State) -> bool:
        """Whether it is no fault that nothing can happen any more."""
        return self._quiet(state) or (state.run is not None and state.run.phase == "ended")

    def wrong(self, state: State) -> str:
        """What is lost, empty if nothing."""
        if not self._quiet(state):
            return ""
        selected = tuple(row if row and row.selected else None for row in state.rows)
        return "" if selected == state.target else f"source {_shown(selected)}, target {_shown(state.target)}"

    @staticmethod
    def _quiet(state: State) -> bool:
        run = state.run
        if run is None or state.hidden or state.prepared or state.orphans:
            return False
        if run.phase != "copy" or run.pos < len(state.log) or run.pending or run.generations or run.unproven:
            return False
        return all(progress in (COMMITTED, DONE) for progress in run.chunks)

    # -- equal states ---------------------------------------------------------------------------------------------

    def _normal(self, state: State) -> State:
        """Merge states that can no longer be told apart."""
        if self._config.absolute:
            return state
        if state.stored.position:
            state = _rebased(state, state.stored.position)
        run = state.run
        if run is None:
            return state
        seen = [hidden.pos for hidden in state.hidden] + [one.pos for one in state.prepared if not one.listed]
        low = min(seen, default=NEVER)
        if run.generations and any(low >= one.seen > 0 for one in run.generations):
            waits = tuple(one._replace(seen=0) if low >= one.seen else one for one in run.generations)
            run = run._replace(generations=waits)
        if run.start and low >= run.start:
            run = run._replace(start=0)
        if state.faults == 0:
            return _never_reread(state, run)
        return state if run is state.run else state._replace(run=run)


def _never_reread(state: State, run: Run) -> State:
    """No checkpoint is used any more: only what is still to be streamed, or waited for, counts."""
    needed = [run.start] if run.start else []
    needed += [one.seen for one in run.generations if one.seen]
    by = min([run.pos, *needed])
    held = tuple(Held(one.xid, NEVER, one.keys) for one in run.held) if run.held else ()
    run = Run(
        run.phase,
        run.pos - by,
        max(run.start - by, 0),
        tuple(max(end - by, 0) for end in run.waits) if run.phase == "end" else run.waits,
        held,
        _dated(run.pending),
        tuple(Generation(max(seen - by, 0), _dated(taken), batches) for seen, taken, batches in run.generations),
        run.chunks,
        run.unproven,
    )
    return State(
        state.txs,
        state.rows,
        tuple(Hidden(max(pos - by, -1), writes, xid) for pos, writes, xid in state.hidden),
        tuple(Prepared(max(pos - by, -1), writes, xid, listed) for pos, writes, xid, listed in state.prepared),
        (_READ,) * run.pos + state.log[run.pos + by :],
        state.target,
        _NOT_STORED,
        0,
        state.orphans,
        run,
        replica=state.replica,
    )


def _dated(pending: Pending) -> Pending:
    return tuple((key, 0) for key, _ in pending) if pending else pending


def _rebased(state: State, by: int) -> State:
    """Positions relative to one that is ``by`` later."""
    run = state.run
    if run is not None:
        run = run._replace(
            pos=run.pos - by,
            start=max(run.start - by, 0),
            waits=tuple(max(end - by, 0) for end in run.waits) if run.phase == "end" else run.waits,
            held=tuple(one if one.pos == NEVER else one._replace(pos=max(one.pos - by, 0)) for one in run.held),
            pending=_earlier(run.pending, by),
            generations=tuple(
                one._replace(seen=max(one.seen - by, 0), taken=_earlier(one.taken, by)) for one in run.generations
            ),
        )
    return state._replace(
        hidden=tuple(one._replace(pos=max(one.pos - by, -1)) for one in state.hidden),
        prepared=tuple(one._replace(pos=max(one.pos - by, -1)) for one in state.prepared),
        log=state.log[by:],
        stored=state.stored._replace(position=0, last=(0, 0)),
        run=run,
    )


def _earlier(pending: Pending, by: int) -> Pending:
    return tuple((key, max(pos - by, 0)) for key, pos in pending)


def _shown(rows: tuple[object, ...]) -> str:
    return ", ".join("-" if row is None else "/".join(map(str, row)) for row in rows)  # type: ignore[call-overload]
