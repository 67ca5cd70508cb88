"""What a replica lacks of its primary, and what it has more: by GTIDs, with answers of servers and on real ones."""

from typing import cast

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Row, Session
from ferry_core.mysql.upstream import errant, executed, lacking
from hack.servers import Family
from tests.support.replication import exact_replica
from tests.support.servers import Pair, ServerPool


class MariaDb:
    """Answers of one server."""

    flavor = Flavor.MARIADB

    def __init__(self, logged: str, applied: str = "") -> None:
        self._logged, self._applied = logged, applied

    def row(self, _statement: str, _columns: int) -> Row:
        return (self._logged.encode(), self._applied.encode())

    def text(self, _statement: str) -> str:
        return self._logged


@pytest.mark.parametrize(
    ("wanted", "logged", "applied", "missing"),
    [
        ("0-1-10", "0-1-10", "0-1-10", ""),
        ("0-1-10", "0-1-11", "0-1-11", ""),  # other tables are written meanwhile
        ("0-1-10", "0-1-9", "0-1-9", "0-1-10"),
        ("0-1-10", "0-1-9,0-2-10", "0-2-10", "0-1-10"),  # a local write has reached the number, not the transaction
        ("0-2-5", "0-1-50", "0-1-50", "0-2-5"),  # logged out of order by the primary
        ("0-1-10,7-1-3", "0-1-10", "0-1-10,7-1-3", ""),  # from a backup: not in the replica's binlog
        ("0-1-10,7-1-3", "0-1-10", "0-1-10,7-1-4", "7-1-3"),
        ("", "", "", ""),
    ],
)
def test_a_number_counts_for_the_server_that_gave_it(wanted: str, logged: str, applied: str, missing: str) -> None:
    assert lacking(cast("Session", MariaDb(logged, applied)), wanted) == missing


def test_what_only_the_replica_has_executed_is_named(pair: Pair, schema: str, server_pool: ServerPool) -> None:
    with (
        exact_replica(pair.source, server_pool) as exact,
        Session(exact.replica.endpoint(), Purpose.CONTROL) as there,
        Session(pair.source.endpoint("primary"), Purpose.CONTROL) as primary,
    ):
        exact.stop_applying()
        pair.source.execute(f"CREATE DATABASE IF NOT EXISTS {schema}")
        wanted = executed(primary)
        assert lacking(there, wanted)
        exact.apply_again()
        exact.wait_applied()
        assert lacking(there, wanted) == ""
        assert errant(there, primary) == ""
        exact.replica.execute(exact.read_only("OFF"), "CREATE DATABASE errant", exact.read_only())
        more = errant(there, primary)
        own = there.text("SELECT @@server_uuid" if pair.family is Family.MYSQL else "SELECT @@server_id")
        assert own in more
