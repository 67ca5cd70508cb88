"""The body of the streamer's thread: one dump after another from the last processed position, until it is stopped.

Made and started by the coordinator. Problems that a retry may solve (a broken connection, a timeout, a restarting
source) are retried for ever with backoff and shown in ``status``. Every other problem leaves ``run`` as an error of the
error tree.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from ferry_core.binlog import events
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.elsewhere import Elsewhere, Judge
from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.followed import FollowedTables, LetsGo, M
from ferry_core.binlog.handshake import Dump, SourceFacts, close, open_dump
from ferry_core.binlog.history import has_transaction, prove_history
from ferry_core.binlog.late_rows import LateRows
from ferry_core.binlog.order import place_to_begin
from ferry_core.binlog.sink import Altered, ChangeSink, StreamMark
from ferry_core.binlog.source_errors import (
    CorruptEvent,
    SourceAhead,
    SourceRefusal,
    StreamLost,
    gtids_out_of_order,
    history_lost,
    judge,
    purged,
)
from ferry_core.binlog.status import StreamStatus
from ferry_core.binlog.transactions import Transactions
from ferry_core.errors import LoginRefused, RetriableError, ServerRestarted
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import MariaDbGtids
from ferry_core.mysql.session import Session

AHEAD_PATIENCE_SECONDS = 60.0
"""How long a source may lack transactions that we have already read: a commit may be stalled in group commit."""
READS_OF_CORRUPT_EVENT = 3
"""An event may be damaged on the way: it is read this often."""
LOGIN_PATIENCE_SECONDS = 300.0
"""How long a source that accepted our login before may refuse it.

