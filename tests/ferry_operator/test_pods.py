"""The copier's Pod: what is always in it, and what a user's template adds."""

import json
from typing import Any

from ferry_core.api.spec import Spec, Template
from ferry_operator import pods
from ferry_operator.names import COMPONENT, DIGEST, FERRY_NAME, Role
from tests.support.kubelet import SPEC

Object = dict[str, Any]
META = {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 4}
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
TEMPLATE: Object = {
    "metadata": {
        "labels": {"team": "shop", COMPONENT: "mine", FERRY_NAME: "another"},
        "annotations": {"sidecar.example/inject": "false", DIGEST: "0"},
    },
    "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}},
    "nodeSelector": {"disk": "fast"},
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "tolerations": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "tolerationSeconds": 30}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "env": [{"name": "TZ", "value": "UTC"}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/own"}],
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "copier",
    "priorityClassName": "high",
    "podSecurityContext": {"fsGroup": 70000},
}


def made(role: Role = Role.COPIER, **parts: Any) -> Object:
    spec = Spec.model_validate_json(json.dumps(SPEC | parts))
    return pods.pod(META, spec, role, "ferry:1", "orders-copier-abc", "0.0.0.0")


def test_all_of_the_template_is_merged_in() -> None:
    assert set(TEMPLATE) == {field.alias for field in Template.model_fields.values()}, (
        "each field of the template is tried here"
    )
    pod = made(copier={"template": TEMPLATE})
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    for name in (
        *("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"),
        *("imagePullSecrets", "serviceAccountName", "priorityClassName"),
    ):
        assert spec[name] == TEMPLATE[name], name
    assert container["env"] == TEMPLATE["env"]
    assert container["resources"] == TEMPLATE["resources"], "in place of the defaults"
    assert spec["securityContext"] == RESTRICTED | {"fsGroup": 70000}
    assert spec["volumes"] == made()["spec"]["volumes"] + TEMPLATE["volumes"]
    assert container["volumeMounts"] == made()["spec"]["containers"][0]["volumeMounts"] + TEMPLATE["volumeMounts"]
    meta, plain = pod["metadata"], made()["metadata"]
    assert meta["labels"] == plain["labels"] | {"team": "shop"}, "by ours the Pod is found again"
    assert meta["annotations"]["sidecar.example/inject"] == "false"
    assert meta["annotations"][DIGEST] not in ("0", plain["annotations"][DIGEST]), "a changed template needs a new Pod"
    assert spec["automountServiceAccountToken"] is False, "whichever the account"


def test_the_defaults_of_the_cluster_are_under_a_ferrys_own_template() -> None:
    cluster = {
        "metadata": {"labels": {"team": "platform", "cost": "db"}},
        "nodeSelector": {"zone": "a"},
        "priorityClassName": "low",
        "podSecurityContext": {"runAsNonRoot": True},
    }
    defaults = Template.model_validate(cluster)
    spec = Spec.model_validate_json(json.dumps(SPEC | {"copier": {"template": TEMPLATE}}))
    for role in Role:
        pod = pods.pod(META, spec, role, "ferry:1", "orders-copier-abc", "0.0.0.0", defaults=defaults)
        assert pod["metadata"]["labels"].items() >= {"team": "shop", "cost": "db"}.items()
        assert pod["metadata"]["annotations"] == made(role, copier={"template": TEMPLATE})["metadata"]["annotations"]
        assert pod["spec"]["nodeSelector"] == TEMPLATE["nodeSelector"]
        assert pod["spec"]["priorityClassName"] == "high"
        assert pod["spec"]["securityContext"] == {"runAsNonRoot": True, "fsGroup": 70000}
    bare = pods.pod(META, spec, Role.ABORT, "ferry:1", "x", "0.0.0.0", defaults=defaults, bare=True)["spec"]
    assert (bare["priorityClassName"], bare["securityContext"]) == ("low", {"runAsNonRoot": True})
    assert bare["imagePullSecrets"] == TEMPLATE["imagePullSecrets"]


def test_a_ferry_can_leave_its_ids_to_the_cluster() -> None:
    """OpenShift refuses Pods that name a user id."""
    ids = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    security = made(copier={"template": {"podSecurityContext": ids}})["spec"]["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_without_a_template_it_is_restricted() -> None:
    spec = made()["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == RESTRICTED
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert "serviceAccountName" not in spec
    assert container["env"] == []
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}}


def test_the_copier_has_time_for_a_checkpoint_and_is_restarted_in_place() -> None:
    spec = made()["spec"]
    assert spec["restartPolicy"] == "OnFailure"
    assert spec["terminationGracePeriodSeconds"] == 60


