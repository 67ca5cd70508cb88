"""Builds the operator's Pods, the Secret of each, and the digest that tells when a Pod must be replaced.

Pure: returns dictionaries. A copier holds database passwords, so by default it gets nothing else: no ServiceAccount
token, no capability, no writable root. Called by ``observe`` (digest) and ``pod_maker``.
"""

import hashlib
import json
from typing import TYPE_CHECKING

import yaml

from ferry_core.api.choices import CheckpointStore
from ferry_core.api.crd import KIND
from ferry_core.api.directive import TOLD
from ferry_core.api.spec import Spec, Template, TemplateMetadata, token_refs
from ferry_operator.names import (
    API_VERSION,
    APPLICATION,
    COMPONENT,
    CONTROL_PORT,
    DIGEST,
    FERRY_NAME,
    FERRY_UID,
    GENERATION,
    MANAGED_BY,
    MANAGER,
    METRICS_PORT,
    SECRET,
    Object,
    Role,
    pod_name,
)

if TYPE_CHECKING:
    from ferry_core.api.servers import Primary, Replica

GRACE_SECONDS = 60
"""Time for a checkpoint and for unlocking the source; a healthy copier needs 5 s."""

_USER = 65532
_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_OWN = "/etc/ferry/copier"
_SECRETS = "/etc/ferry/secrets"
_RUN = "/run/ferry"
_STATE = "/var/lib/ferry"

# Parts of the directive that a copier applies only at its start, because preflight depends on them.
_BEGUN_WITH = {"cutover": {"source_lock", "webhooks"}, "verify": {"mode"}}
# Fields that the copier does not use: a change needs no new Pod.
_LATER = {"deletion_policy", "ttl_seconds_after_finished"}


def digest(spec: Spec, role: Role) -> str:
    """Digest of everything whose change needs a new Pod. Defaults are left out, so that a new field does not change it.

    ``ferry abort`` and ``ferry cleanup`` receive no directives, so their digest covers the whole manifest.
    """
    copies = role is Role.COPIER
    excluded = {*TOLD} | _LATER if copies else set()
    document = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=excluded)
    for field, part in _BEGUN_WITH.items() if copies else ():
        if begun_with := getattr(spec, field).model_dump(mode="json", include=part, exclude_defaults=True):
            document[field] = begun_with
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def manifest(meta: Object, spec: Spec) -> str:
    """The Ferry as its copier reads it, with generation 0: the first directive is newer."""
    document = spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"copier", "ttl_seconds_after_finished"}
    )
    # A restarted copier may not cut over until it receives a directive.
    document["cutover"]["approved"] = False
    document["aborted"] = False
    document["copier"] = {"logLevel": spec.copier.log_level.value}
    identity = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"], "generation": 0}
    text = yaml.safe_dump(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": identity, "spec": document}, sort_keys=False
    )
    return str(text)


