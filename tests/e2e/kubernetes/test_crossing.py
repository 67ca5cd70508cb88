"""From `kubectl apply` to Completed on a whole cluster, with a source that is written to all the time."""

import pytest

from hack.servers import Family
from tests.e2e.kubernetes.conftest import Embark
from tests.support.compare import assert_equal_tables
from tests.support.voyage import COPIER, FERRY, SCHEMA

pytestmark = pytest.mark.timeout(600)
ROWS = 30_000


@pytest.mark.parametrize("family", list(Family))
def test_paused_throttled_resumed_and_cut_over_by_patch(embark: Embark, family: Family) -> None:
    voyage = embark(family, rows=ROWS)
    with voyage.crew() as crew:
        voyage.set_out(throttle={"maxRowsPerSecond": 200})  # not over in time, unless the patch takes effect
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        voyage.until(lambda: voyage.now["throttle"]["active"] and voyage.is_true("Throttled"), "it is held back", 15)
        voyage.change(paused=True)
        voyage.until(lambda: voyage.is_true("Paused"), "Paused", 5)
        kept = "" if family is Family.MARIADB else "; source keeps binlogs for another"  # MariaDB: for ever
        voyage.until_said(FERRY, f"paused by spec.paused{kept}", seconds=15)
        standing = voyage.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk")
        voyage.change(throttle={"maxRowsPerSecond": 1_000_000})
        voyage.until(lambda: voyage.now["copier"]["acknowledgedGeneration"] == 3, "the patch is acknowledged")
        assert voyage.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk") == standing < ROWS
        voyage.change(paused=False)
        voyage.cross()
    print(crew.summary())
    assert voyage.is_true("Succeeded")
    assert voyage.is_true("CutOver")
    assert voyage.now["cutover"]["writesBlockedMilliseconds"] > 0
    assert voyage.now["verification"]["rowsVerified"] >= ROWS
    assert voyage.now["replication"]["gtidSet"]
    assert voyage.now["progress"]["percent"] == 100
    assert voyage.restarts == 0
    voyage.assert_equal()
    assert voyage.kubectl("get", "ferries").split()[:2] == ["NAME", "PHASE"]
    assert voyage.pod(COPIER) is not None


def test_killed_five_times_and_the_operator_restarted_on_the_way(embark: Embark) -> None:
    voyage = embark(rows=ROWS)
    with voyage.crew() as crew:
        voyage.set_out(throttle={"maxRowsPerSecond": 500})  # a minute, in which two of them fall
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        voyage.kill_copier()
        voyage.cluster.restart_operator()
        copied = voyage.rows_copied
        voyage.until(lambda: voyage.rows_copied > copied, "more rows")
        voyage.delete_copier()
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.until_stage("Streaming", "ReadyForCutover")
        voyage.kill_copier()
        voyage.until_stage("ReadyForCutover")
        voyage.delete_copier("--grace-period=0", "--force")
        voyage.until_stage("ReadyForCutover")
        with voyage.drain_held():
            voyage.kill_copier()
        voyage.until_stage("Completed")
    print(crew.summary())
    voyage.assert_equal()
    assert voyage.epoch >= 6


def test_rows_that_a_filter_keeps_and_no_others(embark: Embark) -> None:
    voyage = embark(rows=2000, odd=0)
    kept = "id % 3 = 0"
    tables = {"include": [f"{SCHEMA}.bulk"], "rules": [{"match": f"{SCHEMA}.bulk", "where": kept}]}
    with voyage.crew():
        voyage.set_out(tables=tables, verify={"mode": "None"}, acknowledge=["Unverified"])
        voyage.until_stage("ReadyForCutover")
        assert not voyage.is_true("Verified")
        with voyage.another_copier():
            voyage.change(verify={"mode": "Final"})
        voyage.cross()
    assert voyage.now["verification"]["rowsVerified"] > 0, "the changed spec was acted on"
    found = assert_equal_tables(voyage.pair.source, voyage.pair.target, f"{SCHEMA}.bulk", where=kept)
    assert 0 < found.rows < 2000
