"""Decides whether a MariaDB server that answers under another host name or port is the server known before.

MariaDB has no uuid. It is identified by server_id, port and host name, and the latter two change when its container is
recreated over the same data. So it must prove its identity: a source by the last transaction that was read, which it
must have at the same place of the same binlog file, byte for byte (no replica has, nor a restored backup); a target by
its lease row, which must contain the newest epoch. With the proof, the server was restarted, and the run resumes from
its checkpoint. Without the proof it is another server. Used by ``startup``, ``setup`` and ``left_locked``.
"""

import logging
from collections.abc import Callable

from ferry_core.binlog.history import has_transaction
from ferry_core.binlog.last_read import LastRead
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence, read_lease
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.identity import perhaps_renamed
from ferry_core.mysql.session import Purpose, Session
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0


def source_proof(last_read: Callable[[], LastRead | None]) -> Callable[[Endpoint], bool]:
    """``last_read`` is called whenever a proof is needed."""

    def proof(endpoint: Endpoint) -> bool:
        last = last_read()
        return last is not None and has_transaction(endpoint, last)

    return proof


def target_proof(uid: str, fence: Fence) -> Callable[[Endpoint], bool]:
    """Valid while ``fence`` belongs to the run."""

    def proof(endpoint: Endpoint) -> bool:
        with Session(endpoint, Purpose.CONTROL, read_timeout=ANSWER_SECONDS) as session:
            lease = read_lease(session, uid)
        return lease is not None and lease.epoch == fence.epoch

    return proof


def source_was(stored: str, now: str, connections: Connections, state: RunState | None) -> bool:
    """Whether the source, stored as ``now`` today, is the server that was stored as ``stored``."""
    if stored == now or connections.source_was(stored):
        return True
    if state is None or state.last_read is None or not perhaps_renamed(stored, now):
        return False
    endpoint = connections.source_endpoint()
    same = source_proof(lambda: LastRead.parse(state.last_read or ""))(endpoint)
    if same:
        log.warning("source %s is %s now: it is the server that was %s", endpoint.address, now, stored)
    return same