def secret(meta: Object, spec: Spec, name: str, pod: Object, token: str, tls: tuple[str, str]) -> Object:
    """What one Pod reads at its start. The Pod owns it, so Kubernetes deletes it with the Pod."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": _labels(meta, Role.COPIER), "ownerReferences": [owner]},
        "type": "Opaque",
        "immutable": True,
        "stringData": {
            "ferry.yaml": manifest(meta, spec),
            "token": token,
            "tls.crt": tls[0],
            "tls.key": tls[1],
        },
    }


def pod(
    meta: Object,
    spec: Spec,
    role: Role,
    image: str,
    secret_name: str,
    listen: str,
    *,
    defaults: Template = Template(),  # noqa: B008 - frozen
    bare: bool = False,
) -> Object:
    """The Pod of ``role`` for this Ferry. ``bare``: with as little of the user's template as possible.

    ``defaults`` are the cluster's. They are no part of the digest: a change does not end running copiers.
    """
    template = _template(spec, role, defaults, bare=bare)
    own = template.metadata
    annotations = {DIGEST: digest(spec, role), GENERATION: str(meta["generation"]), SECRET: secret_name}
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(meta["name"], role),
            # Ours take precedence: the operator finds its Pods by them.
            "labels": own.labels | _labels(meta, role),
            "annotations": own.annotations | annotations,
            "ownerReferences": [owner],
        },
        "spec": _pod_spec(meta, spec, role, template, image, secret_name, listen),
    }


def _template(spec: Spec, role: Role, defaults: Template, *, bare: bool) -> Template:
    """Abort and cleanup leave out what only a copier needs: an abort must not fail because of a volume."""
    users = spec.copier.template
    if bare:
        users = Template(image_pull_secrets=users.image_pull_secrets)
    merged = _merged(users, defaults)
    copiers: Object = {"env": [], "volumes": [], "volume_mounts": [], "topology_spread_constraints": []}
    return merged if role is Role.COPIER else merged.model_copy(update=copiers)


def _merged(users: Template, defaults: Template) -> Template:
    """Each field that the Ferry's own template gives replaces the default; labels and the like are merged.

    In a security context null removes an entry: OpenShift chooses user ids itself and refuses Pods that name one.
    """
    security = defaults.pod_security_context if "pod_security_context" in defaults.model_fields_set else _SECURITY
    given = {name: value for name, value in users if value}
    merged: Object = {
        "metadata": TemplateMetadata(
            labels=defaults.metadata.labels | users.metadata.labels,
            annotations=defaults.metadata.annotations | users.metadata.annotations,
        ),
        "pod_security_context": {
            name: value for name, value in (security | users.pod_security_context).items() if value is not None
        },
    }
    return defaults.model_copy(update=given | merged)


def _labels(meta: Object, role: Role) -> dict[str, str]:
    return {
        MANAGED_BY: MANAGER,
        APPLICATION: "mysql-ferry",
        COMPONENT: role.value,
        FERRY_NAME: meta["name"],
        FERRY_UID: meta["uid"],
    }


def _pod_spec(
    meta: Object, spec: Spec, role: Role, template: Template, image: str, secret_name: str, listen: str
) -> Object:
    optional = {
        "nodeSelector": template.node_selector,
        "affinity": template.affinity,
        "tolerations": template.tolerations,
        "topologySpreadConstraints": template.topology_spread_constraints,
        "imagePullSecrets": template.image_pull_secrets,
        "serviceAccountName": template.service_account_name,
        "priorityClassName": template.priority_class_name,
    }
    return {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": dict(template.pod_security_context),
        "containers": [_container(meta, spec, role, template, image, listen)],
        "volumes": _volumes(spec, role, secret_name) + list(template.volumes),
        **{name: value for name, value in optional.items() if value},
    }


def _container(meta: Object, spec: Spec, role: Role, template: Template, image: str, listen: str) -> Object:
    requests = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    container: Object = {
        "name": role.value,
        "image": spec.copier.image or image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["ferry"],
        "args": _arguments(meta, spec, role, listen),
        "env": list(template.env),
        "resources": dict(template.resources) or requests,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # If a process could not write its termination message, the end of its log is used.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(spec, role) + list(template.volume_mounts),
    }
    return container | (_probed() if role is Role.COPIER else {})


def _arguments(meta: Object, spec: Spec, role: Role, listen: str) -> list[str]:
    arguments = [role.value, "-f", f"{_OWN}/ferry.yaml", "--secrets-dir", _SECRETS]
    arguments += ["--termination-log", "/dev/termination-log"]
    if _has_state(spec, role):
        arguments += ["--state", f"{_STATE}/{meta['uid']}.db"]  # other Ferries may use the same claim
    if role is not Role.COPIER:
        return arguments
    return [
        *arguments,
        *("--listen", f"{listen}:{CONTROL_PORT}"),
        *("--token-file", f"{_OWN}/token"),
        *("--tls-dir", _OWN),
        *("--metrics-listen", f"{listen}:{METRICS_PORT}"),
        *("--directive-file", f"{_RUN}/directive.json"),
    ]


def _probed() -> Object:
    def get(path: str) -> Object:
        return {"httpGet": {"path": path, "port": "control", "scheme": "HTTPS"}, "timeoutSeconds": 5}

    return {
        "ports": [
            {"name": "control", "containerPort": CONTROL_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        # A copier that hangs ignores SIGTERM and would delay its successor by the whole grace period.
        "livenessProbe": get("/healthz")
        | {"initialDelaySeconds": 10, "periodSeconds": 10, "failureThreshold": 6, "terminationGracePeriodSeconds": 10},
        "readinessProbe": get("/readyz") | {"periodSeconds": 5},
    }


def _credentials(spec: Spec) -> list[str]:
    """Names of the user's Secrets, without duplicates."""
    names: dict[str, None] = {}
    beside: list[Replica | Primary] = [*spec.source.replicas]
    if spec.source.primary is not None:
        beside.append(spec.source.primary)
    for server, others in ((spec.source, beside), (spec.target, spec.target.replicas)):
        credentials = [server.credentials_secret_ref, *(one.credentials_secret_ref for one in others)]
        certificates = [tls.secret_ref for tls in (server.tls, *(one.tls for one in others)) if tls is not None]
        names |= {ref.name: None for ref in (*credentials, *certificates) if ref is not None}
    names |= {ref.name: None for ref in token_refs(spec)}
    return list(names)


def _has_state(spec: Spec, role: Role) -> bool:
    """An abort needs no state, and a lost node may still hold the claim."""
    return spec.checkpoint.store is CheckpointStore.VOLUME and role is not Role.ABORT


def _volumes(spec: Spec, role: Role, secret_name: str) -> list[Object]:
    # Optional: the copier reports which Secret or key is missing, and reads it once it exists.
    mode = 0o440
    users = [
        {"name": f"secret-{number}", "secret": {"secretName": name, "optional": True, "defaultMode": mode}}
        for number, name in enumerate(_credentials(spec))
    ]
    volumes: list[Object] = [
        {"name": "copier", "secret": {"secretName": secret_name, "defaultMode": mode}},
        {"name": "run", "emptyDir": {"sizeLimit": "16Mi"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if _has_state(spec, role):
        volumes.append({"name": "state", "persistentVolumeClaim": {"claimName": spec.checkpoint.claim_name}})
    return volumes + users


def _mounts(spec: Spec, role: Role) -> list[Object]:
    mounts: list[Object] = [
        {"name": "copier", "mountPath": _OWN, "readOnly": True},
        {"name": "run", "mountPath": _RUN},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
    ]
    if _has_state(spec, role):
        mounts.append({"name": "state", "mountPath": _STATE})
    # Never subPath: such a mount is not updated when the Secret changes.
    return mounts + [
        {"name": f"secret-{number}", "mountPath": f"{_SECRETS}/{name}", "readOnly": True}
        for number, name in enumerate(_credentials(spec))
    ]
