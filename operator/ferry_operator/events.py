"""Posts Kubernetes Events about a Ferry. Called by ``act``.

An Event is never the only record: Events expire after an hour, and one that cannot be posted is only logged.
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ferry_operator.kube import Kube, KubeError
from ferry_operator.names import API_VERSION, MANAGER, Object, full_name

log = logging.getLogger(__name__)

_NOTE_BYTES = 1024
"""The API's limit; it counts bytes and refuses a longer note."""
_LEFT_OUT = " ... (whole in the status) ... "
_END_BYTES = 400
"""Kept of the end of a longer note: it says what to do."""


@dataclass(frozen=True)
class EventPoster:
    """Shared by all Ferries."""

    kube: Kube
    namespace: str
    """The operator's own."""

    async def post_refusal(self, ferry: Object, error: KubeError) -> None:
        """Report once what a rule of the cluster refuses."""
        if error.refused:
            await self.post_once(ferry, "Warning", error.reason or "Refused", error.message)

    async def post_once(self, ferry: Object, kind: str, reason: str, message: str, *, of: str = "") -> None:
        """However often it is called, while the Event exists: its name is derived from ``of``, or else the message."""
        suffix = hashlib.sha256(f"{ferry['metadata']['uid']} {of or message}".encode()).hexdigest()[:12]
        await self.post(ferry, kind, reason, message, suffix)

    async def post(self, ferry: Object, kind: str, reason: str, message: str, suffix: str = "") -> None:
        """``kind``: Normal or Warning."""
        meta = ferry["metadata"]
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{suffix or f'{time.time_ns():x}'}", "namespace": meta["namespace"]},
            "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "reportingController": MANAGER,
            "reportingInstance": f"{MANAGER}-{self.namespace}"[:128],
            "action": "Reconcile",
            "reason": reason[:128],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": ferry["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "note": _fitting(message),
            "type": kind,
        }
        try:
            await self.kube.create_event(meta["namespace"], event)
        except KubeError as error:
            if not error.exists:
                log.info("%s: Event %s was not posted: %s", full_name(ferry), reason, error)


def _fitting(message: str) -> str:
    raw = message.encode()
    if len(raw) <= _NOTE_BYTES:
        return message
    begin = raw[: _NOTE_BYTES - _END_BYTES - len(_LEFT_OUT)].decode(errors="ignore")
    return begin + _LEFT_OUT + raw[-_END_BYTES:].decode(errors="ignore")
