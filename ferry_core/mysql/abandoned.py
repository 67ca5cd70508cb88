"""Statements whose answer does not come in time. Used by code that reads rows.

The server does not notice that nobody waits any more: the statement goes on, for hours perhaps, and keeps the read view
that it began with, so that nothing newer is purged. Repeated unchanged, it only adds another one.
"""

import logging

from ferry_core.errors import ConnectionLost, FerryError
from ferry_core.mysql.processes import kill
from ferry_core.mysql.session import Purpose, Session

log = logging.getLogger(__name__)

KILL_SECONDS = 5.0


def is_late(error: BaseException) -> bool:
    """Whether this end gave up waiting for an answer. A connection that broke has an error number of its own."""
    cause = error.__cause__ if isinstance(error, ConnectionLost) else None
    waited = cause.__context__ if cause is not None else None
    return isinstance(waited, TimeoutError) and waited.errno is None


def end_abandoned(session: Session) -> None:
    """End what ``session``, whose answer was late, still does. Its account may: the connection is its own."""
    try:
        with Session(
            session.endpoint, Purpose.CONTROL, connect_timeout=KILL_SECONDS, read_timeout=KILL_SECONDS
        ) as other:
            kill(other, session.connection_id)
    except FerryError as error:
        log.warning("a statement whose answer was late may still run: %s", error)
