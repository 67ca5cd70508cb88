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

pytestmark = [pytest.mark.slow, pytest.mark.always]

ENDS = ["source", "target"]


class MovedAddress:
    """A run whose ``end`` is reached through a proxy that can lead to the pair's other server."""

    def __init__(self, cli: FerryCli, end: str, proxy: Proxy) -> None:
        self.cli, self.proxy = cli, proxy
        servers = {"source": cli.pair.source, "target": cli.pair.target}
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
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema)
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "1s"}, throttle=SLOWLY)


@pytest.fixture(params=ENDS)
def moved(request: pytest.FixtureRequest, cli: FerryCli) -> Iterator[MovedAddress]:
    end = request.param
    server = cli.pair.source if end == "source" else cli.pair.target
    with Proxy(server.host, server.port) as proxy:
        cli.spec[end] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        yield MovedAddress(cli, end, proxy)
        assert_not_used(proxy)


@pytest.mark.parametrize("stream_too", [True, False])
def test_an_address_that_leads_elsewhere_for_seconds(moved: MovedAddress, stream_too: bool) -> None:
    if moved.right is moved.cli.pair.target and not stream_too:
        pytest.skip("a target has no stream")
    cli = moved.cli
    with cli.process() as process:
        wait_copied(process.start(), 1000)
        for mark in ("copying", "streaming"):
            cli.tell(process, f"{mark}: moved")
            moved.move(stream_too=stream_too)
            write(cli, mark)
            moved.wait_tried(4)
            moved.back()
            process.post("throttle", {"maxRowsPerSecond": None})
            process.wait_stage(*STREAMING)
        finish(cli, process)


def test_an_address_that_leads_elsewhere_for_good(moved: MovedAddress) -> None:
    cli = moved.cli
    reason = "SourceReplaced" if moved.right is cli.pair.source else "TargetReplaced"
    with cli.process("--retry-for", "2s") as process:
        wait_copied(process.start(), 1000)
        moved.move()
        stopped(process).refused(65, reason, "is another server now", "Point the Ferry at the server itself")
