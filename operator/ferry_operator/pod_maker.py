"""Creates Pods and their Secrets for one Ferry. Called by ``act``."""

import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ferry_core.api.spec import Spec
from ferry_core.reasons import Reason
from ferry_operator import pods
from ferry_operator.identity import Identity
from ferry_operator.kube import Kube, KubeError
from ferry_operator.names import Object, Role, pod_name
from ferry_operator.object_memory import drop_managed_fields
from ferry_operator.observe import PodView, Refusal
from ferry_operator.round_state import RoundState
from ferry_operator.settings import Settings

log = logging.getLogger(__name__)

_NAME_TAKEN = timedelta(seconds=10)
"""How long a Pod's name may be taken before the Ferry reports it."""


@dataclass(frozen=True)
class PodMaker:
    """Shared by all Ferries. Refusals of the cluster go to the Ferry's state; other errors are raised."""

    kube: Kube
    identity: Identity
    settings: Settings

    async def create(self, meta: Object, spec: Spec, role: Role, state: RoundState) -> None:
        """The Pod, then its Secret, which the Pod owns."""
        secret_name = f"{pod_name(meta['name'], role)}-{secrets.token_hex(4)}"
        try:
            made = drop_managed_fields(await self._create_pod(meta, spec, role, secret_name))["metadata"]
            await self._create_secret(meta, spec, secret_name, made, state, fresh=True)
            state.refusal = state.taken_since = None
            log.info("%s/%s: created Pod %s", meta["namespace"], meta["name"], made["name"])
        except KubeError as error:
            if error.exists:
                self._name_taken(meta, pod_name(meta["name"], role), state)
            else:
                self._record_refusal(error, meta, state)

    async def ensure_secret(self, meta: Object, spec: Spec, pod: PodView, state: RoundState) -> None:
        """Of a Pod that has not started: the operator may have been killed after it created the Pod."""
        if state.secret_known(pod.uid):
            return
        try:
            await self._create_secret(meta, spec, pod.secret, {"name": pod.name, "uid": pod.uid}, state)
            state.refusal = None
        except KubeError as error:
            self._record_refusal(error, meta, state)

    async def _create_pod(self, meta: Object, spec: Spec, role: Role, secret_name: str) -> Object:
        async def create(*, bare: bool) -> Object:
            image, listen = self.settings.image, self.settings.copier_listen
            defaults = self.settings.copier_template
            pod = pods.pod(meta, spec, role, image, secret_name, listen, defaults=defaults, bare=bare)
            return await self.kube.create_pod(meta["namespace"], pod)

        try:
            return await create(bare=False)
        except KubeError as error:
            if role is Role.COPIER or not error.refused:
                raise
            return await create(bare=True)

    def _name_taken(self, meta: Object, name: str, state: RoundState) -> None:
        """By our own Pod that the watch has not returned yet, by an earlier Ferry's that is ending, or by a stranger's.

        Only the last case is reported: it lasts.
        """
        now = datetime.now(UTC)
        state.taken_since = state.taken_since or now
        if now - state.taken_since > _NAME_TAKEN:
            message = f"Pod {name} exists and does not belong to this Ferry: delete it, or rename the Ferry"
            state.refusal = Refusal(Reason.POD_NAME_TAKEN, message, now, meta["generation"])

    async def _create_secret(
        self, meta: Object, spec: Spec, name: str, pod: Object, state: RoundState, *, fresh: bool = False
    ) -> None:
        uid = meta["uid"]
        made = pods.secret(meta, spec, name, pod, self.identity.token(uid), self.identity.tls_pair(uid))
        try:
            await self.kube.create_secret(meta["namespace"], made)
        except KubeError as error:
            if not error.exists:
                raise
            if fresh:
                # Nobody else knew the name: another Secret of that name could send the databases' passwords elsewhere.
                where = f"{meta['namespace']}/{meta['name']}"
                log.warning("%s: Secret %s already existed; deleting Pod %s", where, name, pod["name"])
                await self.kube.delete_pod(meta["namespace"], pod["name"], pod["uid"])
                return
        state.secret_of, state.secret_at = pod["uid"], time.monotonic()

    def _record_refusal(self, error: KubeError, meta: Object, state: RoundState) -> None:
        """A refusal by a rule of the cluster is observed in the next round; the caller retries other errors."""
        if error.namespace_ending:
            state.namespace_ending = True
        elif not error.refused:
            raise error
        reason = Reason.NAMESPACE_TERMINATING if error.namespace_ending else Reason.POD_REFUSED
        state.refusal = Refusal(reason, error.message, datetime.now(UTC), meta["generation"])
