"""What is checked under the cutover's lock, on sessions that are opened before it. Used by ``operations``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry_core.mysql.session import Session
from ferry_core.run.new_tables import NewTables
from ferry_core.run.objects import TargetObjects
from ferry_core.run.parts import Parts
from ferry_core.schema.counters import raise_counters
from ferry_core.schema.sequences import raise_sequences


class LastChecks:
    """Of one attempt; all methods are called in its thread."""

    def __init__(self, parts: Parts, objects: TargetObjects, news: NewTables) -> None:
        self._parts = parts
        self._news = news
        self._objects = objects
        self._sessions: tuple[Session, Session]

    @contextmanager
    def connected(self, source: Session) -> Iterator[None]:
        """Open the sessions of ``prove``, besides the attempt's on the source."""
        with self._parts.context.connections.target() as target:
            self._sessions = source, target
            if self._parts.verifier is not None:
                self._parts.verifier.connect()
            yield

    def prove(self, deadline: float, check: Callable[[], None]) -> str | None:
        """Describe what differs.

        If nothing does, let the target's AUTO_INCREMENT and sequences continue where the source's stopped.
        """
        verifier, context = self._parts.verifier, self._parts.context
        differing = verifier.prove(deadline, check) if verifier is not None else None
        check()
        if differing is None:
            source, target = self._sessions
            raise_counters(source, target, context.tables, self._parts.fence, check)
            raise_sequences(source, target, context.ferry.spec.tables, context.tables, self._parts.fence)
            self._objects.refuse_changed(source)
        return differing

    def refuse_news(self) -> None:
        """Raise NewTable for what DDL made until writes were stopped. The stream has read all of it."""
        self._news.refuse_under_lock(self._sessions[0])
