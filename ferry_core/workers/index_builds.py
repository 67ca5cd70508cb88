"""Adds deferred indexes: one ALTER a table once its rows are in, a few tables at a time.

While the server builds plain indexes, changed rows of the table are written as usual. What it does not build that way
(FULLTEXT and SPATIAL indexes, or more changes meanwhile than it keeps) is built while changes of that table wait in the
buffer. What is missing is found by comparing definitions, so a build that a killed run has left to the server, or that
was interrupted, is simply tried again. Started by ``run.operations``, in threads of the engine.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ferry_core.errors import ConfigError, ConnectionLost, DataError, FerryError, Interrupted, LockConflict
from ferry_core.moves.move import TableMove
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.processes import kill, processes
from ferry_core.mysql.session import Session
from ferry_core.retries import Retries
from ferry_core.schema.building import Build, as_written
from ferry_core.schema.create import definition, known_definition, of_family
from ferry_core.schema.deferred import addition, in_order, names_missing
from ferry_core.text import counted, shortlist
from ferry_core.workers.engine import Engine
from ferry_core.workers.patience import RETRY_SECONDS

log = logging.getLogger(__name__)

LOCK_SECONDS = 20
"""How long an ALTER waits for transactions that use the table. Others wait behind it, and wait longer than that."""
AGAIN_SECONDS = 1.0
LOOK_SECONDS = 2.0
SHOWN = 3
_THERE_ALREADY = 1061

_PROGRESS = {
    Flavor.MARIADB: "SELECT ROUND(100 * (STAGE - 1 + PROGRESS / 100) / MAX_STAGE) FROM information_schema.PROCESSLIST"
    " WHERE ID = {} AND MAX_STAGE > 0",
    Flavor.MYSQL: "SELECT ROUND(100 * WORK_COMPLETED / WORK_ESTIMATED) FROM performance_schema.events_stages_current"
    " JOIN performance_schema.threads USING (THREAD_ID) WHERE PROCESSLIST_ID = {} AND WORK_ESTIMATED > 0",
}


@dataclass
class _UnderWay:
    """One table's ALTER. ``session`` is the one that runs it."""

    move: TableMove
    since: float
    session: Session | None = None
    percent: int | None = None
    waits: bool = False
    unseen: int = 0

    def __str__(self) -> str:
        if self.waits:
            return f"{self.move.id} (others keep the table in use on the target)"
        percent = "" if self.percent is None else f"{min(99, self.percent)} %, "
        return f"{self.move.id} ({percent}{time.monotonic() - self.since:.0f} s)"


