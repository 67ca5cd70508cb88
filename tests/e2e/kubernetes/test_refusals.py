"""Refusals on a whole cluster, each with advice that is enough to fix it.

kube-apiserver refuses a Ferry that contradicts itself, a change of an immutable field, and a Pod that violates a
policy; the copier refuses what it does not support.
"""

import json
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, ClusterFerry

SLOW = {"maxRowsPerSecond": 1000}


def refused(ferry: ClusterFerry, spec: dict[str, Any]) -> str:
    """The output of kubectl when the API server refuses this change of the Ferry."""
    line = (f"--namespace={ferry.namespace}", "patch", "ferry", FERRY, "--type=merge", "-p")
    done = ferry.cluster.kubectl(*line, json.dumps({"spec": spec}), check=False)
    assert done.returncode != 0, f"it was taken: {spec}"
    print(done.stderr.strip())
    return done.stderr


def test_a_forbidden_change_is_refused_and_the_copier_continues(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    with ferry.writers():
        with pytest.raises(AssertionError, match="mode Scheduled needs notBefore"):
            ferry.create(throttle=SLOW, cutover={"mode": "Scheduled"})
        assert ferry.ferry(FERRY) is None
        ferry.create(throttle=SLOW)
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        assert "cannot change once the Ferry is validated" in refused(ferry, {"source": {"host": "other.example"}})
        assert "cannot change once the Ferry is validated" in refused(ferry, {"tables": {"include": ["other.*"]}})
        assert "acknowledge: [Unverified]" in refused(ferry, {"verify": {"mode": "None"}})
        assert "must be from 1s to 10m" in refused(ferry, {"cutover": {"deadline": "1h"}})
        copied = ferry.target_rows
        ferry.wait_until(lambda: ferry.target_rows > copied, "rows go on")
        ferry.patch_spec(throttle={"maxRowsPerSecond": None}, cutover={"deadline": "1m"})
        ferry.cut_over()
    assert (ferry.epoch, ferry.restarts) == (1, 0)
    ferry.assert_equal()
    assert "cut over" in refused(ferry, {"aborted": True})


def test_a_refused_spec_still_withdraws_the_approval(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=5000)
    with ferry.writers():
        ferry.create(throttle={"maxRowsPerSecond": 500}, cutover={"approved": True})
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.patch_spec(cutover={"approved": False}, throttle={"activeHours": "20:00-06:00 Mars/Base"})
        ferry.wait_for_message(
            FERRY, "throttle.activeHours", "it applies only a pause, an abort, or a withdrawn approval"
        )
        ferry.wait_for_stage("ReadyForCutover")
        ferry.wait_until(lambda: ferry.condition(FERRY, "CutOver")["reason"] == "AwaitingApproval", "it waits")
        assert not ferry.source_is_read_only()
        assert ferry.current_status["cutover"]["attempts"] == 0
        ferry.patch_spec(throttle={"activeHours": None})
        ferry.cut_over()
    assert (ferry.epoch, ferry.restarts) == (1, 0)
    ferry.assert_equal()


def test_a_policy_that_refuses_the_pod_is_reported_and_retried(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(odd=0)
    apply_policy(ferry, f"{ferry.namespace}-teams")
    try:
        ferry.create()
        ferry.wait_for_message(FERRY, "the copier's Pod cannot be created", "each Pod has to name its team")
        assert ferry.is_true("Stalled")
        assert ferry.pod(COPIER) is None
        ferry.patch_spec(copier={"template": {"metadata": {"labels": {"team": "shop"}}}})
        ferry.wait_for_stage("ReadyForCutover")
        assert not ferry.is_true("Stalled")
        ferry.kubectl("delete", "ferry", FERRY)  # its cleanup runs in a Pod too
        only_the_users = ["secret/source", "secret/target"]
        ferry.wait_until(lambda: ferry.own_objects() == only_the_users, "only the user's Secrets are left")
    finally:
        remove = ("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding")
        ferry.cluster.kubectl(*remove, f"{ferry.namespace}-teams")


def apply_policy(ferry: ClusterFerry, name: str) -> None:
    """Require a label ``team`` on every Pod of the namespace; returns once that is enforced."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    check = {"expression": "'team' in object.metadata.?labels.orValue({})", "message": "each Pod has to name its team"}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ferry.namespace}}}
    policy = {"matchConstraints": {"resourceRules": [pods]}, "validations": [check]}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        ferry.kubectl("apply", "-f", "-", given=api | {"kind": kind, "spec": spec})
    probe = ("run", "probe", "--image=none", "--dry-run=server", f"--namespace={ferry.namespace}")
    ferry.wait_until(lambda: "name its team" in ferry.cluster.kubectl(*probe, check=False).stderr, "it is enforced")
