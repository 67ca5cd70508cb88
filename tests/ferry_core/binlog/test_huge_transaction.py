"""A transaction of two million rows streams in bounded memory."""

from pathlib import Path

import pytest

from tests.support.servers import Pair
from tests.support.stream import RecordingSink, Streaming
from tests.support.tables import describe

ROWS = 2_000_000


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
def test_two_million_rows_in_one_transaction(pair: Pair, schema: str) -> None:
    source = pair.source
    digits = " UNION ALL ".join(f"SELECT {n} n" for n in range(10))
    source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE d AS {digits}",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(100))",
    )
    highest = [0.0]
    sink = RecordingSink(count_only=True)
    calls = [0]

    def look(_: int) -> None:
        calls[0] += 1
        if calls[0] % 100 == 0:
            highest[0] = max(highest[0], resident_megabytes())

    sink.on_changed = look
    tables = "d a, d b, d c, d e, d f, d g"
    numbers = "a.n + 10*b.n + 100*c.n + 1000*e.n + 10000*f.n + 100000*g.n"
    with Streaming(source, [describe(source, schema, "t")], sink=sink) as stream:
        stream.wait(lambda: sink.heartbeats, "heartbeat")
        before = resident_megabytes()
        source.execute(
            f"USE `{schema}`",
            "BEGIN",
            *(f"INSERT INTO t SELECT {half * ROWS // 2} + {numbers}, REPEAT('x', 40) FROM {tables}" for half in (0, 1)),
            "COMMIT",
        )
        stream.caught_up(300)
    assert sink.rows == ROWS
    assert sink.begins == 1
    print(f"{ROWS} rows in {calls[0]} events; resident {before:.0f} MB before, {highest[0]:.0f} MB at most")
    assert highest[0] - before < 32
