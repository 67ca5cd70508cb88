"""A probe asks one server for one number, again and again, in a thread and on a session of its own.

One thread each, so that a server that hangs delays no other answer. A probe never fails a run and never gives up: what
it cannot learn is unknown, and unknown throttles. Used by ``signal``; ``run.probes`` makes them.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ferry_core.errors import FerryError
from ferry_core.mysql.session import Session
from ferry_core.throttle.clock import Clock, SystemClock

log = logging.getLogger(__name__)

STALE_SECONDS = 5.0
"""An answer counts for this long, so that one lost connection does not throttle."""


class UnknownValueError(Exception):
    """The server has answered that it does not know; for example, its replication is stopped."""


@dataclass(frozen=True)
class Reading:
    """What is known now. ``value`` None with an empty ``why``: the first answer is still awaited."""

    value: float | None
    why: str = ""


class Probe:
    """Thread-safe. Asks nothing before the first ``want``."""

    def __init__(
        self,
        label: str,
        connect: Callable[[], Session],
        ask: Callable[[Session, str], float],
        interval: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        """``ask`` receives what was wanted; it raises UnknownValueError or FerryError."""
        self.label = label
        self._connect = connect
        self._ask = ask
        self._interval = interval
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._wanted: str | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._value: float | None = None
        self._why = ""
        self._at = 0.0

    def want(self, wanted: str | None) -> None:
        """What to ask from now on; None: nothing. A new question makes the old answer worthless."""
        with self._changed:
            if wanted == self._wanted:
                return
            self._wanted, self._value, self._why, self._at = wanted, None, "", self._clock.now()
            if wanted is not None and self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"throttle-{self.label}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Ask no more. A question that a server has not answered yet is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def reading(self) -> Reading:
        with self._changed:
            age = self._clock.now() - self._at
            if age > STALE_SECONDS:
                return Reading(None, self._why or f"no answer for {age:.0f} s")
            return Reading(self._value, "" if self._value is not None else self._why)

    def _run(self) -> None:
        session: Session | None = None
        while not self._closed:
            with self._changed:
                wanted = self._wanted
                if wanted is None:
                    _close(session)  # while nothing is asked, the server would end it
                    session = None
                    self._changed.wait_for(lambda: self._wanted is not None or self._closed)
                    continue
            session = self._once(session, wanted)
            self._wait_interval(wanted)
        _close(session)

    def _wait_interval(self, asked: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._wanted != asked, self._interval)

    def _once(self, session: Session | None, wanted: str) -> Session | None:
        """Ask once. Returns the session to use next time."""
        try:
            session = session or self._connect()
            value = self._ask(session, wanted)
        except UnknownValueError as unknown:
            self._learn(wanted, None, str(unknown))
        except FerryError as error:
            log.debug("%s could not be asked: %s", self.label, error)
            self._failed(wanted, error.message)
            _close(session)
            return None
        except Exception as error:
            log.debug("%s could not be asked", self.label, exc_info=True)
            self._failed(wanted, type(error).__name__)
            _close(session)
            return None
        else:
            self._learn(wanted, value, "")
        return session

    def _learn(self, wanted: str, value: float | None, why: str) -> None:
        with self._changed:
            if wanted == self._wanted:
                self._value, self._why, self._at = value, why, self._clock.now()

    def _failed(self, wanted: str, why: str) -> None:
        """The last answer counts until it is too old."""
        with self._changed:
            if wanted == self._wanted:
                self._why = why


def _close(session: Session | None) -> None:
    if session is not None:
        session.close()
