"""``kubectl rollout restart`` of the operator in every phase, with a real copier and servers under writes.

``tests/ferry_operator/test_rollout.py`` does the same with a simulated copier in ``make test``.
"""

from hack.servers import Family
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY
from tests.support.whole_cluster import WholeCluster

SLOW = {"maxRowsPerSecond": 1000}


def test_the_operator_is_restarted_in_every_phase(whole_cluster: WholeCluster, make_ferry: MakeFerry) -> None:
    whole_cluster.install_operator()
    restart = whole_cluster.roll_operator
    ferry = make_ferry(Family.MARIADB, rows=20_000)
    with ferry.writers():
        ferry.create(throttle=SLOW, deletionPolicy="DropTarget")
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.patch_spec(aborted=True)
        restart()
        ferry.wait_until(lambda: ferry.current_status.get("phase") == "Aborted", "Aborted")
        ferry.kubectl("delete", "ferry", FERRY, "--wait=false")
        restart()
        ferry.wait_until(lambda: ferry.ferry(FERRY) is None, "the Ferry is gone")

        ferry.create(throttle=SLOW)
        restart()
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        restart()
        ferry.patch_spec(paused=True)
        restart()
        ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused")
        ferry.patch_spec(paused=False, throttle={"maxRowsPerSecond": None})
        restart()
        ferry.wait_for_stage("ReadyForCutover")
        restart()
        with ferry.drain_held():
            restart()
        ferry.wait_for_stage("Completed")
    restart()
    assert (ferry.current_status["phase"], ferry.epoch, ferry.restarts) == ("Completed", 1, 0), "one copier, all along"
    assert ferry.pod(COPIER) is not None
    ferry.assert_equal()
