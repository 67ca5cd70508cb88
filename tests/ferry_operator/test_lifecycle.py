"""The life of a Ferry under the operator, against a real kube-apiserver and simulated copiers."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from ferry_core.api.report import CutoverReport, Progress, Stage
from ferry_core.reasons import Condition, Reason
from ferry_operator.pods import GRACE_SECONDS
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, at_once
from tests.support.kubelet import Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = [pytest.mark.usefixtures("operator"), CUT_CONNECTIONS]


def test_from_apply_to_completed(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    wait_until(lambda: copier.directives)
    assert copier.directives[0].generation == 1
    wait_until(lambda: cluster.status("orders").get("stage") == "Validating")
    assert {each["type"] for each in cluster.status("orders")["conditions"]} == {kind.value for kind in Condition}

    kubelet.call(lambda: copier.stage(Stage.COPYING, progress=Progress(tables_total=3, percent=10)))
    wait_until(lambda: cluster.status("orders").get("phase") == "Copying")
    assert cluster.status("orders")["progress"]["tablesTotal"] == 3
    assert cluster.condition("orders", "Reconciling")["status"] == "False"

    kubelet.call(lambda: copier.condition(Condition.READY_FOR_CUTOVER, "True", Reason.GATES_PASSED))
    kubelet.call(lambda: copier.stage(Stage.READY_FOR_CUTOVER))
    wait_until(lambda: cluster.condition("orders", "ReadyForCutover").get("status") == "True")

    cluster.patch("orders", cutover={"approved": True})
    wait_until(lambda: copier.directives[-1].cutover.approved)
    kubelet.call(lambda: copier.stage(Stage.CUTTING_OVER, cutover=CutoverReport(attempts=1)))
    wait_until(lambda: cluster.status("orders").get("phase") == "CuttingOver")
    kubelet.call(lambda: copier.condition(Condition.CUT_OVER, "True", Reason.DONE))
    kubelet.call(lambda: copier.stage(Stage.COMPLETED, cutover=CutoverReport(writes_blocked_milliseconds=1830)))
    kubelet.end(copier, 0, words(copier.report))

    wait_until(lambda: cluster.condition("orders", "Succeeded").get("status") == "True")
    status = cluster.status("orders")
    assert status["phase"] == status["stage"] == "Completed"
    assert status["cutover"]["writesBlockedMilliseconds"] == 1830
    assert "completionTime" in status
    wait_until(lambda: {("Normal", "GatesPassed"), ("Normal", "Completed")} <= {*cluster.events("orders")})
    assert kubelet.started == ["orders-copier"]


def test_a_patch_reaches_the_copier_at_once_and_is_acknowledged(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
    took = []
    for paused in (True, False) * 5:
        generation = cluster.patch("orders", paused=paused)["metadata"]["generation"]
        took.append(wait_until(lambda g=generation: copier.directives[-1].generation == g))  # type: ignore[misc]
        assert copier.directives[-1].paused is paused
        wait_until(lambda g=generation: cluster.status("orders")["copier"]["acknowledgedGeneration"] == g)  # type: ignore[misc]
        wait_until(lambda p=paused: cluster.condition("orders", "Paused").get("status") == str(p))  # type: ignore[misc]
    print(f"patch to directive: {sorted(round(each * 1000) for each in took)} ms")
    assert at_once(took)


def test_the_pod_is_restricted(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    kubelet.copier("orders")
    pod = cluster.pod("orders-copier")
    assert pod is not None
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "OnFailure"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    owner = pod["metadata"]["ownerReferences"][0]
    ferry = cluster.ferry("orders")
    assert ferry is not None
    assert (owner["uid"], owner["controller"]) == (ferry["metadata"]["uid"], True)
    optional = [each["secret"] for each in spec["volumes"] if each["name"].startswith("secret-")]
    assert {each["secretName"] for each in optional} == {"old", "new"}
    assert all(each["optional"] for each in optional)


def test_deletion_ends_the_copier_and_cleans_up(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    kubelet.copier("orders")
    wait_until(lambda: "startTime" in cluster.status("orders"))
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]
    assert kubelet.copiers == {}


def test_an_abort_ends_the_copier_and_makes_sure_that_writes_are_allowed(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    kubelet.copier("orders")
    cluster.patch("orders", aborted=True)
    wait_until(lambda: cluster.status("orders").get("phase") == "Aborted")
    assert kubelet.started == ["orders-copier", "orders-abort"]
    assert cluster.condition("orders", "Succeeded")["reason"] == "Aborted"


def test_abort_while_the_copiers_node_is_lost(
    cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_operator.observe._LOST", timedelta(seconds=1 - GRACE_SECONDS))
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.CUTTING_OVER))
    wait_until(lambda: cluster.status("orders").get("stage") == "CuttingOver")
    kubelet.slow_to_end = True
    cluster.patch("orders", aborted=True)
    wait_until(lambda: kubelet.started == ["orders-copier", "orders-abort"])
    wait_until(lambda: "released both databases" in cluster.status("orders").get("message", ""))
    assert cluster.condition("orders", "Stalled")["reason"] == "NodeLost"
    assert cluster.condition("orders", "Succeeded")["status"] == "Unknown"
    assert cluster.pod("orders-copier") is not None
    kubelet.slow_to_end = False
    wait_until(lambda: cluster.status("orders").get("phase") == "Aborted")
    assert cluster.condition("orders", "Stalled")["status"] == "False"


def test_a_copier_outlives_the_operator_and_its_upgrade(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorThread
) -> None:
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    operator.stop()
    kubelet.call(lambda: copier.stage(Stage.STREAMING))
    cluster.patch("orders", paused=True)
    before, image = cluster.pod("orders-copier"), "localhost/mysql-ferry:next"
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace, image=image) as upgraded:
        wait_until(lambda: copier.directives[-1].paused)
        wait_until(lambda: cluster.status("orders").get("stage") == "Streaming")
        wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
        after = cluster.pod("orders-copier")
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert "deletionTimestamp" not in after["metadata"]
        assert cluster.status("orders")["copier"]["image"] == "localhost/mysql-ferry:test"
        assert kubelet.started == ["orders-copier"]
        cluster.delete_pod("orders-copier")
        wait_until(lambda: cluster.status("orders")["copier"]["image"] == image)
        wait_until(lambda: kubelet.started == ["orders-copier"] * 2)
        assert upgraded.failure is None


@pytest.mark.usefixtures("hasty")
def test_a_restarted_operator_repeats_no_events(cluster: Cluster, kubelet: Kubelet, operator: OperatorThread) -> None:
    """A healthy Ferry must not be reported as starting, and no Event posted again."""
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    for kind, reason in (("CaughtUp", "LagBelowThreshold"), ("ReadyForCutover", "GatesPassed")):
        kubelet.call(partial(copier.condition, kind, "True", reason))
    kubelet.call(lambda: copier.condition("Stalled", "True", "AttemptsExhausted", "5 of 5 attempts"))
    kubelet.call(lambda: copier.stage(Stage.READY_FOR_CUTOVER, message="before"))
    wait_until(lambda: cluster.status("orders").get("message") == "before")
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
    wait_until(lambda: ("Warning", "AttemptsExhausted") in cluster.events("orders"))
    told = datetime.fromisoformat(cluster.condition("orders", "Stalled")["lastTransitionTime"])
    wait_until(lambda: datetime.now(UTC) - told > timedelta(seconds=1))
    operator.stop()
    status, events = cluster.status("orders"), cluster.events("orders")
    assert status["stage"] == "ReadyForCutover"
    operator.start()
    kubelet.call(lambda: copier.count(message="after"))
    wait_until(lambda: cluster.status("orders").get("message") == "after")
    assert cluster.status("orders")["conditions"] == status["conditions"], "also when each of them came to be so"
    assert cluster.events("orders") == events