class IndexBuilds:
    """``advance`` and ``progress`` are called by the coordinator."""

    def __init__(
        self, engine: Engine, connect: Callable[[], Session], wanted: Callable[[], int], paused: Callable[[], bool]
    ) -> None:
        """``connect`` opens a session on the target whose statements may take days. ``wanted``: how many at once."""
        self._engine = engine
        self._connect = connect
        self._fence = engine.flow.writer.fence
        self._wanted = wanted
        self._paused = paused
        self._lock = threading.Lock()
        self._under_way: dict[TableMove, _UnderWay] = {}
        self._begun = 0
        self._watching = False
        self._retrying = Retries(RETRY_SECONDS, engine.ending)

    def advance(self) -> bool:
        """Begin with tables whose rows are in. Returns whether no table lacks an index."""
        left = [move for move in self._engine.moves if move.deferred]
        if not left:
            return True
        with self._lock:
            ready = [move for move in left if move.copied and not move.let_go and move not in self._under_way]
            begin = [] if self._paused() else ready[: max(0, self._wanted() - len(self._under_way))]
            self._under_way |= {move: _UnderWay(move, time.monotonic()) for move in begin}
            unwatched, self._watching = not self._watching and bool(begin), self._watching or bool(begin)
        for move in begin:
            self._begun += 1
            self._engine.start(f"index-{self._begun}", partial(self._build, self._under_way[move]))
        if unwatched:
            self._engine.start("index-watch", self._watch)
        return False

    def is_building(self, move: TableMove) -> bool:
        with self._lock:
            return move in self._under_way

    @property
    def progress(self) -> str:
        """For people."""
        with self._lock:
            shown = [str(one) for one in self._under_way.values()]
        waiting = sum(move.deferred for move in self._engine.moves) - len(shown)
        more = f"; {counted(waiting, 'table')} to follow" if waiting > 0 else ""
        return f"adding indexes: {shortlist(shown, SHOWN)}{more}"

    def end(self) -> None:
        """Kill the running ALTERs when the run ends: without their client they would go on."""
        self._engine.ending.cancel()
        with self._lock:
            running = [session for one in self._under_way.values() if (session := one.session) is not None]
        if not running:
            return
        try:
            with self._engine.flow.writer.hurried_control() as target:
                for session in running:
                    kill(target, session.connection_id, query_only=True)
        except FerryError as error:
            log.debug("could not kill the statements that add indexes: %s", error)

    # -- one table: a thread of its own ---------------------------------------------------------------------------

    def _build(self, one: _UnderWay) -> None:
        move, ending = one.move, self._engine.ending
        while not self._retrying(partial(self._added, one)):
            ending.wait(AGAIN_SECONDS)
            ending.check()
        log.info("%s: indexes were added in %.1f s", move.id, time.monotonic() - one.since)
        move.deferred = False
        with self._lock:
            del self._under_way[move]

    def _added(self, one: _UnderWay) -> bool:
        """Whether all indexes are there now. Otherwise try again."""
        table = one.move.table
        self._fence.read()
        with self._enrolled() as target:
            with self._engine.flow.reader.control() as source:
                # As it was when the columns were read: the stream reports what changes later.
                known = known_definition(source, table).on_engine(table.target_engine)
                wanted = of_family(known, table, source.version, target.version)
            if statement := addition(table.target, wanted, definition(target, table.target)):
                log.info("%s: %s", one.move.id, statement)
                one.session, one.percent, one.unseen, one.waits = target, None, 0, False
                try:
                    self._alter(one, target, statement)
                except (LockConflict, Interrupted) as error:
                    log.info("%s: an index could not be added, it is tried again: %s", one.move.id, error)
                    one.waits = isinstance(error, LockConflict)
                finally:
                    one.session = None
            there = definition(target, table.target)
        if missing := names_missing(wanted, there):
            log.debug("%s still lacks %s", table.target, missing)
            return False
        if not in_order(wanted, there):
            log.warning("the server prints the indexes of %s in another order than the source", table.target)
        return True

    @contextmanager
    def _enrolled(self) -> Iterator[Session]:
        """A session that a successor finds and kills. An index changes no row, so its statement need not keep the
        successor waiting.
        """
        session = self._connect()
        try:
            slot = self._fence.enrol(session)
        except BaseException:
            session.close()
            raise
        try:
            session.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            yield session
        except ConnectionLost:
            session.close()
            self._fence.prove_ended(session.connection_id, slot)  # otherwise it goes on without its client
            raise
        finally:
            session.close()
            self._fence.leave(slot)

    def _alter(self, one: _UnderWay, target: Session, statement: str) -> None:
        with as_written(target) as build:
            try:
                target.execute(f"{statement}, ALGORITHM=INPLACE, LOCK=NONE")
            except DataError as refused:
                if refused.code == _THERE_ALREADY:
                    return
                log.info("%s: its changes wait while the indexes are added: %s", one.move.id, refused.problem)
                self._alter_alone(one.move, build, statement)

    def _alter_alone(self, move: TableMove, build: Build, statement: str) -> None:
        """While no generation of the table is written."""
        failure: FerryError | None = None
        move.held = True
        try:
            with move.gate.flush(self._engine.ending.is_set) as entered:
                if entered:
                    try:
                        build(statement)
                    except FerryError as error:
                        failure = error  # no row was changed: the gate may be left
        finally:
            move.held = False
        if not entered:
            self._engine.ending.check()
        if failure is not None:
            raise failure

    # -- a look at all of them ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Notice connections that were lost without a word, and how far the builds are."""
        while not self._engine.ending.wait(LOOK_SECONDS):
            with self._lock:
                if not any(move.deferred for move in self._engine.moves):
                    self._watching = False  # a table that starts over later may need one again
                    return
            try:
                with self._engine.flow.writer.hurried_control() as session:
                    self._look(session)
            except FerryError as error:
                log.debug("the target was not asked for its index builds: %s", error)

    def _look(self, session: Session) -> None:
        with self._lock:
            running = [(one, one.session) for one in self._under_way.values()]
        known = {process.ident for process in processes(session)}
        for one, building in running:
            if building is None:
                continue
            one.unseen = 0 if building.connection_id in known else one.unseen + 1
            if one.unseen > 1 and one.session is building:
                building.abort()
            one.percent = _percent(session, building.connection_id)


def _percent(session: Session, connection_id: int) -> int | None:
    """None: the server does not tell, or not this account."""
    try:
        rows = session.query(_PROGRESS[session.flavor].format(connection_id))
    except (ConfigError, DataError):
        return None
    return int(rows[0][0] or 0) if rows else None
