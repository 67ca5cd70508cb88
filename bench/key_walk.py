"""Measures how many row changes a second one core can walk: a stream captured from a real server, replayed from memory.

``python bench/key_walk.py [mysql|mariadb] [rows]`` starts a temporary server, inserts, updates and deletes rows of a
12-column table, captures the dump's packets, and feeds them to the loop that a run uses, including checksums, with a
sink that only counts. ``bench/run.py`` calls ``slowest``. The minimum is 120,000 a second.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.api.spec import Copy
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.handshake import close, open_dump
from ferry_core.binlog.sink import KeyDecoder, StreamMark
from ferry_core.binlog.source_errors import StreamLost
from ferry_core.binlog.transactions import Transactions
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.cascades import Reference
from ferry_core.tables.table import Column, Key, Table, TableName
from hack.servers import Family
from tests.support.servers import Server, ServerPool
from tests.support.tables import describe

WANTED = 120_000
_DDL = """CREATE TABLE bench.orders (
  id BIGINT NOT NULL PRIMARY KEY, tenant BIGINT NOT NULL, state VARCHAR(32) NOT NULL, email VARCHAR(128),
  total DECIMAL(12,2), ratio DOUBLE, note TEXT, payload VARBINARY(64), created DATETIME(6) NOT NULL,
  changed TIMESTAMP NULL, amount INT, flag TINYINT) CHARACTER SET utf8mb4"""
_FILL = """INSERT INTO bench.orders SELECT a.n * 1000 + b.n, a.n, 'shipped', CONCAT('user', b.n, '@example.org'),
  b.n * 1.25, b.n / 7, IF(b.n % 5, REPEAT('n', b.n % 60), NULL), UNHEX(SHA2(b.n, 256)),
  '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05', b.n, IF(b.n % 9, 1, NULL)
FROM bench.numbers a JOIN bench.numbers b WHERE a.n < {thousands}"""


@dataclass
class Capture:
    """Packets of a dump, and what is needed to replay them."""

    packets: list[bytes]
    table: Table
    start: Position
    seconds: float  # wall-clock time that the source took to send them


class CountingSink:
    """Counts changes and stores nothing."""

    def __init__(self) -> None:
        self.rows = 0

    def begin(self, before: StreamMark, seen: StreamMark, xid: str | None) -> None: ...

    def changed(self, followed: object, keys: Sequence[bytes], decode: KeyDecoder) -> None:  # noqa: ARG002
        self.rows += len(keys)

    def referenced(self, followed: object, references: Sequence[Reference]) -> None: ...

    def end(self, processed: StreamMark, committed_at: float | None) -> None: ...

    def decided(self, xid: str, committed: bool, before: StreamMark, processed: StreamMark) -> None: ...

    def alive(self, processed: StreamMark, source_time: float | None) -> None: ...


class _Replay:
    def __init__(self, packets: list[bytes]) -> None:
        self._next = iter(packets).__next__

    def next_event(self) -> bytes:
        try:
            return self._next()
        except StopIteration:
            raise StreamLost("ended", "the capture is over") from None


def capture(server: Server, rows: int) -> Capture:
    """Equal numbers of inserts, updates and deletes, about ``rows`` in all."""
    digits = " UNION ALL ".join(f"SELECT {n} n" for n in range(10))
    server.execute(
        "DROP DATABASE IF EXISTS bench",
        "CREATE DATABASE bench",
        "CREATE TABLE bench.numbers (n INT PRIMARY KEY)",
        f"INSERT INTO bench.numbers SELECT a.n * 100 + b.n * 10 + c.n FROM ({digits}) a, ({digits}) b, ({digits}) c",
        _DDL,
    )
    table = describe(server, "bench", "orders")
    with Session(server.endpoint(), Purpose.CONTROL) as session:
        start = source_position(session)
        server.execute(
            _FILL.format(thousands=max(1, rows // 3000)),
            "UPDATE bench.orders SET amount = amount + 1, changed = NULL",
            "DELETE FROM bench.orders",
            "CREATE TABLE bench.finished (id INT)",
        )
    began = time.monotonic()
    packets = _packets(server, start)
    return Capture(packets, table, start, time.monotonic() - began)


def _packets(server: Server, start: Position) -> list[bytes]:
    dump = open_dump(server.endpoint(), server.flavor, 4_000_123, start, lambda _: None)
    packets: list[bytes] = []
    try:
        while not packets or b"CREATE TABLE bench.finished" not in packets[-1]:
            packets.append(dump.frames.next_event())
    finally:
        close(dump.connection)
    return packets


def replay(captured: Capture, tables: Sequence[Table]) -> tuple[int, float, int]:
    """Returns row changes, CPU seconds and bytes."""
    sink, counters = CountingSink(), Counters(StreamMark(0, captured.start))
    transactions = Transactions(MoveSet.of(tables, Copy()), sink, counters, checksums=True, folds=False)
    began = time.process_time()
    with contextlib.suppress(StreamLost):
        transactions.follow(_Replay(captured.packets))
    return sink.rows, time.process_time() - began, counters.bytes


def measure(server: Server, rows: int = 600_000) -> float:
    """Row changes a second, the median of three runs; prints the details."""
    captured = capture(server, rows)
    print(f"{server.family}: the source sent {sum(map(len, captured.packets)) / captured.seconds / 1e6:.0f} MB/s")
    speeds = []
    for _ in range(3):
        changes, seconds, size = replay(captured, [captured.table])
        speeds.append(changes / seconds)
        print(
            f"{server.family}: {changes} row changes, {size / 1e6:.0f} MB in {seconds:.2f} s: {changes / seconds:.0f}/s"
        )
    key = Column("id", 0, "bigint", "bigint", None, None, False, False, False, 8)
    other = TableName("bench", "other")
    untracked = Table(other, other, (key,), Key("PRIMARY", (key,)), None, False, 0, 0)
    _, seconds, size = replay(captured, [untracked])
    print(f"{server.family}: the same for a table that is not ours: {size / seconds / 1e6:.0f} MB/s")
    return statistics.median(speeds)


def slowest(families: Sequence[Family], rows: int = 600_000) -> float:
    """Row changes a second of the slower family, each measured on its own server."""
    pool = ServerPool()
    try:
        return min(measure(pool.start(family, {"innodb_buffer_pool_size": "512M"}), rows) for family in families)
    finally:
        pool.close()


def main() -> None:
    families = [Family(sys.argv[1])] if len(sys.argv) > 1 else list(Family)
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 600_000
    found = slowest(families, rows)
    if found < WANTED:
        raise SystemExit(f"the key walk does {found:.0f} row changes a second, {WANTED} are wanted")


if __name__ == "__main__":
    main()
