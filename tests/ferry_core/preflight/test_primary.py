"""A replica as source: whatever could make its rows differ from its primary's is refused by name."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.cutover.primary import Primary
from ferry_core.preflight import CheckResult, Status, run_checks
from hack.servers import Family
from tests.support.preflight import PASSWORD, opened, told
from tests.support.replication import Exact, exact_replica
from tests.support.servers import Pair, Server, ServerPool, set_global

ACCOUNT = "blind_primary"


@pytest.fixture(name="exact", scope="module")
def _exact(pair: Pair, server_pool: ServerPool) -> Iterator[Exact]:
    with exact_replica(pair.source, server_pool) as exact:
        yield exact


def checked(
    exact: Exact, target: Server, schema: str, primary: Server | None = None, user: str = "", **fields: object
) -> list[CheckResult]:
    end = (primary or exact.primary).endpoint("primary")
    if user:
        end = replace(end, user=user, password=PASSWORD)
    with opened(exact.replica, target, schema, primary=end, **fields) as context:  # type: ignore[arg-type]
        return run_checks(context)


def test_a_target_that_is_the_primary_is_refused(exact: Exact, schema: str) -> None:
    exact.primary.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    exact.wait_applied()
    found = told(checked(exact, exact.primary, schema))
    assert "primary" in found["SourceIsTarget"]
    assert "are the same server" in found["SourceIsTarget"]


ON_PRIMARY, ON_REPLICA = "primary", "source"
SETTINGS = [
    (ON_PRIMARY, "binlog_format", "STATEMENT", "BinlogFormatNotRow", "SET GLOBAL binlog_format = ROW"),
    (ON_PRIMARY, "sync_binlog", "0", "SourceLosesCommits", "SET GLOBAL sync_binlog = 1"),
    (ON_PRIMARY, "innodb_flush_log_at_trx_commit", "2", "SourceLosesCommits", "innodb_flush_log_at_trx_commit = 1"),
    (ON_REPLICA, "slave_type_conversions", "'ALL_LOSSY'", "ReplicaMayDiffer", "type_conversions=ALL_LOSSY"),
]


@pytest.mark.parametrize(("role", "name", "value", "reason", "said"), SETTINGS, ids=[row[1] for row in SETTINGS])
def test_settings_with_which_the_two_may_come_to_differ_are_refused(
    exact: Exact, pair: Pair, schema: str, role: str, name: str, value: str, reason: str, said: str
) -> None:
    """By preflight and by each attempt."""
    exact.primary.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    exact.wait_applied()
    server = exact.primary if role == ON_PRIMARY else exact.replica
    with (
        set_global(server, f"{name} = {value}"),
        opened(exact.replica, pair.target, schema, primary=exact.primary.endpoint("primary")) as context,
    ):
        found = told(run_checks(context))
        assert found.keys() == {reason}
        assert f"{role} {server.host}:{server.port}" in found[reason]
        assert said in found[reason]
        with pytest.raises(AttemptFailed) as refused:
            Primary(lambda: context.written, may_be_errant=False).refuse_apart(context.source, context.written)
        assert refused.value.reason == reason


def test_a_source_that_is_no_exact_replica_is_refused(exact: Exact, pair: Pair, schema: str) -> None:
    replica, target, mysql = exact.replica, pair.target, pair.family is Family.MYSQL
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    exact.wait_applied()
    results = checked(exact, target, schema)
    assert told(results) == {}
    assert any(result.message.endswith(f" is 0 s behind {pair.source.host}:{pair.source.port}") for result in results)

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
    for server, role in ((replica, ON_REPLICA), (pair.source, ON_PRIMARY)):
        server.execute(f"SET GLOBAL {positions} = {off}")
        assert (
            f"{role} {server.host}:{server.port} has"
            in told(checked(exact, target, schema))["GtidModeOff" if mysql else "GtidStrictModeOff"]
        )
        server.execute(f"SET GLOBAL {positions} = ON")

    if not mysql:
        for gtids in ("no", "slave_pos"):
            replica.execute("STOP SLAVE", f"CHANGE MASTER TO MASTER_USE_GTID = {gtids}", "START SLAVE")
            differs = told(checked(exact, target, schema)).get("ReplicaMayDiffer", "")
            assert ("replicates with MASTER_USE_GTID=no" in differs) is (gtids == "no")

    replica.execute(exact.read_only("OFF"), "CREATE DATABASE errant")
    found = told(checked(exact, target, schema))
    assert "read_only=OFF" in found["ReplicaWritable"]
    assert "has executed transactions that primary" in found["ErrantTransactions"]
    replica.execute(exact.read_only())
    assert told(checked(exact, target, schema, acknowledge=["ErrantTransactions"])) == {}
    assert "ErrantTransactions" in told(checked(exact, target, schema))
