"""Runs many CREATE TABLEs of a trial on a few connections: a server spends most of each one waiting for its disk.

The caller's thread does its share on its own session. The others only help: if one cannot connect, or loses its
connection, the rest do the work. Used by ``trial``.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ferry_core.errors import DataError, FerryError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.building import Build, as_written

HELPERS = 3


@dataclass
class Built:
    """``refused``: the server's error by the statement's index. ``untried``: those for which no time was left."""

    refused: dict[int, DataError] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)


class Builds:
    """``run`` once."""

    def __init__(self, statements: Sequence[str], deadline: float) -> None:
        """``deadline`` (time.monotonic): no statement begins after it."""
        self._deadline = deadline
        self._waiting = deque(enumerate(statements))
        self._built = Built()
        self._over = False
        self._helping: list[Session] = []
        self._lost: FerryError | None = None

    def run(self, build: Build, endpoint: Endpoint, settings: Mapping[str, str]) -> Built:
        """``build`` is the caller's; ``endpoint`` and ``settings`` are for the helpers."""
        helpers = [
            threading.Thread(target=self._help, args=(endpoint, settings), name="trial", daemon=True)
            for _ in range(min(HELPERS, len(self._waiting) // 4))
        ]
        for helper in helpers:
            helper.start()
        try:
            self._work(build)
            for helper in helpers:
                helper.join()
        except BaseException:
            self._over = True
            for session in self._helping:
                session.abort()
            raise
        if self._lost is not None:
            raise self._lost
        return self._built

    def _help(self, endpoint: Endpoint, settings: Mapping[str, str]) -> None:
        with (
            suppress(FerryError),
            Session(endpoint, Purpose.CONTROL, opening=self._helping.append) as session,
            as_written(session, settings) as build,
        ):
            try:
                self._work(build)
            except FerryError as error:
                self._lost = error  # its statement may have had its effect, so nobody repeats it
                raise

    def _work(self, build: Build) -> None:
        while not self._over:
            try:
                at, statement = self._waiting.popleft()
            except IndexError:
                return
            if time.monotonic() > self._deadline:
                self._built.untried.append(at)
                continue
            try:
                build(statement)
            except DataError as refused:
                self._built.refused[at] = refused