def test_its_probes_use_its_control_server() -> None:
    (container,) = made()["spec"]["containers"]
    assert container["ports"] == [
        {"name": "control", "containerPort": 8443},
        {"name": "metrics", "containerPort": 8080},
    ]
    liveness, readiness = container["livenessProbe"], container["readinessProbe"]
    assert liveness["httpGet"] == {"path": "/healthz", "port": "control", "scheme": "HTTPS"}
    assert readiness["httpGet"] == {"path": "/readyz", "port": "control", "scheme": "HTTPS"}
    assert liveness["periodSeconds"] * liveness["failureThreshold"] == 60
    assert liveness["terminationGracePeriodSeconds"] == 10, "a copier that hangs ignores SIGTERM"
    assert "terminationGracePeriodSeconds" not in readiness


def test_pods_of_abort_and_cleanup_serve_nothing() -> None:
    for role in (Role.ABORT, Role.CLEANUP):
        (container,) = made(role)["spec"]["containers"]
        assert container["args"][0] == role.value
        assert not {"ports", "livenessProbe", "readinessProbe"} & set(container)


def test_pods_of_abort_and_cleanup_use_the_part_of_the_template_that_lets_them_run() -> None:
    """A volume of a Secret that does not exist would keep a source locked."""
    for role in (Role.ABORT, Role.CLEANUP):
        pod = made(role, copier={"template": TEMPLATE})
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        for name in ("nodeSelector", "affinity", "tolerations", "imagePullSecrets", "serviceAccountName"):
            assert spec[name] == TEMPLATE[name], name
        assert pod["metadata"]["labels"]["team"] == "shop"
        assert container["resources"] == TEMPLATE["resources"]
        assert spec["volumes"] == made(role)["spec"]["volumes"]
        assert container["volumeMounts"] == made(role)["spec"]["containers"][0]["volumeMounts"]
        assert "topologySpreadConstraints" not in spec
        assert container["env"] == []


def test_an_abort_does_without_the_volume_that_the_copiers_node_may_hold() -> None:
    """A claim that only one node may mount would keep it from starting for as long as that node is unreachable."""
    store = {"store": "Volume", "claimName": "state"}
    for role in Role:
        spec = made(role, checkpoint=store)["spec"]
        (container,) = spec["containers"]
        has = role is not Role.ABORT
        assert ("--state" in container["args"]) is has
        assert any(each["name"] == "state" for each in spec["volumes"]) is has
        assert any(each["name"] == "state" for each in container["volumeMounts"]) is has


def test_secrets_of_replicas_and_of_a_primary_are_mounted() -> None:
    own = {"credentialsSecretRef": {"name": "watcher"}, "tls": {"secretRef": {"name": "replica-ca"}}}
    other = {"credentialsSecretRef": {"name": "locker"}, "tls": {"secretRef": {"name": "primary-ca"}}}
    beside = {"replicas": [{"host": "r1"}, {"host": "r2"} | own]}
    spec = made(source=SPEC["source"] | beside | {"primary": {"host": "p"} | other})["spec"]
    users = [volume for volume in spec["volumes"] if volume["name"].startswith("secret-")]
    named = [volume["secret"]["secretName"] for volume in users]
    assert named == ["old", "watcher", "locker", "replica-ca", "primary-ca", "new"]


def test_each_secret_is_mounted_once_as_a_folder_that_follows_its_changes() -> None:
    tls = {"mode": "VerifyIdentity", "secretRef": {"name": "ca"}}
    spec = made(source=SPEC["source"] | {"tls": tls}, target=SPEC["target"] | {"tls": tls})["spec"]
    (container,) = spec["containers"]
    users = [volume for volume in spec["volumes"] if volume["name"].startswith("secret-")]
    assert [volume["secret"]["secretName"] for volume in users] == ["old", "ca", "new"]
    assert all(volume["secret"]["optional"] and volume["secret"]["defaultMode"] == 0o440 for volume in users)
    places = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert [places[volume["name"]] for volume in users] == [
        {"name": volume["name"], "mountPath": f"/etc/ferry/secrets/{volume['secret']['secretName']}", "readOnly": True}
        for volume in users
    ], "without subPath, which would not follow a changed Secret"
    assert places["copier"] == {"name": "copier", "mountPath": "/etc/ferry/copier", "readOnly": True}
    assert spec["volumes"][0]["secret"] == {"secretName": "orders-copier-abc", "defaultMode": 0o440}, "never optional"
    assert set(places) == {volume["name"] for volume in spec["volumes"]}
