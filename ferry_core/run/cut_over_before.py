"""A start of a run that was cut over already: finishes what is left, and says when it was. Called by ``startup``."""

import time
from collections.abc import Callable

from ferry_core.checkpoint.state import RunState
from ferry_core.cutover.durable import keep_found
from ferry_core.cutover.source_lock import LOCK_KIND
from ferry_core.cutover.table_lock import LOCK_TABLES
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.late_objects import finish_left, unknown_without_state
from ferry_core.run.setup import RunContext

UNWATCHED = "; that run ended before the end of cutover.watchFor, so nobody has looked for later writes on the source"
UNLOCKED = (
    ", and its tables were unlocked when that run ended; before applications write to the target, `ferry verify` shows "
    "whether the source has taken any"
)


def finished(context: RunContext, reporter: StatusReporter, stopping: Callable[[], bool]) -> RunState:
    """Finish its objects. Raises ConfigError if the state is gone."""
    state = context.state
    if state is None:
        raise ConfigError(
            Reason.ALREADY_CUT_OVER,
            f"{context.name} was cut over to {context.ferry.spec.target.address} already, and its state is gone"
            f"{unknown_without_state(context.ferry.spec)}; to move again, give the new Ferry another name",
        )
    if context.lease is not None:
        keep_found(context.connections.hurried_lease, context.uid, context.lease.epoch)
    finish_left(context, state, reporter.tick, stopping, reporter.objects_missing)
    return state


def message(context: RunContext, state: RunState) -> str:
    """When it was cut over, and how long writes were blocked."""
    when = "" if state.completed_at is None else f" at {time.strftime('%F %T UTC', time.gmtime(state.completed_at))}"
    blocked = state.write_block_milliseconds
    took = "" if blocked is None else f", writes were blocked for {blocked} ms"
    unwatched = "" if state.watched is not False else UNWATCHED
    if unwatched and context.lease is not None and context.lease.cutover.get(LOCK_KIND) == LOCK_TABLES:
        unwatched += UNLOCKED
    return f"{context.name} was cut over already{when}{took}: nothing to do{unwatched}"
