"""What reads bytes of a server, each as one function of bytes. It gives rows, or an error with a reason.

``test_targets.py`` calls them with bytes by chance in each test run, ``__main__.py`` with bytes that atheris finds by
the branches that they take.
"""

import contextlib
import io
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pymysql import err

from ferry_core.api.spec import Copy
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.frames import Frames
from ferry_core.binlog.sink import KeyDecoder, StreamMark
from ferry_core.binlog.source_errors import SourceRefusal
from ferry_core.binlog.transactions import Transactions
from ferry_core.errors import FerryError, ServerRole
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.faults import classify
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import parse_position
from ferry_core.mysql.upload import UploadConnection
from ferry_core.schema.cascades import Reference
from tests.support.binlog_events import COMMIT, Replay, description, event, gtid, insert, query, table_map
from tests.support.rogue import EOF, OK, column, greeting, text
from tests.support.tables import simple_table

_ENDPOINT = Endpoint(ServerRole.SOURCE, "192.0.2.1", 3306, "ferry", "secret")
_EVENT_HEAD = 3  # kind and length in the bytes of a target


class _Sink:
    """Takes whatever comes."""

    def begin(self, _before: StreamMark, _seen: StreamMark, _xid: str | None) -> None: ...

    def changed(self, _move: TableMove, keys: Sequence[bytes], decode: KeyDecoder) -> None:
        for key in keys:
            assert all(isinstance(part, str) for part in decode(key))

    def referenced(self, _move: TableMove, _references: Collection[Reference]) -> None: ...

    def end(self, _processed: StreamMark, _committed_at: float | None) -> None: ...

    def decided(self, _xid: str, _committed: bool, _before: StreamMark, _processed: StreamMark) -> None: ...

    def alive(self, _processed: StreamMark, _source_time: float | None) -> None: ...


def frames(data: bytes) -> None:
    """Packets of a dump."""
    found = Frames(io.BytesIO(data).read)
    with contextlib.suppress(SourceRefusal, FerryError):
        while True:
            assert len(found.next_event()) >= 20


def events(data: bytes) -> None:
    """Events that are intact packets: the first byte is the family, then follow kind, length and body of each."""
    packets, rest = [description(checksum=False)], data[1:]
    while len(rest) >= _EVENT_HEAD:
        size = int.from_bytes(rest[1:_EVENT_HEAD], "little")
        packets.append(event(rest[0], rest[_EVENT_HEAD : _EVENT_HEAD + size], checksum=False))
        rest = rest[_EVENT_HEAD + size :]
    flavor = Flavor.MARIADB if data[:1] == b"\1" else Flavor.MYSQL
    counters = Counters(StreamMark(0, parse_position(flavor, "")))
    moves = MoveSet.of([simple_table()], Copy())
    stream = Transactions(moves, _Sink(), counters, checksums=False, folds=False, altered=lambda _: "")
    with contextlib.suppress(FerryError):
        stream.follow(Replay(packets))


class _Wire:
    """A socket of which everything is there already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)

    def sendall(self, _data: bytes) -> None: ...

    def settimeout(self, _seconds: float | None) -> None: ...

    def shutdown(self, _how: int) -> None: ...

    def close(self) -> None: ...


def _connected(data: bytes) -> UploadConnection:
    connection = UploadConnection(
        *(), host=_ENDPOINT.host, user="ferry", password=b"secret", charset="utf8mb4", use_unicode=False, conv={},
        autocommit=None, local_infile=True, connect_timeout=1, ssl_disabled=True, defer_connect=True,
    )  # fmt: skip
    wire: Any = _Wire(data)
    connection.connect(wire)
    return connection


def _named(body: Callable[[], object]) -> None:
    """As a session does."""
    with contextlib.suppress(FerryError):
        try:
            body()
        except (err.MySQLError, OSError) as error:
            raise classify(error, _ENDPOINT) from error


def login(data: bytes) -> None:
    """Everything from the greeting to SET NAMES."""
    _named(lambda: _connected(data))


def answer(data: bytes) -> None:
    """To a statement whose rows are collected, or fetched one by one if the first byte is odd."""
    connection = _connected(packets(greeting(), first=0) + packets(OK, first=2) + packets(OK, first=1) + data[1:])
    if data[:1] and data[0] % 2:
        _named(lambda: list(connection.stream(b"SELECT 1")))
    else:
        _named(lambda: connection.query(b"SELECT 1"))


def packets(*bodies: bytes, first: int = 1) -> bytes:
    return b"".join(
        len(body).to_bytes(3, "little") + bytes([number & 0xFF]) + body for number, body in enumerate(bodies, first)
    )


def _parts(*whole: bytes, family: bytes = b"\0") -> bytes:
    """Events as ``events`` reads them."""
    bodies = ((one[5:6], one[20:]) for one in whole)
    return family + b"".join(kind + len(body).to_bytes(2, "little") + body for kind, body in bodies)


_TRANSACTION = (gtid(1), query("BEGIN"), table_map(), insert(5), COMMIT)
_ROWS = packets(b"\x02", column(), column(), EOF, text(b"a") + text(b"b"), EOF)

TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "events": events,
    "login": login,
    "answer": answer,
}
SEEDS: dict[str, list[bytes]] = {
    "frames": [packets(*_TRANSACTION), packets(b"\xff\xd4\4#HY000gone"), packets(b"\xfe\0\0\0\0")],
    "events": [_parts(*_TRANSACTION), _parts(query("ALTER TABLE t ADD c INT"), family=b"\1")],
    "login": [
        packets(greeting(), first=0) + packets(OK, first=2) + packets(OK, first=1),
        packets(greeting(method=b"caching_sha2_password"), first=0) + packets(b"\xfesha256_password\0nonce", first=2),
    ],
    "answer": [b"\0" + _ROWS, b"\1" + _ROWS, b"\0" + packets(b"\xfb/etc/passwd"), b"\0" + packets(b"\xff\x15\4no")],
}
"""Of each target, bytes of an honest server."""
