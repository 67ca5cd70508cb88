"""One Ferry's reconciler against an API whose answers the test chooses."""

import asyncio
from collections.abc import Awaitable, Callable

from ferry_operator.act import Actor
from ferry_operator.budget import StatusBudget
from ferry_operator.copier_client import CopierClients
from ferry_operator.identity import Identity
from ferry_operator.kube import KubeError
from ferry_operator.metrics import Metrics
from ferry_operator.names import FINALIZER, Object, Role
from ferry_operator.observe import PodView
from ferry_operator.reconciler import OperatorContext, Reconciler
from ferry_operator.run_slots import RunSlots
from ferry_operator.settings import Settings
from tests.support.kubelet import SPEC
from tests.support.operator_thread import samples

UID = "uid-1"
IDENTITY = Identity.new()
COPIER = PodView(Role.COPIER, "orders-copier", "pod-1", phase="Running", running=True)


class Cluster:
    """``Kube`` of one Ferry; ``says`` maps the name of a call to its error."""

    def __init__(self) -> None:
        meta: Object = {"name": "orders", "namespace": "shop", "uid": UID, "generation": 1, "resourceVersion": "1"}
        meta |= {"creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
        self.ferry: Object | None = {"kind": "Ferry", "metadata": meta, "spec": SPEC}
        self.asked: list[str] = []
        self.says: dict[str, KubeError] = {}
        self.told: list[tuple[str, str]] = []
        """Reason and note of each Event."""
        self.pods: list[PodView] = []

    async def get_ferry(self, _: str, __: str) -> Object:
        self._answer("get_ferry")
        if self.ferry is None:
            raise KubeError(404, "NotFound", 'ferries.mysqlferry.io "orders" not found')
        return self.ferry

    async def write_status(self, ferry: Object, status: Object, *, locked: bool = True) -> Object:
        self._answer("write_status" if locked else "write_status, unlocked")
        version = str(int(ferry["metadata"]["resourceVersion"]) + 1)
        self.ferry = ferry | {"metadata": ferry["metadata"] | {"resourceVersion": version}, "status": status}
        return self.ferry

    async def add_finalizer(self, _: Object) -> None:
        self._answer("add_finalizer")

    async def create_pod(self, _: str, pod: Object) -> Object:
        self._answer("create_pod")
        return pod | {"metadata": pod["metadata"] | {"uid": "pod-1"}}

    async def delete_pod(self, *_: str) -> None:
        self._answer("delete_pod")

    async def create_secret(self, _: str, secret: Object) -> Object:
        self._answer("create_secret")
        return secret

    async def create_event(self, _: str, event: Object) -> None:
        self.told.append((event["reason"], event["note"]))

    def _answer(self, name: str) -> None:
        self.asked.append(name)
        if name in self.says:
            raise self.says[name]

    def delete(self) -> None:
        assert self.ferry is not None
        meta = self.ferry["metadata"] | {"deletionTimestamp": "2026-01-02T00:00:00Z", "resourceVersion": "9"}
        self.ferry = self.ferry | {"metadata": meta}


class Harness:
    """A reconciler with its context; ``body`` is the object that the watch delivered last."""

    def __init__(self, cluster: Cluster, most: int = 0) -> None:
        self.cluster = cluster
        self.body = cluster.ferry or {}
        actor = Actor(cluster, IDENTITY, Settings("ferry", "image:1"), StatusBudget())  # type: ignore[arg-type]
        self.metrics = Metrics(list)
        self.slots = RunSlots(most, lambda _: None)
        copier_clients = CopierClients(None, None)  # type: ignore[arg-type]
        self.context = OperatorContext(actor, copier_clients, self.slots, self.metrics, {}, {})
        self.reconciler = Reconciler(self.context, UID, lambda: self.body, lambda: list(cluster.pods))
        self.stopped = False

    async def until(self, what: Callable[[], object]) -> None:
        """Run the reconciler until the condition is true or it has ended by itself."""
        running = asyncio.create_task(self.reconciler.run(lambda: self.stopped))
        async with asyncio.timeout(120):
            while not what() and not running.done():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.001)
        self.stopped = True
        self.reconciler.wake()
        await asyncio.wait_for(running, 60)

    def errors(self, reason: str) -> float:
        return samples(self.metrics).get(("ferry_operator_reconcile_errors_total", (reason,)), 0)


def played(cluster: Cluster, scene: Callable[[Harness], Awaitable[None]], most: int = 0) -> Harness:
    """The harness after the scene."""

    async def play() -> Harness:
        harness = Harness(cluster, most)
        async with asyncio.timeout(120):
            await scene(harness)
        return harness

    return asyncio.run(play())


async def until(what: Callable[[], object]) -> None:
    """Wait within a scene."""
    while not what():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.001)


def said(cluster: Cluster) -> str:
    """The message in its status."""
    return "" if cluster.ferry is None else str(cluster.ferry.get("status", {}).get("message", ""))
