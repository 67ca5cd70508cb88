"""Has tables start over (``schema.onChange: Recopy``) or join (``schema.onNewTable: Copy``) while the run goes on.

The streamer has let go of a table that was changed (``moves.move_set``); all other tables are copied, flushed and
verified meanwhile. In the coordinator's thread:

    end and forget what is under way of the tables, durably        ``workers.starting``
    validate: their definitions as they are now, preflight         as a start of a run does
    claim those that join, drop and create on the target           as a start of a run does
    begin each one at its own position of the stream               ``workers.starting``

Where this is not enough the run begins again from its checkpoint, in which these tables have no record of a start
(``copy_again``): it does for tables with cascading foreign keys, for those of which the target may have the only copy
of rows, while an index is being added to one, and if a server fails meanwhile. Called by ``operations``.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from ferry_core.api.choices import CreateTables
from ferry_core.consistency.table_start import empty_tables
from ferry_core.errors import DataError, KeyUnusable, RetriableError, ServerRestarted
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.preflight import CheckResult, PreflightContext
from ferry_core.preflight.again import refuse_merge_tables, refuse_new_trouble
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.claim import claim_again, writes_begin
from ferry_core.run.copy_again import until_back
from ferry_core.run.creating import create_on_target
from ferry_core.run.definitions import SINCE_THE_START, refuse_changed
from ferry_core.run.own_objects import KeptObjects
from ferry_core.run.parts import Parts
from ferry_core.run.setup import RunContext, refuse_lost, validate_again
from ferry_core.run.started import Checkpointing
from ferry_core.schema.create import Creation
from ferry_core.tables.table import Table
from ferry_core.text import counted, shortlist
from ferry_core.workers.starting import MoveStarter, StartSteps

log = logging.getLogger(__name__)

NAP_SECONDS = 0.05
NAMED = 5


class _NotAloneError(Exception):
    """The tables cannot start while the run goes on; the text says why."""


def _unfinished(move: TableMove) -> bool:
    """Whether it has to start again, perhaps because another statement ended its start after that was recorded."""
    return move.let_go or not move.started or move.state in (MoveState.WAITING, MoveState.RESTARTING)


class InPlace:
    """Of one call of ``start``, in the coordinator's thread."""

    def __init__(
        self,
        parts: Parts,
        checkpoints: Checkpointing,
        reporter: StatusReporter,
        tick: Callable[[], None],
        under_way: Callable[[TableMove], bool],
        note: Callable[[TableMove], None],
    ) -> None:
        """``tick`` raises what ends the run. ``under_way``: whether an index is being added to a move's table.
        ``note`` remembers how a move's table was built, before its rows are read.
        """
        self._parts = parts
        self._engine = parts.engine
        self._moves = parts.engine.moves
        self._checkpoints = checkpoints
        self._reporter = reporter
        self._tick = tick
        self._under_way = under_way
        self._note = note
        steps = StartSteps(checkpoints.save, tick, self._empty, self._compare, self._unproven, reporter.message)
        self._starter = MoveStarter(parts.engine, steps)

    def start(self, error: DataError) -> bool:
        """Start what the error names, and what an earlier call has left. False: the run has to begin again.

        Raises DataError if one of them has changed once more.
        """
        try:
            self._start(error.changed)
        except _NotAloneError as why:
            log.info("the run begins again: %s", why)
            return False
        except RetriableError as trouble:
            if isinstance(trouble, ServerRestarted | KeyUnusable):
                raise
            log.warning("a table could not start while the run goes on, so the run begins again: %s", trouble)
            return False
        return True

    def _start(self, changed: Collection[str]) -> None:
        self._moves.take_news()
        stopped = [move for move in self._moves if move.id in changed or _unfinished(move)]
        context = self._validated(stopped)
        begin = self._replaced(context, {move.id: move for move in stopped})
        self._checkpoints.save()
        if {str(move.table.target) for move in begin}.difference(self._parts.fence.read().tables):
            claim_again(context, self._parts.fence)
        self._wait_while_paused()
        self._create(context, {move.id: move for move in begin})
        for move in begin:
            self._note(move)
            self._starter.begin(move)

    # -- before ---------------------------------------------------------------------------------------------------

    def _validated(self, stopped: list[TableMove]) -> RunContext:
        """Stop these moves, and more if their tables turn out to have changed too."""
        more: Sequence[TableMove] = list(stopped)
        while True:
            self._refuse_involved(more)
            self._starter.stop(more)
            context = until_back(self._validate, self._reporter.message, self._wait)
            again = context.copied_again
            more = [move for move in self._moves if move.id in again and move not in stopped]
            if not more:
                break
            stopped += more
        if gone := {move.id for move in stopped} - {table.id for table in context.tables}:
            raise _NotAloneError(f"{shortlist(sorted(gone), NAMED)} are not moved any more")
        if self._moves.involved([table for table in context.tables if table.id in again]):
            raise _NotAloneError("a foreign key with a cascade is new")
        return context

    def _refuse_involved(self, moves: Sequence[TableMove]) -> None:
        names = shortlist([move.id for move in moves], NAMED)
        if self._moves.involved([move.table for move in moves]):
            raise _NotAloneError(f"rows of other tables change with those of {names} by a foreign key")
        if any(move.unproven.rebuilt or move.unproven.restarted for move in moves):
            raise _NotAloneError(f"the target may have the only copy of rows in {names}")
        if any(self._under_way(move) for move in moves):
            raise _NotAloneError(f"an index is being added to {names}")

    def _validate(self) -> RunContext:
        state = self._checkpoints.state.model_copy(deep=True)
        with self._reporter.long_step():
            return validate_again(self._parts.context, state, self._say)

    def _say(self, results: list[CheckResult]) -> None:
        """The warnings are known since the start."""
        if any(result.status == "failed" for result in results):
            self._reporter.checked(results)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()
            self._engine.ending.wait(NAP_SECONDS)

    def _replaced(self, context: RunContext, stopped: dict[str, TableMove]) -> list[TableMove]:
        """The moves that begin, in the run's set; none of them is followed yet."""
        tables = [table for table in context.tables if table.id in context.copied_again]
        joining = [table for table in tables if table.id not in stopped]
        if joining:
            state = self._checkpoints.state
            state.joins(table.id for table in joining)
            self._reporter.joined(state.joined)
        begin = [self._moves.replace(stopped[table.id], table) for table in tables if table.id in stopped]
        begin += [self._moves.join(table) for table in joining]
        self._parts.context.tables[:] = [move.table for move in self._moves]
        return begin

    # -- the target -----------------------------------------------------------------------------------------------

    def _create(self, context: RunContext, begin: dict[str, TableMove]) -> None:
        spec, connections = context.ferry.spec, context.connections
        with (
            self._reporter.long_step(),
            connections.source_control() as source,
            connections.target() as target,
        ):
            if spec.schema_.create is CreateTables.IF_MISSING:
                creation = Creation(partial(self._planned, context, begin))
                kept = KeptObjects(self._checkpoints.state.objects, self._checkpoints.save)
                create_on_target(context, self._parts.fence, source, target, creation, kept)
            checked = PreflightContext(spec, context.uid, source, target, context.tables, context.started)
            refuse_new_trouble(checked)

    def _planned(
        self,
        context: RunContext,
        begin: dict[str, TableMove],
        tables: Iterable[Table],
        deferred: Iterable[Table],
    ) -> None:
        """Recorded before they are created: after a kill only these may be created again."""
        created = [table.id for table in tables]
        refuse_lost(context, [table for table in context.tables if table.id in created and table.id in context.started])
        for table in deferred:
            begin[table.id].deferred = True
        state = self._checkpoints.state
        state.created = sorted({*state.created, *created})
        self._checkpoints.save()

    # -- steps of a start -----------------------------------------------------------------------------------------

    def _empty(self, move: TableMove) -> None:
        """Before its events count, and are flushed. The lease row is locked only for a table that joins: every write of
        the others waits for it.
        """
        fence, target = self._parts.fence, move.table.target
        if str(target) in fence.read().unwritten:
            writes_begin(fence, [target])
            return
        with self._parts.context.connections.target() as session:
            if deleted := empty_tables(fence, session, [move], self._wait_while_paused):
                log.info("%s: deleted %s on the target before its copy", move.id, counted(deleted, "row"))

    def _wait_while_paused(self) -> None:
        self._tick()
        while self._parts.throttle.pause.paused:
            self._wait(NAP_SECONDS)

    def _compare(self, table: Table) -> None:
        context, connections = self._parts.context, self._parts.context.connections
        spec = context.ferry.spec
        with connections.source_control() as source, connections.target() as target:
            refuse_changed(source, spec.tables, [table], SINCE_THE_START)
            # The stream sees a MERGE table being made only over a table that it follows.
            refuse_merge_tables(PreflightContext(spec, context.uid, source, target, [table], context.started))

    def _unproven(self, move: TableMove) -> None:
        if self._parts.verifier is not None:
            self._parts.verifier.forget(move)
