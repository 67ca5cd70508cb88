"""Unlocks over a second session when the one that holds the cutover mutex does not answer.

A source that is busy, or a network that swallows one connection, must not make an unlock depend on the target. As long
as the source still has the session of the mutex, no other run has stopped writes for itself since. A second session may
then allow them, if others find it as they find a statement that stops writes: it takes the same named locks *before* it
looks who holds the mutex. A successor of the Ferry ends both sessions before it begins. An attempt of another Ferry
does not begin while the second one holds ``STATEMENT``. Called by ``source_lock``, and by ``webhook_lock``, whose call
names the lock that it ends and so need not be found.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from ferry_core.cutover.background import Background
from ferry_core.cutover.mutex import CutoverMutex, CutoverMutexLost
from ferry_core.errors import RetriableError
from ferry_core.mysql.session import Session

log = logging.getLogger(__name__)

UNANSWERED_SECONDS = 1.0


def unlock(
    mutex: CutoverMutex, work: Callable[[Session], object], enrolled: Callable[[], AbstractContextManager[Session]]
) -> None:
    """Do ``work`` on the session that holds the mutex, or on one beside it, whichever answers first.

    ``enrolled`` opens a session that others find, if ``work`` changes the source. Raises CutoverMutexLost if the source
    has ended the mutex's session.
    """
    working = Background("source-unlock", lambda: mutex.use(work))
    while not working.ended(UNANSWERED_SECONDS):
        try:
            with enrolled() as session:
                mutex.refuse_ended(session)
                work(session)
                return
        except CutoverMutexLost:
            if not working.ended(0):
                mutex.release()  # it waits for an answer that never comes
                raise
        except RetriableError as error:
            log.debug("the source could not be unlocked over a second session: %s", error)
    working.result()
