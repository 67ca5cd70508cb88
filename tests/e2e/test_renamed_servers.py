"""A MariaDB server that comes back with another host name, as in a container recreated over the same data.

It has no uuid, so it has to prove its identity: then the run continues as after a restart. Otherwise it is refused.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_faults import STREAMING, fill, finish, stopped, write
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ENDS = ["source", "target"]
NEW = "another-host"
KNOWN_AGAIN = "it is the server that was"


def renamed(server: Server) -> None:
    """Restart it with another host name."""
    assert server.instance is not None
    server.stop()
    server.instance.through = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', NEW)
    server.start()
    assert server.value("SELECT @@hostname") == NEW


@pytest.fixture(autouse=True)
def _as_before(mariadb_pair: Pair) -> Iterator[None]:
    yield
    for server in (mariadb_pair.source, mariadb_pair.target):
        if server.instance is not None and server.instance.through:
            server.instance.through = ()
            server.restart()


@pytest.fixture
def bench(tmp_path: Path, mariadb_pair: Pair, schema: str) -> FerryCli:
    fill(mariadb_pair.source, schema, 500)
    return FerryCli(tmp_path / "ferry", mariadb_pair, schema, cutover={"watchFor": "1s"})


def lose_binlogs(server: Server) -> None:
    """The server loses its binlogs, as if only its data had been restored from a backup."""
    assert server.instance is not None
    for path in (server.instance.folder / "data").glob("binlog.*"):
        path.unlink()


def server_of(bench: FerryCli, end: str) -> Server:
    return bench.pair.source if end == "source" else bench.pair.target


@pytest.mark.parametrize("end", ENDS)
def test_a_run_goes_on(bench: FerryCli, end: str) -> None:
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(bench, "before")
        wait_until(lambda: bench.pair.target.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t WHERE v = 'before'"))
        renamed(server_of(bench, end))
        write(bench, "after")
        wait_until(lambda: "going on from the checkpoint: ServerRestarted" in process.log.read_text())
        assert KNOWN_AGAIN in process.log.read_text()
        finish(bench, process)
        assert process.starts == 1


@pytest.mark.parametrize("end", ENDS)
def test_a_new_start_goes_on(bench: FerryCli, end: str) -> None:
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(bench, "before")
        wait_until(lambda: bench.pair.target.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t WHERE v = 'before'"))
        process.terminate()
        renamed(server_of(bench, end))
        write(bench, "down")
        process.start().wait_stage("ReadyForCutover")
        assert (KNOWN_AGAIN in process.log.read_text()) is (end == "source")
        process.terminate()
        process.start().wait_stage(*STREAMING)
        finish(bench, process)
    assert process.log.read_text().count(KNOWN_AGAIN) == (end == "source"), "the new name is kept"


@pytest.mark.parametrize("alive", [True, False], ids=["running", "killed"])
def test_under_the_lock(mariadb_pair: Pair, schema: str, tmp_path: Path, alive: bool) -> None:
    with FerryUnderLoad(mariadb_pair, schema, tmp_path, odd=1, cutover={"deadline": "20s"}) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        mariadb_pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1 WHERE id = 2")
        position = mariadb_pair.source.value("SELECT @@gtid_binlog_pos")
        wait_until(lambda: live.state()["position"] == position)
        with live.held_in_drain():
            if not alive:
                live.ferry.kill()
            renamed(mariadb_pair.source)
        if not alive:
            live.ferry.start()
        live.finish(approve=not alive)
        assert KNOWN_AGAIN in live.ferry.log.read_text()


def test_one_with_another_binlog_is_another_server(bench: FerryCli) -> None:
    """Nothing can prove it: the run ends, a new start is refused, and both say how to continue."""
    source = bench.pair.source
    with bench.process("--retry-for", "5s") as process:
        process.start().wait_stage("ReadyForCutover")
        write(bench, "before")
        wait_until(lambda: bench.pair.target.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t WHERE v = 'before'"))
        source.stop()
        lose_binlogs(source)
        renamed(source)
        stopped(process).refused(65, "SourceReplaced", NEW, "give it back its former host name and port")
    bench.run().refused(64, "OtherSource", NEW, "give it back its former host name and port", "start over")
