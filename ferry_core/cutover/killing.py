"""Ends statements and connections on the source: a lock statement at its deadline, and what a dead copier left behind.

Called by ``source_lock``.
"""

import threading
import time
from collections.abc import Callable
from typing import Self

from ferry_core.cutover.blockers import blockers
from ferry_core.errors import FerryError, LockConflict, RetriableError
from ferry_core.mysql.processes import Process, kill, processes
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

ANSWER_SECONDS = 5.0
"""Timeout of an administrative statement. SET GLOBAL adds the caller's deadline."""

LOOK_SECONDS = 0.2
"""How often a wait for the lock checks whether to give up."""


class Killer:
    """Ends a statement at its deadline, after recording what blocked it. Owns ``control`` while it is entered."""

    def __init__(
        self, control: Session, victim: int, deadline_seconds: float, check_cancelled: Callable[[], object]
    ) -> None:
        self.fired = False
        self.given_up: Exception | None = None
        self.seen: list[str] = []
        self._control = control
        self._victim = victim
        self._check_cancelled = check_cancelled
        self._deadline_seconds = deadline_seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source-lock-killer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def failure(self, error: FerryError, where: str, advice: str = "") -> Exception:
        """What to raise for the ``error`` of the victim's statement. ``advice`` for a timeout."""
        if self.given_up is not None:
            return self.given_up
        if not self.fired and not isinstance(error, LockConflict):
            return error
        in_the_way = "; ".join(self.seen) or "nothing visible (a LOCK TABLES ... WRITE may be invisible here)"
        return LockConflict(
            Reason.SOURCE_LOCK_TIMEOUT,
            f"{where}: writes could not be stopped within {self._deadline_seconds:g} s; blocked by: {in_the_way}"
            f"{advice}",
        )

    def _wait(self, end: float) -> bool:
        """Wait until it is done (True), until ``end``, or until the caller gives up."""
        while (left := end - time.monotonic()) > 0:
            try:
                self._check_cancelled()
            except Exception as error:  # noqa: BLE001 - raised by the owner of the wait, once the victim is dead
                self.given_up = error
                return False
            if self._done.wait(min(left, LOOK_SECONDS)):
                return True
        return False

    def _run(self) -> None:
        if self._wait(time.monotonic() + self._deadline_seconds):
            return
        if self.given_up is None:
            self.fired = True
            try:
                self.seen = blockers(self._control)
            except FerryError as error:
                self.seen = [f"could not be asked: {error}"]
        try:
            # Kill the connection, not the query: a query that ends at this moment must not leave a usable session.
            kill(self._control, self._victim)
        except FerryError:
            # The connection's own timeouts end it; the undo then uses a session of its own.
            return


def end_connections(session: Session, chosen: Callable[[Process], bool]) -> None:
    """Kill the chosen connections and wait until the server has none of them left."""
    end = time.monotonic() + ANSWER_SECONDS
    pause = threading.Event()
    while True:
        found = [process for process in processes(session) if chosen(process)]
        if not found:
            return
        if time.monotonic() > end:
            raise RetriableError(
                Reason.SOURCE_LOCK_FAILED,
                f"{session.endpoint.where}: killed connections {[process.ident for process in found]} do not end",
                server=session.endpoint.role,
            )
        for process in found:
            kill(session, process.ident)
        # The server does not report when a connection has ended: ask again soon.
        pause.wait(0.02)
