"""Names that the operator gives to objects in the cluster. They are API: an upgraded operator must find them again.

Called by most modules of this package.
"""

from enum import StrEnum
from typing import Any

from ferry_core.api.crd import GROUP, VERSION

Object = dict[str, Any]
"""An object as kube-apiserver writes it, of any kind."""

API_VERSION = f"{GROUP}/{VERSION}"
MANAGER = "ferry-operator"
FINALIZER = f"{GROUP}/operator"

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
APPLICATION = "app.kubernetes.io/name"
FERRY_NAME = f"{GROUP}/ferry"
FERRY_UID = f"{GROUP}/ferry-uid"
POD_SELECTOR = f"{MANAGED_BY}={MANAGER}"

# on Pods
DIGEST = f"{GROUP}/spec-digest"  # digest of what a running copier cannot be told: a change of it needs a new Pod
SECRET = f"{GROUP}/secret"  # the Secret with manifest, token and TLS pair that was made for this Pod
GENERATION = f"{GROUP}/generation"  # generation of the spec that the Pod was made from

# on Ferries, by users
RECONCILE = f"{GROUP}/reconcile"  # "disabled": the operator leaves the Ferry alone
SKIP_CLEANUP = f"{GROUP}/skip-cleanup"  # "true": delete without cleaning up on the databases

CONTROL_PORT = 8443
METRICS_PORT = 8080


class Role(StrEnum):
    """The purpose of one of our Pods."""

    COPIER = "copier"
    ABORT = "abort"
    CLEANUP = "cleanup"


def pod_name(ferry: str, role: Role) -> str:
    """Fixed, so that the API server refuses a second one, whoever creates it. At most 60 characters."""
    return f"{ferry}-{role}"


def full_name(body: Object) -> str:
    """Namespace and name, for logs."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"
