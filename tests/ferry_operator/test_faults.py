"""Faults around a Ferry: what its user sees, and that it recovers once the cause is fixed."""

import json
import time

import pytest

from ferry_core.api.report import Failure, Report, Stage
from ferry_operator import copier_client, kopf_settings
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, Object, running
from tests.support.kubelet import SPEC, Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = CUT_CONNECTIONS


def seen_to(cluster: Cluster, kubelet: Kubelet, name: str) -> None:
    """Create a Ferry and wait until the operator has acted on it: then it has processed all earlier changes."""
    cluster.apply(name)
    later = kubelet.copier(name)
    wait_until(lambda: later.directives)


def failed(reason: str, message: str) -> str:
    return words(Report(phase="Failed", failure=Failure(reason=reason, message=message, retriable=False)))


@pytest.mark.usefixtures("operator")
def test_an_image_that_cannot_be_pulled(cluster: Cluster, kubelet: Kubelet) -> None:
    kubelet.hold = True
    cluster.apply("orders")
    wait_until(lambda: cluster.pod("orders-copier"))
    kubelet.wait_reason("orders-copier", "ImagePullBackOff", 'Back-off pulling image "localhost/no:1"')
    wait_until(lambda: cluster.condition("orders", "Stalled").get("reason") == "ImagePullBackOff")
    assert "localhost/no:1" in cluster.status("orders")["message"]
    wait_until(lambda: ("Warning", "ImagePullBackOff") in cluster.events("orders"))
    kubelet.hold = False
    kubelet.copier("orders")
    wait_until(lambda: cluster.condition("orders", "Stalled").get("status") == "False")


@pytest.mark.usefixtures("operator")
def test_a_namespace_that_asks_for_restricted_pods(cluster: Cluster, kubelet: Kubelet) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.request(
        "PATCH",
        f"/api/v1/namespaces/{cluster.namespace}",
        {"metadata": {"labels": labels}},
        content_type="application/merge-patch+json",
    )
    cluster.apply("orders")
    kubelet.copier("orders")
    loose = {"template": {"podSecurityContext": {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}}}}
    cluster.apply("loose", copier=loose)
    wait_until(lambda: cluster.condition("loose", "Stalled").get("reason") == "PodRefused")
    assert "violates PodSecurity" in cluster.status("loose")["message"]
    cluster.patch("loose", copier={"template": {"podSecurityContext": None}})
    kubelet.copier("loose")
    wait_until(lambda: cluster.condition("loose", "Stalled").get("status") == "False")


@pytest.mark.usefixtures("operator")
def test_a_failed_validation_is_retried_when_the_spec_changes(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    kubelet.end(kubelet.copier("orders"), 64, failed("MissingPrivilege", "GRANT SELECT ON shop.* TO ferry"))
    wait_until(lambda: cluster.status("orders").get("phase") == "Failed")
    assert cluster.status("orders")["failure"]["reason"] == "MissingPrivilege"
    assert "GRANT SELECT" in cluster.status("orders")["message"]
    wait_until(lambda: ("Warning", "MissingPrivilege") in cluster.events("orders"))
    wait_until(lambda: cluster.pod("orders-copier") is None)
    cluster.patch("orders", acknowledge=["TargetTriggers"])
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("phase") == "Copying")
    assert "failure" not in cluster.status("orders")
    assert copier.manifest["spec"]["acknowledge"] == ["TargetTriggers"]


