"""The record of a cutover is on the target's disk before the cutover is reported, whatever the target's settings
are.
"""

import pytest

from ferry_core.consistency.fence import COMPLETED, Fence, read_lease
from ferry_core.cutover.durable import make_durable
from ferry_core.errors import AmbiguousError
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.servers import Pair, Server

UID = "uid-durable"


def connect(server: Server) -> Session:
    return Session(server.endpoint("target"), Purpose.TARGET)


def fence_of(server: Server) -> Fence:
    """The fence of the next run; other checks refuse a run after a cutover."""
    return Fence.take(lambda: connect(server), UID, "ns/name", "source")[0]


@pytest.fixture(params=list(Family))
def server(request: pytest.FixtureRequest, make_server: ServerFactory) -> Server:
    """A server that flushes its redo log to disk only every half hour."""
    return make_server(
        request.param.value, innodb_flush_log_at_trx_commit="0", innodb_flush_log_at_timeout="1800", sync_binlog="0"
    )


def syncs(server: Server) -> int:
    return int(server.query("SHOW GLOBAL STATUS LIKE 'Innodb_os_log_fsyncs'")[0][1])


def test_the_record_survives_a_power_cut(server: Server) -> None:
    """MySQL writes its redo log to the operating system all the time, which survives a kill: so the test counts
    syncs.
    """
    fence = fence_of(server)
    fence.complete()
    before = syncs(server) if server.family is Family.MYSQL else 0
    make_durable(lambda: connect(server), fence)
    if server.family is Family.MYSQL:
        assert syncs(server) > before
    assert server.query("SHOW TABLES FROM mysql_ferry LIKE 'to_disk%'") == []
    server.kill()
    server.start()
    with connect(server) as session:
        lease = read_lease(session, UID)
    assert lease is not None
    assert lease.phase == COMPLETED


def test_without_the_flush_the_record_may_be_lost(server: Server) -> None:
    """Proves that the test above can fail."""
    if server.family is Family.MYSQL:
        pytest.skip("what a kill does not lose")
    fence_of(server).complete()
    server.kill()
    server.start()
    with connect(server) as session:
        lease = read_lease(session, UID)
    assert lease is None or lease.phase != COMPLETED


LOST = {
    "record": "UPDATE mysql_ferry.lease SET phase = 'CuttingOver'",
    "epoch too": "UPDATE mysql_ferry.lease SET phase = 'New', epoch = epoch - 1",
    "lease row": "DELETE FROM mysql_ferry.lease",
}


@pytest.mark.parametrize("lost", LOST)
def test_a_record_that_is_lost_already_is_ambiguous(pair: Pair, lost: str) -> None:
    fence = fence_of(pair.target)
    fence.complete()
    pair.target.execute(f"{LOST[lost]} WHERE ferry_uid = '{UID}'")
    with pytest.raises(AmbiguousError, match="OwnershipAmbiguous"):
        make_durable(lambda: connect(pair.target), fence)


def test_a_newer_run_has_read_the_record(pair: Pair) -> None:
    fence = fence_of(pair.target)
    fence.complete()
    fence_of(pair.target)
    make_durable(lambda: connect(pair.target), fence)


def test_a_newer_run_that_found_no_record_does_not_count_as_one_that_did(pair: Pair) -> None:
    """The target lost the record, and the newer run has allowed writes on the source."""
    fence = fence_of(pair.target)
    fence.complete()
    newer = "UPDATE mysql_ferry.lease SET phase = 'Streaming', epoch = epoch + 1 WHERE ferry_uid = %s"
    pair.target.query(newer, (UID,))
    with pytest.raises(AmbiguousError):
        make_durable(lambda: connect(pair.target), fence)
    pair.target.query("DELETE FROM mysql_ferry.lease WHERE ferry_uid = %s", (UID,))
