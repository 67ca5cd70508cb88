"""The source was reset, so that its binlog does not tell what the run has missed: it must not hand over."""

from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.commands import Bench
from tests.support.servers import Pair

RESET = {Family.MYSQL: "RESET BINARY LOGS AND GTIDS", Family.MARIADB: "RESET MASTER"}


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> Bench:
    pair.source.execute(
        RESET[pair.family],  # so that its binlog is in the first file, as it will be after the next reset
        f"USE `{schema}`",
        *("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"),
    )
    return Bench(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})


def test_reset_under_a_stream(bench: Bench) -> None:
    """The dump goes on, and sends heartbeats that say that there is nothing new."""
    source = bench.pair.source
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(RESET[bench.pair.family], f"INSERT INTO `{bench.schema}`.t VALUES (3)")
        process.post("cutover")
        status = process.wait_status(lambda status: bool(status["cutover"]["lastResult"]))
        assert status["cutover"]["lastResult"] == "SourceHistoryLost", status
        assert "start over with a fresh copy" in process.tail()
    assert source.value("SELECT @@global.read_only") == 0
    assert bench.lease()[0][1] != "Completed"


@pytest.mark.parametrize("pair", ["mariadb"], indirect=True)
def test_reset_between_stop_and_resume(bench: Bench) -> None:
    """MariaDB would accept the old position, and stay silent for as long as nobody writes. MySQL refuses it itself."""
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    bench.pair.source.execute(RESET[bench.pair.family])
    bench.run().refused(65, "SourceHistoryLost", "source 127.0.0.1", "its gtid_binlog_state is ''")
