"""What a running Ferry does when CRD, operator and copier are upgraded, and when they are taken back.

What docs/releases.md says is what happens here, step by step.
"""

from hack.servers import Family
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, ClusterFerry
from tests.support.namespace import Object
from tests.support.whole_cluster import IMAGE, WholeCluster
from tests.upgrade.conftest import TAG, Before

SLOW = {"maxRowsPerSecond": 300}
ROWS = 40_000


def copying(ferry: ClusterFerry) -> Object:
    """Create it and wait until it copies; returns its Pod."""
    ferry.create(throttle=SLOW)
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    pod = ferry.pod(COPIER)
    assert pod is not None
    return pod


def image(ferry: ClusterFerry) -> str:
    return str((ferry.pod(COPIER) or {})["spec"]["containers"][0]["image"])


def transitions(ferry: ClusterFerry) -> dict[str, tuple[str, str]]:
    """Status and last transition of conditions that a copy has behind it, or before it."""
    kinds = ("Succeeded", "Validated", "CopyComplete", "CutOver")
    found = {kind: ferry.condition(FERRY, kind) for kind in kinds}
    return {kind: (each["status"], each["lastTransitionTime"]) for kind, each in found.items()}


def pause_and_resume(ferry: ClusterFerry) -> None:
    ferry.patch_spec(paused=True)
    ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused")
    ferry.patch_spec(paused=False)
    ferry.wait_until(lambda: ferry.condition(FERRY, "Paused")["status"] == "False", "resumed")


def replaced_copier(ferry: ClusterFerry) -> None:
    """Another Pod goes on where this one was."""
    copied = ferry.target_rows
    ferry.delete_copier()
    ferry.wait_until(lambda: ferry.rows_copied > copied, "rows go on")
    assert "resumes from its checkpoint" in ferry.kubectl("logs", COPIER)


def finish(ferry: ClusterFerry) -> None:
    ferry.patch_spec(throttle={"maxRowsPerSecond": None})
    ferry.cut_over()
    assert ferry.is_true("Succeeded")


def test_a_running_ferry_is_upgraded(before: Before, whole_cluster: WholeCluster, make_ferry: MakeFerry) -> None:
    whole_cluster.install_operator(before.chart, TAG)
    ferry = make_ferry(Family.MYSQL, rows=ROWS)
    with ferry.writers():
        pod = copying(ferry)
        recorded, begun = transitions(ferry), ferry.current_status["startTime"]

        whole_cluster.install_operator()
        copied = ferry.rows_copied
        ferry.wait_until(lambda: ferry.rows_copied > copied, "the status follows the old copier")
        pause_and_resume(ferry)
        assert transitions(ferry) == recorded
        assert ferry.current_status["startTime"] == begun
        now = ferry.pod(COPIER)
        assert now is not None
        assert now["metadata"]["uid"] == pod["metadata"]["uid"]
        assert (ferry.epoch, ferry.restarts, image(ferry)) == (1, 0, before.image)

        replaced_copier(ferry)
        assert (ferry.epoch, image(ferry)) == (2, IMAGE)
        assert transitions(ferry)["Succeeded"] == recorded["Succeeded"]
        finish(ferry)
    ferry.assert_equal()
    assert not [each for each in ferry.events(FERRY) if each[1] == "InvalidField"]


def test_a_running_ferry_is_taken_back(before: Before, whole_cluster: WholeCluster, make_ferry: MakeFerry) -> None:
    """The old operator follows the newer copier. The old copier refuses the newer state, and nothing is lost."""
    whole_cluster.install_operator()
    ferry = make_ferry(Family.MARIADB, rows=ROWS)
    with ferry.writers():
        pod = copying(ferry)
        whole_cluster.install_operator(before.chart, TAG)
        copied = ferry.rows_copied
        ferry.wait_until(lambda: ferry.rows_copied > copied, "the status follows the newer copier")
        pause_and_resume(ferry)
        now = ferry.pod(COPIER)
        assert now is not None
        assert now["metadata"]["uid"] == pod["metadata"]["uid"]

        ferry.kubectl("delete", "pod", COPIER)
        ferry.wait_until(
            lambda: ferry.current_status.get("failure", {}).get("reason") == "StateTooNew", "it is refused", 300
        )
        print(ferry.current_status["message"])
        assert ferry.is_true("Stalled")

        copied = ferry.rows_copied
        ferry.patch_spec(copier={"image": IMAGE})
        ferry.wait_until(lambda: "failure" not in ferry.current_status, "the newer image is started")
        ferry.wait_until(lambda: ferry.rows_copied > copied, "rows go on under the old operator")
        whole_cluster.install_operator()
        finish(ferry)
    ferry.assert_equal()
