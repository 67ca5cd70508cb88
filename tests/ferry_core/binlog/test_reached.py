"""What must wait until the stream has read the source's binlog to its end, on a MariaDB that logs lower GTIDs.

The stream's position contains the numbers that the source logs here before the stream has read them.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import pytest

from ferry_core.api.selection import Tables
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes import dropped_xa
from ferry_core.changes.dropped_xa import DroppedXa
from ferry_core.consistency.visibility import visibility_of
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.run.definitions import AlteredTables
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.stream import Streaming, ids
from tests.support.table_pair import make_table
from tests.support.tables import describe
from tests.support.waits import Background, wait_until

LOWER = "SET SESSION gtid_seq_no = 1"


@pytest.fixture(autouse=True)
def _lower_numbers_allowed(mariadb_pair: Pair) -> Iterator[None]:
    mariadb_pair.source.execute("SET GLOBAL gtid_strict_mode = OFF")
    yield
    mariadb_pair.source.execute("SET GLOBAL gtid_strict_mode = ON")


@pytest.fixture
def proxy(mariadb_pair: Pair) -> Iterator[Proxy]:
    with Proxy(mariadb_pair.source.host, mariadb_pair.source.port) as proxy:
        yield proxy


def cut_off(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.cut()


def through(proxy: Proxy, endpoint: Endpoint) -> Callable[[], Endpoint]:
    return lambda: dataclasses.replace(endpoint, port=proxy.port)


@contextlib.contextmanager
def streaming(pair: Pair, schema: str, proxy: Proxy) -> Iterator[EngineInProcess]:
    """The stream goes through the proxy and has read one transaction."""
    name = make_table(pair, schema, "id INT PRIMARY KEY, v INT", "(1, 1)", on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        login = through(proxy, run.connections.source_endpoint())
        run.streamer._upstream = dataclasses.replace(run.streamer._upstream, login=login)
        run.stream()
        pair.source.execute(f"INSERT INTO {name} VALUES (2, 2)")
        run.pending(1)
        yield run


def test_the_end_of_the_binlog_is_not_reached_by_gtids_alone(mariadb_pair: Pair, schema: str, proxy: Proxy) -> None:
    with streaming(mariadb_pair, schema, proxy) as run:
        cut_off(proxy)
        mariadb_pair.source.execute(LOWER, f"INSERT INTO `{schema}`.t VALUES (3, 3)")
        end = run.connections.source_end()
        assert not run.streamer.reached(end)
        proxy.accept()
        wait_until(lambda: run.sound() and run.streamer.reached(end), "end of the binlog")
        assert run.buffer.pending_keys() == 2


def test_a_table_start_waits_for_the_end(mariadb_pair: Pair, schema: str, proxy: Proxy) -> None:
    with streaming(mariadb_pair, schema, proxy) as run:
        cut_off(proxy)
        mariadb_pair.source.execute(LOWER, f"INSERT INTO `{schema}`.t VALUES (3, 3)")
        waiting = Background(run.make_readable)
        assert waiting.stays(), "the transaction was not read"
        proxy.accept()
        waiting.join()
        assert run.buffer.pending_keys() == 2


def test_an_xa_transaction_is_not_given_up_before_the_end(
    mariadb_pair: Pair, schema: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decision is in the binlog but not read yet."""
    monkeypatch.setattr(dropped_xa, "REACH_SECONDS", 0.5)
    source, xid = mariadb_pair.source, f"'{schema[-12:]}'"
    with streaming(mariadb_pair, schema, proxy) as run:
        source.execute(f"XA START {xid}", f"UPDATE `{schema}`.t SET v = 2", f"XA END {xid}", f"XA PREPARE {xid}")
        wait_until(run.buffer.undecided, "the PREPARE was streamed")
        cut_off(proxy)

        def rolled_back() -> bool:
            with contextlib.suppress(Exception):  # its connection may still be on its way out
                source.execute(LOWER, f"XA ROLLBACK {xid}")
                return True
            return False

        wait_until(rolled_back, "XA ROLLBACK")
        connections, ending = run.connections, run.engine.ending
        dropped = DroppedXa(run.buffer, connections.source_control, run.visibility, run.streamer.reached, ending.wait)
        for _ in range(3):
            dropped.look()
        assert run.buffer.undecided()
        proxy.accept()
        wait_until(lambda: run.sound() and not run.buffer.undecided(), "the decision was streamed")


def test_an_alter_is_compared_again_after_one_that_was_not_read(mariadb_pair: Pair, schema: str, proxy: Proxy) -> None:
    """Two statements change the type and change it back: the definition is as before, the rows are not."""
    with streaming(mariadb_pair, schema, proxy) as run:
        with run.connections.source_control() as session:
            end = end_of_binlog(session)
        selection = Tables(include=[f"{schema}.t"])
        run.streamer._altered = AlteredTables(run.connections.source_control, selection, run.visibility, end).compare
        cut_off(proxy)
        for definition in ("TINYINT", "INT"):
            mariadb_pair.source.execute(LOWER, f"ALTER TABLE `{schema}`.t MODIFY v {definition}")
        proxy.accept()
        wait_until(lambda: run.engine._failure, "the stream refuses")
        assert "another statement altered it too" in str(run.engine._failure)


def test_a_resume_sees_what_was_read_although_the_last_number_is_lower(mariadb_pair: Pair, schema: str) -> None:
    """By GTIDs alone it would wait for a higher number until VisibilityStalled."""
    source = mariadb_pair.source
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    with Streaming(source, [describe(source, schema, "t")]) as stream:
        source.execute(f"INSERT INTO `{schema}`.t VALUES (1)")
        stream.wait(lambda: ids(stream) == [1], "row")
        read = stream.sink.processed[-1]
    source.execute(LOWER, f"INSERT INTO `{schema}`.t VALUES (2)")
    with stream.control() as session:
        goes_on_from = StreamMark(0, read.position, last_read=read.last_read)
        waiting = Background(lambda: visibility_of(session).wait(session, goes_on_from, lambda: False))
        waiting.join()
