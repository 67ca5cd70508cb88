"""The admission policy: users who may change Ferries but not create Pods cannot choose what runs with which Secrets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hack.chart import render
from tests.chart.conftest import StrictApi
from tests.ferry_operator.conftest import CUT_CONNECTIONS
from tests.support.kubelet import SPEC
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io/v1"
_HOOK: Object = {"url": "https://mine.example", "tokenSecretRef": {"name": "others"}}
CHOICES: dict[str, Object] = {
    "image": {"copier": {"image": "evil:1"}},
    "volumes": {"copier": {"template": {"volumes": [{"name": "x", "secret": {"secretName": "others"}}]}}},
    "secret": {"source": {"credentialsSecretRef": {"name": "others"}}},
    "key": {"target": {"credentialsSecretRef": {"passwordKey": "token"}}},
    "host": {"target": {"host": "mine.example"}},
    "tls": {"source": {"tls": {"mode": "Disabled"}}},
    "webhook": {"cutover": {"sourceLock": "Webhook", "webhooks": {"lock": _HOOK, "unlock": _HOOK}}},
    "public key": {"source": {"tls": {"allowPublicKeyRetrieval": True}}},
    "query": {"throttle": {"query": "SELECT SLEEP(600)"}},
    "notification": {"notifications": [{"url": "https://mine.example", "tokenSecretRef": {"name": "others"}}]},
}

RISKS: dict[str, Object] = {
    "tables": {"tables": {"include": ["everything.*"]}},
    "verify": {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]},
    "acknowledge": {"acknowledge": ["Unverified"]},
    "lock": {"cutover": {"sourceLock": "None"}},
    "drop": {"deletionPolicy": "DropTarget"},
    "end": {"ttlSecondsAfterFinished": 0},
}


class PolicyNamespace:
    """A namespace with one Ferry, the chart's policy, and ``kubectl`` as a user with a role of some verbs."""

    def __init__(self, api: StrictApi) -> None:
        self._api = api
        self.namespace = api.make_namespace("team")
        self._kubectl("apply", "-f", "-", given=self._ferry("orders"))

    def grant(self, user: str, verbs: list[str], resource: str, group: str) -> None:
        meta = {"name": f"{user}-{resource}", "namespace": self.namespace}
        role: Object = {"apiVersion": _RBAC, "kind": "Role", "metadata": meta}
        role["rules"] = [{"apiGroups": [group], "resources": [resource], "verbs": verbs}]
        binding: Object = {"apiVersion": _RBAC, "kind": "RoleBinding", "metadata": meta}
        binding["subjects"] = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
        binding["roleRef"] = {"kind": "Role", "name": meta["name"], "apiGroup": "rbac.authorization.k8s.io"}
        self._kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": [role, binding]})
        ask = ("auth", "can-i", verbs[-1], f"{resource}.{group}".rstrip("."))
        wait_until(lambda: self._kubectl(*ask, user=user, check=False)[0])

    def patch(self, user: str, spec: Object) -> tuple[bool, str]:
        """Whether it was accepted, and kubectl's output; nothing is stored."""
        line = ("patch", "ferry", "orders", "--type=merge", "--dry-run=server", "-p", json.dumps({"spec": spec}))
        return self._kubectl(*line, user=user, check=False)

    def create(self, user: str, name: str) -> tuple[bool, str]:
        line = ("create", "--dry-run=server", "-f", "-")
        return self._kubectl(*line, user=user, given=self._ferry(name), check=False)

    def delete(self, user: str) -> tuple[bool, str]:
        return self._kubectl("delete", "ferry", "orders", "--dry-run=server", user=user, check=False)

    def _ferry(self, name: str) -> Object:
        return {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": {"name": name}, "spec": SPEC}

    def _kubectl(
        self, *line: str, user: str | None = None, given: object = None, check: bool = True
    ) -> tuple[bool, str]:
        who = (f"--as={user}",) if user else ()
        done = self._api.kubectl(f"--namespace={self.namespace}", *who, *line, given=given, check=check)
        return done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def team(strict_api: StrictApi) -> Iterator[PolicyNamespace]:
    made = [each for each in render() if each["kind"].startswith("ValidatingAdmissionPolicy")]
    assert [each["kind"] for each in made] == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    strict_api.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": made})
    team = PolicyNamespace(strict_api)
    team.grant("oncall", ["get", "create", "patch"], "ferries", "mysqlferry.io")
    team.grant("owner", ["get", "create", "patch"], "ferries", "mysqlferry.io")
    team.grant("owner", ["create"], "pods", "")
    wait_until(lambda: not team.patch("oncall", CHOICES["image"])[0])  # the policy is in force
    yield team
    strict_api.kubectl("delete", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": made})


@pytest.mark.parametrize("choice", CHOICES)
def test_an_account_that_cannot_create_pods_cannot_choose_what_they_run(team: PolicyNamespace, choice: str) -> None:
    taken, said = team.patch("oncall", CHOICES[choice])
    assert not taken
    assert "only who may create Pods in this namespace may create a Ferry or change these" in said
    taken, said = team.patch("owner", CHOICES[choice])
    assert taken, said


@pytest.mark.parametrize("risk", RISKS)
def test_an_account_that_cannot_create_pods_cannot_weaken_the_proof_or_drop_tables(
    team: PolicyNamespace, risk: str
) -> None:
    taken, said = team.patch("oncall", RISKS[risk])
    assert not taken
    assert "only who may create Pods in this namespace may change these" in said


def test_an_account_that_may_patch_can_do_everything_that_on_call_people_do(team: PolicyNamespace) -> None:
    for spec in (
        {"paused": True},
        {"throttle": {"maxRowsPerSecond": 10, "query": None}},
        {"cutover": {"approved": True, "maxAttempts": 9}},
        {"copy": {"workers": 1}},
        {"aborted": True},
    ):
        taken, said = team.patch("oncall", spec)
        assert taken, said


def test_only_an_account_that_may_create_pods_can_create_a_ferry(team: PolicyNamespace) -> None:
    taken, said = team.create("oncall", "new")
    assert not taken
    assert "only who may create Pods" in said
    taken, said = team.create("owner", "new")
    assert taken, said


def test_a_ferry_can_be_deleted_by_an_account_that_cannot_create_pods(team: PolicyNamespace) -> None:
    """kube-apiserver evaluates the policy itself: no operator runs here."""
    team.grant("cleaner", ["delete"], "ferries", "mysqlferry.io")
    taken, said = team.delete("cleaner")
    assert taken, said


def test_the_admission_policy_is_installed_with_the_crd_unless_disabled() -> None:
    for option in ("crds.enabled=false", "admissionPolicy.enabled=false"):
        assert not [each for each in render(f"--set={option}") if "Admission" in each["kind"]]