A kubelet updates a changed Secret within two minutes.
"""

_NEWS_SECONDS = 3.0
_LONGEST_WAIT = 5.0
# A fault within this time of the last one continues the old backoff. Two copiers with one server id close each other's
# dump at once, and must not do so a thousand times a second.
_SOUND_SECONDS = 10.0


@dataclass(frozen=True)
class Upstream:
    """The server to stream from, and our replica identity."""

    control: Callable[[], Session]
    """Opens a session for queries."""
    login: Callable[[], Endpoint]
    """Returns the login, called at each connect because the password may have changed.

    It also names the server that must answer.
    """
    flavor: Flavor
    server_id: int


class BinlogStreamer(Generic[M]):
    """``run`` belongs to its own thread; any thread may call ``stop`` and ``status``."""

    def __init__(
        self,
        upstream: Upstream,
        tables: FollowedTables[M],
        sink: ChangeSink[M],
        start: StreamMark,
        altered: Callable[[Altered[M], Callable[[BinlogEnd], bool], Callable[[], bool]], str] | None = None,
        logged: Judge | None = None,
        lets_go: LetsGo[M] | None = None,
    ) -> None:
        """``start.last_read`` is the furthest place that any run of this Ferry has read, usually beyond ``start``.

        ``altered`` compares a table after DDL. Its arguments are ``reached`` and a function that tells whether to stop;
        see ``Transactions``. ``logged`` judges statements that were logged in place of rows. ``lets_go`` as there.
        """
        self._upstream = upstream
        self._endpoint = upstream.login()
        self._tables = tables
        self._sink = sink
        self._altered = altered
        self._lets_go = lets_go
        self._elsewhere = Elsewhere(logged, self.reached)
        self._counters = Counters(start)
        self.late = LateRows[M]()
        self._reconnects: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._dump: Dump | None = None
        self._refused_since: float | None = None
        self._clock_ahead = 0.0
        self._corrupt = (0, 0)  # processed sequence, and how often what follows it was corrupt
        self._ahead: tuple[int, float] | None = None  # processed sequence, and since when the source lacks it

    def run(self) -> None:
        """Stream until ``stop``. Raises FerryError for problems that no retry can solve."""
        attempt = 0
        while not self._stopped.is_set():
            dump = self._connected(attempt)
            if dump is None:
                return
            began = time.monotonic()
            try:
                self._follow(dump)
            except StreamLost as lost:
                if self._stopped.is_set():
                    return
                self._lost(lost)
            finally:
                self._dump = None
                close(dump.connection)
            attempt = 0 if time.monotonic() - began > _SOUND_SECONDS else attempt + 1

    def stop(self) -> None:
        """Make ``run`` return soon. It does not wait for the sink, which must unblock by itself."""
        self._stopped.set()
        dump = self._dump
        sock = getattr(dump.connection, "_sock", None) if dump else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # already closed: nobody is waiting on it

    def status(self) -> StreamStatus:
        counters = self._counters
        by_name: Counter[str] = Counter()
        for kind, count in enumerate(counters.events):
            if count:
                by_name[events.NAMES.get(kind, str(kind))] += count
        connected = self._dump is not None
        return StreamStatus(
            processed=counters.processed,
            connected=connected,
            last_event_monotonic=counters.last_event,
            caught_up=connected and counters.caught_up,
            lag_seconds=self._lag(connected=connected),
            bytes=counters.bytes,
            events=by_name,
            transactions=counters.transactions,
            row_changes=counters.row_changes,
            reconnects=dict(self._reconnects),
            file=counters.file,
        )

    @property
    def definitions(self) -> int:
        """How many statements were read that may have made a table."""
        return self._counters.definitions

    @property
    def clock_ahead(self) -> float:
        """Seconds by which the source's clock is ahead of ours."""
        return self._clock_ahead

    def reached(self, end: BinlogEnd) -> bool:
        """Whether everything before ``end`` has been read."""
        counters = self._counters
        position = counters.processed.position
        if end.gtids is not None and not isinstance(position, FilePosition) and not position.contains(end.gtids):
            return False
        # ``caught_up`` is not enough: that heartbeat may be older than ``end``.
        file = counters.file  # first: with an older file's name the offset in a newer one says too little
        return (len(file), file, counters.offset) >= (len(end.file), end.file, end.offset)

    def source_has_last_read(self) -> bool:
        """Whether the source has the last transaction that was read, at its place.

        If so, it has everything before it too.
        """
        last = self._counters.processed.last_read
        return last is not None and has_transaction(self._upstream.login(), last)

    def _lag(self, *, connected: bool) -> float | None:
        counters = self._counters
        fresh = counters.last_event is not None and time.monotonic() - counters.last_event < _NEWS_SECONDS
        if not connected or not (fresh or counters.in_sink):
            return None
        if counters.caught_up:
            return 0.0
        if counters.last_commit is None:
            return None
        return max(0.0, time.time() + self._clock_ahead - counters.last_commit)

    # Connecting

    def _connected(self, attempt: int) -> Dump | None:
        """A running dump; None if asked to stop."""
        if attempt and self._stopped.wait(min(_LONGEST_WAIT, 0.1 * 2**attempt)):
            return None
        retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=wait_exponential_jitter(multiplier=0.2, max=_LONGEST_WAIT, jitter=0.2),
            stop=stop_when_event_set(self._stopped),
            sleep=sleep_using_event(self._stopped),
            before_sleep=self._count_failure,
            retry_error_callback=lambda _: None,
        )
        dump: Dump | None = retrying(self._open)
        return dump

    def _may_pass(self, error: BaseException) -> bool:
        """Whether a retry may help. A changed password gets time to reach both sides; a dropped account does not."""
        now = time.monotonic()
        self._refused_since = (self._refused_since or now) if isinstance(error, LoginRefused) else None
        passing = isinstance(error, RetriableError) and not isinstance(error, ServerRestarted)
        return passing and now - (self._refused_since or now) < LOGIN_PATIENCE_SECONDS

    def _count_failure(self, _: RetryCallState) -> None:
        self._reconnects["connect"] += 1

    def _open(self) -> Dump:
        self._endpoint = self._upstream.login()
        start = place_to_begin(self._counters, self._endpoint) or self._counters.processed.position
        dump = open_dump(self._endpoint, self._upstream.flavor, self._upstream.server_id, start, self._check)
        try:
            self.prove_history()
        except BaseException:
            close(dump.connection)
            raise
        self._refused_since = None
        self._clock_ahead = dump.facts.clock_ahead
        self._dump = dump
        if self._stopped.is_set():
            self.stop()  # ``stop`` came between: there was no socket yet to close
        return dump

    def prove_history(self) -> None:
        """Raise DataError if the source does not have what was read. Any thread may call it.

        At a connect the dump is open and nothing read from it: if the source restarts meanwhile, the dump breaks.
        """
        processed = self._counters.processed
        if processed.last_read is not None:
            flavor, control = self._upstream.flavor, self._upstream.control
            prove_history(self._upstream.login(), flavor, processed.position, processed.last_read, control)

    def _check(self, facts: SourceFacts) -> None:
        """Check that the source still has what we need."""
        position = self._counters.processed.position
        if isinstance(position, FilePosition):
            return  # gtid_purged says nothing about files
        if not position.contains(facts.purged):
            raise purged(self._endpoint, position, self._upstream.control)
        logged = facts.logged
        if (
            isinstance(position, MariaDbGtids)
            and isinstance(logged, MariaDbGtids)
            and not position.domains.keys() <= logged.domains.keys()
        ):
            # The source would accept this position and wait for another server of its own to send that domain.
            raise history_lost(self._endpoint, position, f"its gtid_binlog_state is '{logged}'")

    # Streaming

    def _follow(self, dump: Dump) -> None:
        transactions = Transactions(
            self._tables,
            self._sink,
            self._counters,
            checksums=dump.facts.checksums,
            folds=dump.facts.folds_names,
            altered=self._compared if self._altered is not None else None,
            elsewhere=self._elsewhere,
            late=self.late,
            lets_go=self._lets_go,
        )
        try:
            transactions.follow(dump.frames)
        except SourceRefusal as refusal:
            error = judge(refusal, self._endpoint, self._counters.processed.position, self._upstream.control)
            if isinstance(error, RetriableError) and not isinstance(error, StreamLost):
                error = StreamLost("refused", error.message)
            raise error from refusal

    def _compared(self, change: Altered[M]) -> str:
        assert self._altered is not None
        try:
            return self._altered(change, self.reached, self._stopped.is_set)
        except ServerRestarted:
            raise
        except RetriableError as error:
            # The statement is sent again after the reconnect.
            raise StreamLost(
                "definition", f"{change.followed.table.id} could not be compared: {error.message}"
            ) from error

    def _lost(self, lost: StreamLost) -> None:
        self._counters.caught_up = False
        self._reconnects[lost.cause] += 1
        now, processed = time.monotonic(), self._counters.processed
        if isinstance(lost, CorruptEvent):
            before, reads = self._corrupt
            self._corrupt = processed.sequence, reads + 1 if before == processed.sequence else 1
            if self._corrupt[1] >= READS_OF_CORRUPT_EVENT:
                raise lost.for_good(READS_OF_CORRUPT_EVENT) from lost
        if not isinstance(lost, SourceAhead):
            return
        if processed.last_read is None:
            raise history_lost(self._endpoint, processed.position, lost.message)
        # The binlog contained what we read when this dump was opened, so a commit must be stalled in group commit.
        if self._ahead is None or self._ahead[0] != processed.sequence:
            self._ahead = processed.sequence, now
        mariadb = isinstance(processed.position, MariaDbGtids)
        if mariadb and self._counters.end is not None:
            self._counters.out_of_order = processed.position  # the reconnect is by place, whatever the cause was
        elif now - self._ahead[1] > AHEAD_PATIENCE_SECONDS:
            if mariadb:
                raise gtids_out_of_order(self._endpoint, processed.position)
            raise history_lost(self._endpoint, processed.position, lost.message)
