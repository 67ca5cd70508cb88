"""Makes what the threads of one start of a run share: the moves, their changed keys, their chunks, the stream.

Called by ``startup``, once the fence is taken and the stream's start is known.
"""

from typing import TYPE_CHECKING, NamedTuple

from ferry_core.binlog.handshake import server_id_of
from ferry_core.binlog.streamer import BinlogStreamer, Upstream
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility
from ferry_core.moves.move_set import MoveSet
from ferry_core.run.checkpoints import stored_mark
from ferry_core.run.definitions import AlteredTables
from ferry_core.run.logged_statements import LoggedStatements
from ferry_core.run.setup import RunContext
from ferry_core.verify.verifier import Verifier
from ferry_core.workers.chunk_source import ChunkSource
from ferry_core.workers.engine import Shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferry_core.binlog.last_read import LastRead


class Begun(NamedTuple):
    """What the threads begin with."""

    context: RunContext
    fence: Fence
    visibility: Visibility
    state: RunState
    altered: AlteredTables
    moves: MoveSet


def shared_of(begun: Begun, verifier: Verifier | None, last_read: "Callable[[], LastRead | None]") -> Shared:
    """``last_read``: how far this process has read already, beyond the checkpoint."""
    context, moves, altered = begun.context, begun.moves, begun.altered
    connections = context.connections
    start = stored_mark(begun.state, context.flavor, last_read())
    if verifier is not None:
        altered.recomputed = verifier.unproven.rebuilt
    buffer = ChangeBuffer(start, verifier.changed if verifier else None)
    altered.hold = buffer.hold
    upstream = Upstream(
        connections.source_control, connections.source_endpoint, context.flavor, server_id_of(context.uid)
    )
    logged = LoggedStatements(connections.source_control)
    logged.hold = buffer.hold
    moves.allow_letting_go(context.ferry.spec.schema_.copies_again)
    streamer = BinlogStreamer(upstream, moves, buffer, start, altered.compare, logged, moves.let_go)
    return Shared(moves, buffer, ChunkSource(moves), streamer)
