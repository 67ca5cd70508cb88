"""A replica as source: whatever could make its rows differ from its primary's is refused by name."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ferry_core.preflight import CheckResult, Status, run_checks
from hack.servers import Family
from tests.support.preflight import PASSWORD, opened, told
from tests.support.replication import Exact
from tests.support.servers import Pair, Server, ServerPool

ACCOUNT = "blind_primary"


@pytest.fixture(name="exact", scope="module")
def _exact(pair: Pair, server_pool: ServerPool) -> Iterator[Exact]:
    replica = server_pool.start(pair.family, {"log_slave_updates": True})
    yield Exact(pair.source, replica)
    server_pool.end(replica)


def checked(
    exact: Exact, target: Server, schema: str, primary: Server | None = None, user: str = "", **fields: object
) -> list[CheckResult]:
    end = (primary or exact.primary).endpoint("primary")
    if user:
        end = replace(end, user=user, password=PASSWORD)
    with opened(exact.replica, target, schema, primary=end, **fields) as context:  # type: ignore[arg-type]
        return run_checks(context)


def test_a_source_that_is_no_exact_replica_is_refused(exact: Exact, pair: Pair, schema: str) -> None:
    replica, target, mysql = exact.replica, pair.target, pair.family is Family.MYSQL
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    exact.wait_applied()
    results = checked(exact, target, schema)
    assert told(results) == {}
    assert any(result.message == f"it is 0 s behind {pair.source.host}:{pair.source.port}" for result in results)

    wrong = told(checked(exact, target, schema, target))
    assert f"must do so from {target.host}:{target.port}" in wrong["NotItsReplica"]

    pair.source.execute(f"DROP USER IF EXISTS {ACCOUNT}", f"CREATE USER {ACCOUNT} IDENTIFIED BY '{PASSWORD}'")
    missing = told(checked(exact, target, schema, user=ACCOUNT))["MissingPrivilege"]
    for privilege in ("REPLICATION CLIENT", "XA_RECOVER_ADMIN") if mysql else ("REPLICA MONITOR", "READ_ONLY ADMIN"):
        assert privilege in missing
    assert "primary " in missing
    pair.source.execute(f"DROP USER {ACCOUNT}")

    mode = "replica_exec_mode" if mysql else "slave_exec_mode"
    replica.execute(f"SET GLOBAL {mode} = IDEMPOTENT")
    assert mode.split("_")[1] in told(checked(exact, target, schema))["ReplicaMayDiffer"]
    replica.execute(f"SET GLOBAL {mode} = STRICT")

    exact.stop_applying()
    assert "its SQL thread is No" in told(checked(exact, target, schema))["ReplicationStopped"]
    with opened(replica, target, schema, primary=pair.source.endpoint("primary"), started=["t"]) as context:
        assert "until then there is no cutover" in told(run_checks(context), Status.WARNING)["ReplicationStopped"]
    exact.apply_again()

    positions, off = ("gtid_mode", "ON_PERMISSIVE") if mysql else ("gtid_strict_mode", "OFF")
    replica.execute(f"SET GLOBAL {positions} = {off}")
    assert (
        f"source {replica.host}"
        in told(checked(exact, target, schema))["GtidModeOff" if mysql else "GtidStrictModeOff"]
    )
    replica.execute(f"SET GLOBAL {positions} = ON")

    replica.execute(exact.read_only("OFF"), "CREATE DATABASE errant")
    found = told(checked(exact, target, schema))
    assert "read_only=OFF" in found["ReplicaWritable"]
    assert "has executed transactions that primary" in found["ErrantTransactions"]
    replica.execute(exact.read_only())
    assert told(checked(exact, target, schema, acknowledge=["ErrantTransactions"])) == {}
    assert "ErrantTransactions" in told(checked(exact, target, schema))
