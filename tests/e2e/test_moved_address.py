"""An address that leads to another server, for seconds or for good: nothing is read, proven or written there.

The other server of the pair serves as the wrong one: it has tables of the same names with rows of its own. If a
source's address led to the target, stale rows would be copied, and proven by comparing them with themselves.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.test_faults import SLOWLY, STREAMING, fill, finish, stopped, wait_copied, write
from tests.support.ferry_cli import FerryCli
from tests.support.proxy import Proxy, assert_not_used
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

ENDS = ["source", "target"]


class Moved:
    """A run whose ``end`` is reached through a proxy that can lead to the pair's other server."""

    def __init__(self, bench: FerryCli, end: str, proxy: Proxy) -> None:
        self.bench, self.proxy = bench, proxy
        servers = {"source": bench.pair.source, "target": bench.pair.target}
        self.right = servers.pop(end)
        (self.wrong,) = servers.values()

    def move(self, *, stream_too: bool = True) -> None:
        """Lead to the wrong server from now on. Without ``stream_too`` the binlog's connection is not moved."""
        self.proxy.lead_to(self.wrong.host, self.wrong.port)
        if stream_too:
            self.proxy.cut()
        else:
            end_all_but_dumps(self.right)

    def back(self) -> None:
        self.proxy.lead_to(self.right.host, self.right.port)

    def wait_tried(self, times: int) -> None:
        """Wait until that many more connections were made."""
        before = self.proxy.counts.connections
        wait_until(lambda: self.proxy.counts.connections >= before + times)


def end_all_but_dumps(server: Server) -> None:
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root' "
            "AND command NOT LIKE 'Binlog%'"
        )
        for (ident,) in list(cursor.fetchall()):
            cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE id = %s", [ident])
            if (cursor.fetchone() or (0,))[0]:
                cursor.execute(f"KILL {ident}")


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema)
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "1s"}, throttle=SLOWLY)


@pytest.fixture(params=ENDS)
def moved(request: pytest.FixtureRequest, bench: FerryCli) -> Iterator[Moved]:
    end = request.param
    server = bench.pair.source if end == "source" else bench.pair.target
    with Proxy(server.host, server.port) as proxy:
        bench.spec[end] |= {"port": proxy.port, "tls": {"mode": "Disabled"}}
        yield Moved(bench, end, proxy)
        assert_not_used(proxy)


@pytest.mark.parametrize("stream_too", [True, False])
def test_for_seconds(moved: Moved, stream_too: bool) -> None:
    if moved.right is moved.bench.pair.target and not stream_too:
        pytest.skip("a target has no stream")
    bench = moved.bench
    with bench.process() as process:
        wait_copied(process.start(), 1000)
        for mark in ("copying", "streaming"):
            bench.tell(process, f"{mark}: moved")
            moved.move(stream_too=stream_too)
            write(bench, mark)
            moved.wait_tried(4)
            moved.back()
            process.post("throttle", {"maxRowsPerSecond": None})
            process.wait_stage(*STREAMING)
        finish(bench, process)


def test_for_good(moved: Moved) -> None:
    bench = moved.bench
    reason = "SourceReplaced" if moved.right is bench.pair.source else "TargetReplaced"
    with bench.process("--retry-for", "2s") as process:
        wait_copied(process.start(), 1000)
        moved.move()
        stopped(process).refused(65, reason, "is another server now", "Point the Ferry at the server itself")
