"""From `kubectl apply` to Completed on a whole cluster, with a source under constant writes."""

import pytest

from hack.servers import Family
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, SCHEMA
from tests.support.compare import assert_equal_tables

ROWS = 30_000


@pytest.mark.parametrize("family", list(Family))
def test_paused_throttled_resumed_and_cut_over_by_patch(make_ferry: MakeFerry, family: Family) -> None:
    ferry = make_ferry(family, rows=ROWS)
    with ferry.writers() as writers:
        ferry.create(throttle={"maxRowsPerSecond": 200})  # would take too long, unless the patch takes effect
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.wait_until(
            lambda: ferry.current_status["throttle"]["active"] and ferry.is_true("Throttled"), "it is held back"
        )
        ferry.patch_spec(paused=True)
        ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused")
        kept = "" if family is Family.MARIADB else "; source keeps binlogs for another"  # MariaDB: for ever
        ferry.wait_for_message(FERRY, f"paused by spec.paused{kept}")
        standing = ferry.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk")
        ferry.patch_spec(throttle={"maxRowsPerSecond": 1_000_000})
        ferry.wait_until(
            lambda: ferry.current_status["copier"]["acknowledgedGeneration"] == 3, "the patch is acknowledged"
        )
        assert ferry.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk") == standing < ROWS
        ferry.patch_spec(paused=False)
        ferry.patch_spec(throttle={"query": "SELECT 1"})
        ferry.wait_until(lambda: "query true" in str(ferry.current_status["throttle"]), "the query throttles")
        ferry.patch_spec(throttle={"query": None, "maxReplicaLag": "1s"})
        ferry.wait_until(lambda: "replica-lag unknown" in str(ferry.current_status["throttle"]), "no replica is known")
        ferry.patch_spec(throttle={"maxReplicaLag": None})
        ferry.cut_over()
    print(writers.summary())
    assert ferry.is_true("Succeeded")
    assert ferry.is_true("CutOver")
    assert ferry.current_status["cutover"]["writesBlockedMilliseconds"] > 0
    assert ferry.current_status["verification"]["rowsVerified"] >= ROWS
    assert ferry.current_status["replication"]["gtidSet"]
    assert ferry.current_status["progress"]["percent"] == 100
    assert ferry.restarts == 0
    ferry.assert_equal()
    assert ferry.kubectl("get", "ferries").split()[:2] == ["NAME", "PHASE"]
    assert ferry.pod(COPIER) is not None


@pytest.mark.always
def test_five_kills_and_an_operator_restart_lose_nothing(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=ROWS)
    with ferry.writers() as writers:
        ferry.create(throttle={"maxRowsPerSecond": 500})  # a minute, during which two of them happen
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.kill_copier()
        ferry.cluster.restart_operator()
        copied = ferry.rows_copied
        ferry.wait_until(lambda: ferry.rows_copied > copied, "more rows")
        ferry.delete_copier()
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.wait_for_stage("Streaming", "ReadyForCutover")
        ferry.kill_copier()
        ferry.wait_for_stage("ReadyForCutover")
        ferry.delete_copier("--grace-period=0", "--force")
        ferry.wait_for_stage("ReadyForCutover")
        with ferry.drain_held():
            ferry.kill_copier()
        ferry.wait_for_stage("Completed")
    print(writers.summary())
    ferry.assert_equal()
    assert ferry.epoch >= 6


def test_only_rows_that_match_the_filter_are_moved(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=2000, odd=0)
    kept = "id % 3 = 0"
    tables = {"include": [f"{SCHEMA}.bulk"], "rules": [{"match": f"{SCHEMA}.bulk", "where": kept}]}
    with ferry.writers():
        ferry.create(tables=tables, verify={"mode": "None"}, acknowledge=["Unverified"])
        ferry.wait_for_stage("ReadyForCutover")
        assert not ferry.is_true("Verified")
        with ferry.another_copier():
            ferry.patch_spec(verify={"mode": "Final"})
        ferry.cut_over()
    assert ferry.current_status["verification"]["rowsVerified"] > 0, "the changed spec was acted on"
    found = assert_equal_tables(ferry.pair.source, ferry.pair.target, f"{SCHEMA}.bulk", where=kept)
    assert 0 < found.rows < 2000
