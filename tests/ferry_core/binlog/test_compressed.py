"""Transactions and events that the source has compressed, on real servers and by hand."""

import pytest
import zstandard

from ferry_core.binlog import compressed, events
from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from tests.conftest import ServerFactory
from tests.support.servers import Pair, Server
from tests.support.stream import Streaming, ids, make
from tests.support.tables import describe

MANY = 3000
NUMBERS = (
    "WITH RECURSIVE n AS (SELECT 10 i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i, REPEAT('x', 100) FROM n"
)


def compresses(server: Server) -> list[str]:
    """A session's setting on MySQL; the server's on MariaDB."""
    if server.flavor is Flavor.MYSQL:
        return ["SET SESSION binlog_transaction_compression = ON", "SET SESSION cte_max_recursion_depth = 100000"]
    return ["SET SESSION max_recursive_iterations = 100000"]


def changes(server: Server, schema: str) -> list[int]:
    """Rows of a selected table and of another, in transactions of every size; returns the ids that a stream must
    see.
    """
    server.execute(
        *compresses(server),
        f"USE `{schema}`",
        "INSERT INTO t VALUES (1, REPEAT('x', 190)), (2, REPEAT('y', 190))",
        "UPDATE t SET v = REPEAT('z', 190) WHERE id = 1",
        "BEGIN",
        "INSERT INTO other VALUES (5, REPEAT('x', 190))",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (3, 'short')",
        "COMMIT",
        "INSERT INTO other VALUES (6, REPEAT('x', 190))",
        f"CREATE TABLE made (id INT PRIMARY KEY COMMENT '{'a long remark ' * 40}')",
        "DROP TABLE made",
        f"INSERT INTO t {NUMBERS.format(MANY)}",
        "INSERT INTO t VALUES (4, '')",
    )
    return [1, 2, 1, 2, 3, *range(10, MANY + 1), 4]


def streamed(server: Server, schema: str, kinds: set[str]) -> None:
    make(server, schema)
    make(server, schema, "other")
    with Streaming(server, [describe(server, schema, "t")]) as stream:
        expected = changes(server, schema)
        stream.caught_up(60)
        seen = {name for name, count in stream.streamer.status().events.items() if count}
    assert ids(stream) == expected
    assert kinds <= seen
    # A compressed statement is handled like any other.
    with Streaming(server, [describe(server, schema, "t")]) as stream:
        server.execute(f"ALTER TABLE `{schema}`.t ADD w INT COMMENT '{'a long remark ' * 40}'")
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "SchemaChanged"


def test_a_session_that_compresses_its_transactions(mysql_pair: Pair, schema: str) -> None:
    """MariaDB has no such session setting."""
    streamed(mysql_pair.source, schema, {"transaction_payload"})


def test_a_server_that_compresses_its_events(make_server: ServerFactory) -> None:
    """MySQL compresses transactions only."""
    server = make_server("mariadb", log_bin_compress="ON", log_bin_compress_min_len=20)
    server.execute("CREATE DATABASE s CHARACTER SET utf8mb4")
    streamed(server, "s", {"query_compressed", "rows_compressed"})


def payload(body: bytes, kind: int = 0) -> bytes:
    """A TRANSACTION_PAYLOAD, as a packet."""
    number = bytes([kind]) if kind < 251 else b"\xfc" + kind.to_bytes(2, "little")
    fields = b"\2" + bytes([len(number)]) + number + b"\1\3\xfc" + len(body).to_bytes(2, "little") + b"\0"
    return b"\0" + bytes(4) + bytes([events.TRANSACTION_PAYLOAD]) + bytes(14) + fields + body


def inner(text: bytes) -> bytes:
    return bytes(9) + (19 + len(text)).to_bytes(4, "little") + bytes(6) + text


def test_events_of_a_payload_by_hand() -> None:
    one, two = inner(b"one"), inner(b"x" * 500_000)
    packed = payload(zstandard.compress(one + two))
    assert list(compressed.transaction(packed, len(packed))) == [b"\0" + one, b"\0" + two]
    bare = payload(one, 255)
    assert list(compressed.transaction(bare, len(bare))) == [b"\0" + one]


@pytest.mark.parametrize(
    "packed",
    [
        payload(b"no zstd"),
        payload(zstandard.compress(inner(b"one")[:-1])),
        payload(zstandard.compress(bytes(40))),
        payload(zstandard.compress(inner(b"one")), 7),
        payload(zstandard.compress(inner(b"one")))[:-3],
        payload(b"")[:22],
    ],
)
def test_a_payload_that_is_broken_is_never_skipped(packed: bytes) -> None:
    with pytest.raises(DataError) as caught:
        list(compressed.transaction(packed, len(packed)))
    assert caught.value.reason == "BinlogUnreadable"
