"""The status that a kubelet writes into a Pod with one container. Used by ``kubelet``."""

from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def terminated_state(exit_code: int, reason: str, message: str) -> Object:
    return {
        "exitCode": exit_code,
        "reason": reason,
        "message": message,
        "finishedAt": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "startedAt": None,
        "containerID": "sim://1",
    }


def pod_status(
    pod: str,
    phase: str,
    address: str | None,
    state: Object,
    *,
    last: Object | None = None,
    restarts: int = 0,
    ready: bool = False,
) -> Object:
    container = {
        "name": pod.rpartition("-")[2],
        "image": "sim",
        "imageID": "",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }
    said: Object = {"phase": phase, "containerStatuses": [container]}
    if address is not None:
        said |= {"podIP": address, "podIPs": [{"ip": address}]}
    return said
