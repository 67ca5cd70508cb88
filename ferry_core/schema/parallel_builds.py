"""Runs many CREATE TABLEs on a few connections: a server spends most of each one waiting for its disk.

The caller's thread does its share on its own session. The others only help: if one cannot connect, or loses its
connection, the rest do the work. Used by ``create`` and by preflight's trial.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from ferry_core.errors import DataError, FerryError, LockConflict
from ferry_core.mysql.session import Session
from ferry_core.schema.building import Build

HELPERS = 3
DEADLOCK = 1213
TRIES = 10
"""Statements over related tables may deadlock; the server rolls one of them back."""

Opening = Callable[[Session], None]
Helper = Callable[[Opening], AbstractContextManager[Build]]
"""Opens one more session for a while. Calls its argument with it, so that it can be aborted."""


@dataclass
class Built:
    """``refused``: the server's error by the statement's index. ``untried``: those for which no time was left."""

    refused: dict[int, DataError] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)


class Builds:
    """``run`` once."""

    def __init__(
        self,
        statements: Sequence[str],
        deadline: float = math.inf,
        done: Callable[[int], object] = lambda _: None,
    ) -> None:
        """``deadline`` (time.monotonic): no statement begins after it. ``done`` receives the index of each statement
        that succeeded, in any thread.
        """
        self._deadline = deadline
        self._done = done
        self._waiting = deque(enumerate(statements))
        self._built = Built()
        self._over = False
        self._helping: list[Session] = []
        self._lost: FerryError | None = None

    def run(self, build: Build, helper: Helper | None) -> Built:
        """``build`` is the caller's; each helping thread opens a ``helper``. None: nobody helps."""
        helpers = [
            threading.Thread(target=self._help, args=(helper,), name="build", daemon=True)
            for _ in range(min(HELPERS, len(self._waiting) // 4) if helper else 0)
        ]
        for thread in helpers:
            thread.start()
        try:
            self._work(build)
            for thread in helpers:
                thread.join()
        except BaseException:
            self._over = True
            for session in self._helping:
                session.abort()
            raise
        if self._lost is not None:
            raise self._lost
        return self._built

    def _help(self, helper: Helper) -> None:
        with suppress(FerryError), helper(self._helping.append) as build:
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
                _tried(build, statement)
            except DataError as refused:
                self._built.refused[at] = refused
            else:
                self._done(at)


def _tried(build: Build, statement: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            return build(statement)
        except LockConflict as error:
            if error.code != DEADLOCK or not left:
                raise
    return None
