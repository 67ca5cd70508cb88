"""A kube-apiserver that checks every permission and has an audit log, with the chart's roles."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ferry_operator.permissions import Permission
from hack.chart import render
from tests.support.kube_api import KubeApi
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

Object = dict[str, Any]
Grant = tuple[str, Permission]
"""A permission and the namespace that it is for; "" for all of them."""

_RBAC = "rbac.authorization.k8s.io/v1"


class StrictApi(KubeApi):
    """With the admission plugin that protects owner references, which some distributions enable, and with an audit
    log.
    """

    def __init__(self, folder: Path) -> None:
        policy, self._log = folder / "audit.yaml", folder / "audit.log"
        rules = {"rules": [{"level": "Metadata"}], "omitStages": ["RequestReceived"]}
        policy.write_text(yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy"} | rules))
        super().__init__(
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._log}",
        )

    def asked(self, user: str) -> Iterator[tuple[str, Permission, int]]:
        """Namespace, verb and HTTP status of every request of ``user``."""
        for line in self._log.read_text().splitlines():
            said = json.loads(line)
            ref = said.get("objectRef", {})
            if said["user"]["username"] == user and "responseStatus" in said and "resource" in ref:
                resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
                verb = Permission(said["verb"], resource, ref.get("apiGroup", ""))
                yield ref.get("namespace", ""), verb, said["responseStatus"]["code"]


@pytest.fixture(scope="module")
def strict_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictApi]:
    api = StrictApi(tmp_path_factory.mktemp("audit"))
    try:
        api.start()
        api.install_crd()
        _wait_for_owners(api)
        yield api
    finally:
        api.stop()


def _wait_for_owners(api: KubeApi) -> None:
    """The admission plugin discovers new kinds every 10 s; until then it refuses everybody's owner references."""
    owner = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "name": "x", "uid": "x"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}]},
        "spec": {"containers": [{"name": "x", "image": "x"}]},
    }
    line = ("create", "--dry-run=server", "--namespace=default", "-f", "-")
    wait_until(lambda: api.kubectl(*line, given=pod, check=False).returncode == 0)


class Account:
    """The ServiceAccount of the chart with exactly the chart's roles, and the objects that the operator runs with."""

    def __init__(self, api: KubeApi, namespace: str, served: tuple[str, ...] = ()) -> None:
        self._api = api
        self.namespace = namespace
        self.served = served
        objects = render("--namespace", namespace, "--set-json", f"watchNamespaces={json.dumps(served)}")
        self._roles = [each for each in objects if each["apiVersion"] == _RBAC]
        accounts = [each for each in objects if each["kind"] == "ServiceAccount"]
        self._apply(*self._roles, *accounts)
        name = accounts[0]["metadata"]["name"]
        self.user = f"system:serviceaccount:{namespace}:{name}"
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        self.kubeconfig = api.write_kubeconfig(f"of-{namespace}", api.request("POST", path, asked)["status"]["token"])
        pod = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]["spec"]
        self._variables = {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}

    def operator(self, **how: Any) -> OperatorThread:
        """The real operator with this account, configured like the chart's Deployment."""
        assert self._variables["FERRY_WATCH_NAMESPACES"] == ",".join(self.served)
        return OperatorThread(self.kubeconfig, self.namespace, watch_namespaces=self.served, **how)

    def grants(self) -> set[Grant]:
        """All permissions in the operator's own roles."""
        return {
            (role["metadata"].get("namespace", ""), Permission(verb, resource, group, name))
            for role in self._operators()
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames", [""])
            for verb in rule["verbs"]
        }

    def take(self, permission: Permission, namespace: str = "") -> None:
        """Remove a permission from the roles, or from those of one namespace; returns once the API server applies
        that.
        """
        roles = [each for each in self._operators() if namespace in ("", each["metadata"].get("namespace"))]
        self._apply(*(_less(role, permission) for role in roles))
        wait_until(lambda: not self._may(permission, namespace or self.namespace))

    def lose(self, namespace: str) -> None:
        """Remove all permissions in this namespace, as when the namespace is deleted."""
        self._api.kubectl("delete", "role", "--all", f"--namespace={namespace}")

    def give_back(self) -> None:
        """Restore the chart's roles."""
        self._apply(*self._operators())

    def _may(self, permission: Permission, namespace: str) -> bool:
        kind, _, part = permission.resource.partition("/")
        wanted = {"verb": permission.verb, "group": permission.group, "resource": kind, "subresource": part}
        where = {"namespace": namespace, "name": permission.name}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        spec = {"user": self.user, "resourceAttributes": wanted | where}
        return bool(self._api.request("POST", path, review | {"spec": spec})["status"]["allowed"])

    def _operators(self) -> list[Object]:
        return [each for each in self._roles if "rules" in each and "aggregate" not in str(each["metadata"]["labels"])]

    def _apply(self, *objects: Object) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self._api.kubectl("apply", "-f", "-", given=listed)


def _less(role: Object, permission: Permission) -> Object:
    def kept(rule: Object) -> Object:
        here = permission.group in rule["apiGroups"] and permission.resource in rule["resources"]
        if not here or rule.get("resourceNames", [""]) != [permission.name]:
            return rule
        return rule | {"verbs": [verb for verb in rule["verbs"] if verb != permission.verb]}

    return role | {"rules": [rule for rule in map(kept, role["rules"]) if rule["verbs"]]}
