"""What a run whose source is a replica asks its primary, besides the lock. Used by ``data_operations``."""

import time
from functools import partial

from ferry_core.api.choices import Acknowledgement
from ferry_core.binlog.ending import BinlogEnd
from ferry_core.cutover.primary import Primary
from ferry_core.errors import RetriableError
from ferry_core.mysql.upstream import executed, lacking
from ferry_core.reasons import Reason
from ferry_core.run.setup import RunContext

ANSWER_SECONDS = 15.0
"""How long an answer may take while writes are stopped, or the watch after the cutover ends."""
_ASK_SECONDS = 0.1


def primary_of(context: RunContext) -> Primary | None:
    """For an attempt; None if applications write to the source."""
    if not context.connections.has_primary:
        return None
    may_be_errant = Acknowledgement.ERRANT_TRANSACTIONS in context.ferry.spec.acknowledge
    return Primary(partial(context.connections.written_control, ANSWER_SECONDS), may_be_errant)


def end_of_writes(context: RunContext) -> BinlogEnd:
    """The end of the source's binlog once it contains everything that applications have written until now.

    Raises RetriableError if a source that is a replica does not contain it yet.
    """
    connections = context.connections
    if connections.has_primary:
        with connections.written_control(ANSWER_SECONDS) as primary, connections.source_control() as replica:
            wanted, end = executed(primary), time.monotonic() + ANSWER_SECONDS
            while missing := lacking(replica, wanted):
                if time.monotonic() > end:
                    told = f"{replica.endpoint.where} has not applied {missing} of {primary.endpoint.where}"
                    raise RetriableError(Reason.REPLICA_LAG, told)
                time.sleep(_ASK_SECONDS)
    return connections.source_end()
