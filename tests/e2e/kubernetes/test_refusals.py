"""What is refused on a whole cluster: by kube-apiserver a Ferry that contradicts itself, a change of what is fixed, and
a Pod that a policy does not let in; by the copier what it cannot do. Each says what to do, and doing it is enough.
"""

import json
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import Embark
from tests.support.voyage import COPIER, FERRY, Voyage

pytestmark = pytest.mark.timeout(600)
SLOW = {"maxRowsPerSecond": 1000}


def refused(voyage: Voyage, spec: dict[str, Any]) -> str:
    """What kubectl prints where the API server does not take this change of the Ferry."""
    line = (f"--namespace={voyage.namespace}", "patch", "ferry", FERRY, "--type=merge", "-p")
    done = voyage.cluster.kubectl(*line, json.dumps({"spec": spec}), check=False)
    assert done.returncode != 0, f"it was taken: {spec}"
    print(done.stderr.strip())
    return done.stderr


def test_a_change_that_cannot_be_is_refused_and_the_copier_goes_on(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    with voyage.crew():
        with pytest.raises(AssertionError, match="mode Scheduled needs notBefore"):
            voyage.set_out(throttle=SLOW, cutover={"mode": "Scheduled"})
        assert voyage.ferry(FERRY) is None
        voyage.set_out(throttle=SLOW)
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        assert "cannot change once the Ferry is validated" in refused(voyage, {"source": {"host": "other.example"}})
        assert "cannot change once the Ferry is validated" in refused(voyage, {"tables": {"include": ["other.*"]}})
        assert "acknowledge: [Unverified]" in refused(voyage, {"verify": {"mode": "None"}})
        assert "must be from 1s to 10m" in refused(voyage, {"cutover": {"deadline": "1h"}})
        copied = voyage.target_rows
        voyage.until(lambda: voyage.target_rows > copied, "rows go on")
        voyage.change(throttle={"maxRowsPerSecond": None}, cutover={"deadline": "1m"})
        voyage.cross()
    assert (voyage.epoch, voyage.restarts) == (1, 0)
    voyage.assert_equal()
    assert "cut over" in refused(voyage, {"aborted": True})


def test_a_spec_that_the_copier_refuses_takes_its_approval_back_all_the_same(embark: Embark) -> None:
    voyage = embark(rows=5000)
    with voyage.crew():
        voyage.set_out(throttle={"maxRowsPerSecond": 500}, cutover={"approved": True})
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        voyage.change(cutover={"approved": False, "notAfter": "2020-01-01T00:00:00Z"})
        voyage.until_said(FERRY, "spec.cutover.notAfter", "obeys of it only a pause, a withdrawn permission")
        voyage.until_stage("ReadyForCutover")
        voyage.until(lambda: voyage.condition(FERRY, "CutOver")["reason"] == "AwaitingApproval", "it waits")
        assert not voyage.source_is_read_only()
        assert voyage.now["cutover"]["attempts"] == 0
        voyage.change(cutover={"notAfter": None})
        voyage.cross()
    assert (voyage.epoch, voyage.restarts) == (1, 0)
    voyage.assert_equal()


def test_a_policy_that_refuses_the_pod_is_told_and_obeyed(embark: Embark) -> None:
    voyage = embark(odd=0)
    apply_policy(voyage, f"{voyage.namespace}-teams")
    try:
        voyage.set_out()
        voyage.until_said(FERRY, "the copier's Pod cannot be made", "each Pod has to name its team")
        assert voyage.is_true("Stalled")
        assert voyage.pod(COPIER) is None
        voyage.change(copier={"template": {"metadata": {"labels": {"team": "shop"}}}})
        voyage.until_stage("ReadyForCutover")
        assert not voyage.is_true("Stalled")
        voyage.kubectl("delete", "ferry", FERRY)  # its cleanup is a Pod too
        only_the_users = ["secret/source", "secret/target"]
        voyage.until(lambda: voyage.own_objects() == only_the_users, "only the user's Secrets are left")
    finally:
        remove = ("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding")
        voyage.cluster.kubectl(*remove, f"{voyage.namespace}-teams")


def apply_policy(voyage: Voyage, name: str) -> None:
    """Every Pod of the namespace needs a label ``team``; returns once that is enforced."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    check = {"expression": "'team' in object.metadata.?labels.orValue({})", "message": "each Pod has to name its team"}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": voyage.namespace}}}
    policy = {"matchConstraints": {"resourceRules": [pods]}, "validations": [check]}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        voyage.kubectl("apply", "-f", "-", given=api | {"kind": kind, "spec": spec})
    probe = ("run", "probe", "--image=none", "--dry-run=server", f"--namespace={voyage.namespace}")
    voyage.until(lambda: "name its team" in voyage.cluster.kubectl(*probe, check=False).stderr, "it is enforced")
