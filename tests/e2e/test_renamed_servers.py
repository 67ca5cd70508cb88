"""A MariaDB server that comes back with another host name, as in a container recreated over the same data.

It has no uuid, so it has to prove its identity: then the run continues as after a restart. Otherwise it is refused.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_faults import STREAMING, fill, finish, stopped, write
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

ENDS = ["source", "target"]
NEW = "another-host"
LONG = "mariadb-0.a-headless-service.and-a-namespace.svc.cluster.local-"
"""One character less than a machine may be called: with server_id and port its end is past what is stored."""
KNOWN_AGAIN = "it is the server that was"


def renamed(server: Server, name: str = NEW) -> None:
    """Restart it with another host name."""
    assert server.instance is not None
    server.stop()
    server.instance.through = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name)
    server.start()
    assert server.value("SELECT @@hostname") == name


@pytest.fixture(autouse=True)
def _as_before(mariadb_pair: Pair) -> Iterator[None]:
    yield
    for server in (mariadb_pair.source, mariadb_pair.target):
        if server.instance is not None and server.instance.through:
            server.instance.through = ()
            server.restart()


@pytest.fixture
def cli(tmp_path: Path, mariadb_pair: Pair, schema: str) -> FerryCli:
    fill(mariadb_pair.source, schema, 500)
    return FerryCli(tmp_path / "ferry", mariadb_pair, schema, cutover={"watchFor": "1s"})


def lose_binlogs(server: Server) -> None:
    """The server loses its binlogs, as if only its data had been restored from a backup."""
    assert server.instance is not None
    for path in (server.instance.folder / "data").glob("binlog.*"):
        path.unlink()


def server_of(cli: FerryCli, end: str) -> Server:
    return cli.pair.source if end == "source" else cli.pair.target


@pytest.mark.parametrize("end", ENDS)
def test_a_run_continues_with_the_renamed_server(cli: FerryCli, end: str) -> None:
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "before")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t WHERE v = 'before'"))
        renamed(server_of(cli, end))
        write(cli, "after")
        wait_until(lambda: "resuming from the checkpoint: ServerRestarted" in process.log.read_text())
        assert KNOWN_AGAIN in process.log.read_text()
        finish(cli, process)
        assert process.starts == 1


@pytest.mark.parametrize("end", ENDS)
def test_a_new_start_resumes_with_the_renamed_server(cli: FerryCli, end: str) -> None:
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "before")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t WHERE v = 'before'"))
        process.terminate()
        renamed(server_of(cli, end))
        write(cli, "down")
        process.start().wait_stage("ReadyForCutover")
        assert (KNOWN_AGAIN in process.log.read_text()) is (end == "source")
        process.terminate()
        process.start().wait_stage(*STREAMING)
        finish(cli, process)
    assert process.log.read_text().count(KNOWN_AGAIN) == (end == "source"), "the new name is kept"


@pytest.mark.parametrize("alive", [True, False], ids=["running", "killed"])
def test_a_source_renamed_under_the_lock(mariadb_pair: Pair, schema: str, tmp_path: Path, alive: bool) -> None:
    with FerryUnderLoad(mariadb_pair, schema, tmp_path, odd=1, cutover={"deadline": "30s"}) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        mariadb_pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1 WHERE id = 2")
        position = mariadb_pair.source.value("SELECT @@gtid_binlog_pos")
        wait_until(lambda: under_load.state()["position"] == position)
        with under_load.held_in_drain():
            if not alive:
                under_load.ferry.kill()
            renamed(mariadb_pair.source)
        if not alive:
            under_load.ferry.start()
        under_load.finish(approve=not alive)
        assert KNOWN_AGAIN in under_load.ferry.log.read_text()


def test_a_renamed_server_with_another_binlog_is_another_server(cli: FerryCli) -> None:
    """Nothing can prove it: the run ends, a new start is refused, and both say how to continue."""
    source = cli.pair.source
    with cli.process("--retry-for", "5s") as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "before")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t WHERE v = 'before'"))
        with process.frozen():  # for it the server is away for a moment, however long it takes to start
            source.stop()
            lose_binlogs(source)
            renamed(source)
        stopped(process).refused(65, "SourceReplaced", NEW, "give it back its former host name and port")
    cli.run().refused(64, "OtherSource", NEW, "give it back its former host name and port", "start over")


def test_one_whose_long_name_differs_at_the_end_is_another_server(cli: FerryCli) -> None:
    """It has another binlog, and would be refused by that; here it is refused before anything is asked of it."""
    source = cli.pair.source
    renamed(source, f"{LONG}1")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "before")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t WHERE v = 'before'"))
        process.terminate()
    source.stop()
    lose_binlogs(source)
    renamed(source, f"{LONG}2")
    cli.run().refused(64, "OtherSource", f"{LONG}2"[:20], "give it back its former host name and port")


def test_a_lock_that_was_left_under_a_long_name_is_not_taken_from_another_server(
    mariadb_pair: Pair, schema: str, tmp_path: Path
) -> None:
    """Its read_only may be anybody's."""
    source = mariadb_pair.source
    renamed(source, f"{LONG}1")
    with FerryUnderLoad(mariadb_pair, schema, tmp_path, odd=1) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.ferry.kill()
        source.stop()
        lose_binlogs(source)
        renamed(source, f"{LONG}2")
        source.execute("SET GLOBAL read_only = ON")
        for verb in ("abort", "cleanup"):
            done = under_load.ferry.command(verb)
            assert (done.code, under_load.locked) == (64, True)
            assert "SourceLocked: a cutover attempt of this Ferry was running on source server" in done.stderr


def test_a_long_name_that_an_earlier_version_has_cut_off(cli: FerryCli) -> None:
    """The run goes on, and the name is stored as it is told apart from now on."""
    pair = cli.pair
    renamed(pair.source, f"{LONG}1")
    whole = pair.source.value("SELECT CONCAT_WS(':', @@server_id, @@port, @@hostname)")
    assert len(whole) > 64
    stored = "SELECT source_id FROM mysql_ferry.lease WHERE ferry_uid = %s"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.terminate()
        ((now,),) = pair.target.query(stored, (cli.uid,))
        assert now != whole[:64]
        with contextlib.closing(sqlite3.connect(cli.state)) as database, database:
            body = json.dumps(cli.stored() | {"source_id": whole[:64]})
            database.execute("UPDATE ferry_state SET body = ?", [body])
        pair.target.query("UPDATE mysql_ferry.lease SET source_id = %s WHERE ferry_uid = %s", (whole[:64], cli.uid))
        process.start().wait_stage(*STREAMING)
        assert pair.target.query(stored, (cli.uid,)) == [(now,)]
        finish(cli, process)
        assert cli.stored()["source_id"] == now