@pytest.mark.usefixtures("operator", "hasty")
def test_a_failed_validation_is_retried_automatically(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.slow_to_end = True
    began = time.monotonic()
    kubelet.end(copier, 64, failed("ServerUnreachable", "old.db refuses"))
    wait_until(lambda: "deletionTimestamp" in (cluster.pod("orders-copier") or {}).get("metadata", {}))
    kubelet.crash("orders-copier", 143, "Error")  # it was started in place meanwhile
    kubelet.slow_to_end = False
    wait_until(lambda: kubelet.started.count("orders-copier") == 2)
    assert 1 < time.monotonic() - began < 60, "2 s since it ended, of which Kubernetes tells the whole second alone"


@pytest.mark.usefixtures("operator")
def test_a_pod_that_somebody_deletes_is_created_again(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    first = kubelet.copier("orders")
    cluster.delete_pod("orders-copier")
    wait_until(lambda: kubelet.copiers.get("orders-copier") not in (None, first))
    assert cluster.status("orders")["stage"] == "Copying"
    assert kubelet.started == ["orders-copier"] * 2


@pytest.mark.usefixtures("operator")
def test_a_changed_credential_reference_makes_a_new_pod_once_the_old_one_is_gone(
    cluster: Cluster, kubelet: Kubelet
) -> None:
    running(cluster, kubelet)
    kubelet.slow_to_end = True
    cluster.patch("orders", source={"credentialsSecretRef": {"name": "renewed"}})
    wait_until(lambda: "deletionTimestamp" in (cluster.pod("orders-copier") or {}).get("metadata", {}))
    seen_to(cluster, kubelet, "later")
    assert kubelet.started == ["orders-copier", "later-copier"], "one at a time"
    kubelet.slow_to_end = False
    wait_until(lambda: kubelet.started[2:] == ["orders-copier"])
    pod = cluster.pod("orders-copier")
    assert pod is not None
    assert "renewed" in [each.get("secret", {}).get("secretName") for each in pod["spec"]["volumes"]]


@pytest.mark.usefixtures("operator")
def test_a_directive_that_is_refused_leaves_the_copier_as_it_was(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    copier.refuse = ("NotBuiltYet", "spec.throttle.query is not supported yet")
    cluster.patch("orders", throttle={"query": "SELECT 1"})
    wait_until(lambda: cluster.condition("orders", "Stalled").get("reason") == "NotBuiltYet")
    assert "only a pause, an abort, or a withdrawn approval" in cluster.status("orders")["message"]
    copier.refuse = None
    cluster.patch("orders", throttle={"query": None})
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("reason") == "Settled")
    kubelet.call(lambda: copier.say(message="on"))
    wait_until(lambda: cluster.condition("orders", "Stalled").get("status") == "False")


@pytest.mark.usefixtures("operator")
def test_a_spec_so_big_that_annotations_have_no_room_for_it_twice(cluster: Cluster, kubelet: Kubelet) -> None:
    """kubectl keeps a copy of it in an annotation, and all annotations together may have 256 KiB."""
    rules = [{"match": f"shop.t{number}", "where": "id > 0 AND " * 360 + "id < 9"} for number in range(50)]
    kept = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(rules)}
    cluster.apply("orders", tables=SPEC["tables"] | {"rules": rules})
    cluster.merge("orders", {"metadata": {"annotations": kept}})
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    ferry = cluster.ferry("orders")
    assert ferry is not None
    assert len(json.dumps(ferry["spec"])) > 200_000
    assert ferry["metadata"]["annotations"] == kept
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator")
def test_a_ferry_that_carries_an_annotation_of_kopfs_own(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    annotations = {"mysqlferry.io/last-handled": '{"spec":{}}', "mysqlferry.io/kopf-managed": "yes"}
    cluster.merge("orders", {"metadata": {"annotations": annotations}})
    cluster.patch("orders", paused=True)
    wait_until(lambda: kubelet.copier("orders").directives[-1].paused)
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator", "hasty")
def test_a_copier_that_dies_without_a_message_and_is_not_restarted_at_once(cluster: Cluster, kubelet: Kubelet) -> None:
    """The kubelet reports its restart delay a moment after the end, when the next status write is not due yet."""
    kubelet.hold = True
    cluster.apply("orders")
    wait_until(lambda: "container is starting" in cluster.status("orders").get("message", ""))
    kubelet.crash("orders-copier", 137, "OOMKilled")
    wait_until(lambda: "137 and is restarted: OOMKilled" in cluster.status("orders").get("message", ""))


@pytest.mark.usefixtures("operator")
def test_a_secret_that_somebody_made_under_the_copiers_name_is_not_given_to_it(
    cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could name another host, to which the databases' passwords would be sent."""
    names = iter(("known", "unknown"))
    monkeypatch.setattr("ferry_operator.pod_maker.secrets.token_hex", lambda _: next(names))
    foreign = {"metadata": {"name": "orders-copier-known"}, "stringData": {"ferry.yaml": "source: {host: elsewhere}"}}
    cluster.api.request("POST", f"/api/v1/namespaces/{cluster.namespace}/secrets", foreign)
    running(cluster, kubelet)
    pod = cluster.pod("orders-copier")
    assert pod is not None
    assert pod["spec"]["volumes"][0]["secret"]["secretName"] == "orders-copier-unknown"


@pytest.mark.usefixtures("operator", "hasty")
def test_a_secret_that_somebody_deletes_before_the_copier_starts_is_created_again(
    cluster: Cluster, kubelet: Kubelet
) -> None:
    kubelet.hold = True
    cluster.apply("orders")

    def secret() -> Object | None:
        return next((each for each in cluster.secrets() if each["metadata"]["name"].startswith("orders-copier-")), None)

    wait_until(secret)
    made = secret()
    assert made is not None
    cluster.api.request("DELETE", f"/api/v1/namespaces/{cluster.namespace}/secrets/{made['metadata']['name']}")
    wait_until(lambda: (again := secret()) is not None and again["metadata"]["uid"] != made["metadata"]["uid"])
    kubelet.hold = False
    kubelet.copier("orders")


def test_the_api_server_is_unavailable_for_a_while(
    cluster: Cluster,
    kubelet: Kubelet,
    operator: OperatorThread,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(kopf_settings, "_PAUSES", (0.2, 0.5))
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    cluster.api.stop_api(kill=True)
    wait_until(lambda: caplog.text.count("Request attempt #5 failed") == 2)  # of both watches
    kubelet.call(lambda: copier.stage(Stage.STREAMING))
    cluster.api.start_api()
    cluster.patch("orders", paused=True)
    took = wait_until(lambda: copier.directives[-1].paused)
    print(f"told {took:.1f} s after the API came back")
    wait_until(lambda: cluster.status("orders").get("stage") == "Streaming")
    assert kubelet.started == ["orders-copier"]
    assert operator.failure is None


def test_two_operators_by_mistake(cluster: Cluster, kubelet: Kubelet, operator: OperatorThread) -> None:
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace):
        running(cluster, kubelet)
        copier = kubelet.copier("orders")
        for paused in (True, False, True):
            cluster.patch("orders", paused=paused)
            wait_until(lambda p=paused: copier.directives[-1].paused is p)  # type: ignore[misc]
        cluster.delete("orders")
        wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]
    assert operator.failure is None


def test_no_more_ferries_run_than_the_limit(cluster: Cluster, kubelet: Kubelet) -> None:
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace, max_running=1):
        running(cluster, kubelet, "first")
        cluster.apply("second")
        wait_until(lambda: cluster.condition("second", "Reconciling").get("reason") == "Queued")
        assert cluster.pod("second-copier") is None
        copier = kubelet.copier("first")
        kubelet.call(lambda: copier.stage(Stage.COMPLETED))
        kubelet.end(copier, 0, words(copier.report))
        kubelet.copier("second")


@pytest.mark.usefixtures("operator")
def test_a_ferry_with_reconciliation_disabled(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/reconcile": "disabled"}}})
    cluster.patch("orders", paused=True)
    seen_to(cluster, kubelet, "later")
    assert not copier.directives[-1].paused
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/reconcile": None}}})
    wait_until(lambda: copier.directives[-1].paused)


@pytest.mark.usefixtures("operator")
def test_a_copier_with_a_foreign_certificate_is_not_trusted(
    cluster: Cluster, kubelet: Kubelet, caplog: pytest.LogCaptureFixture
) -> None:
    """Another Ferry's address, for example, after its Pod has gone."""
    running(cluster, kubelet)
    cluster.apply("other", **SPEC)
    other = kubelet.copier("other")
    kubelet.call(lambda: other.stage(Stage.STREAMING))
    wait_until(lambda: cluster.status("other").get("stage") == "Streaming")
    pod_ip = {"podIP": other.address, "podIPs": [{"ip": other.address}]}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/orders-copier/status"
    cluster.api.request("PATCH", path, {"status": pod_ip}, content_type="application/merge-patch+json")
    wait_until(lambda: "certificate is not valid for" in caplog.text)
    assert cluster.status("orders")["stage"] == "Copying"


@pytest.mark.usefixtures("operator")
def test_pods_that_only_look_like_ours_change_nothing(
    cluster: Cluster, kubelet: Kubelet, caplog: pytest.LogCaptureFixture
) -> None:
    running(cluster, kubelet)
    pod = cluster.pod("orders-copier")
    assert pod is not None
    labels = pod["metadata"]["labels"]
    others = {"labelled": {"app.kubernetes.io/managed-by": "ferry-operator"}, "debugged": labels}
    for name, said in others.items():
        spec = {"containers": [{"name": "x", "image": "x"}]}
        cluster.api.request("POST", cluster.pods, {"metadata": {"name": name, "labels": said}, "spec": spec})
        done = {"phase": "Succeeded"}
        cluster.api.request(
            "PATCH", f"{cluster.pods}/{name}/status", {"status": done}, content_type="application/merge-patch+json"
        )
    cluster.delete_pod("orders-copier")
    wait_until(lambda: kubelet.started.count("orders-copier") == 2)
    copier = kubelet.copier("orders")
    cluster.patch("orders", paused=True)
    wait_until(lambda: copier.directives and copier.directives[-1].paused)
    assert cluster.status("orders")["copier"]["podName"] == "orders-copier"
    assert cluster.condition("orders", "Succeeded")["status"] == "Unknown"
    assert not [each for each in caplog.records if each.exc_info]


def test_an_operator_whose_user_has_no_name(
    cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nameless)
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace):
        running(cluster, kubelet)


@pytest.mark.usefixtures("operator", "hasty")
def test_a_name_that_another_pod_has_taken(cluster: Cluster, kubelet: Kubelet) -> None:
    spec = {"containers": [{"name": "x", "image": "x"}]}
    cluster.api.request("POST", cluster.pods, {"metadata": {"name": "orders-copier"}, "spec": spec})
    cluster.apply("orders")
    wait_until(lambda: cluster.condition("orders", "Stalled").get("reason") == "PodNameTaken")
    assert "Pod orders-copier exists and does not belong to this Ferry" in cluster.status("orders")["message"]
    cluster.delete_pod("orders-copier")
    kubelet.copier("orders")
    wait_until(lambda: cluster.condition("orders", "Stalled").get("status") == "False")


@pytest.mark.usefixtures("operator", "hasty")
def test_a_copier_that_answers_without_end(cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier_client, "_MOST_BYTES", 100)
    cluster.apply("orders")
    kubelet.copier("orders")
    wait_until(lambda: "its answer is longer than 100 bytes" in cluster.status("orders").get("message", ""))
    monkeypatch.undo()
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
