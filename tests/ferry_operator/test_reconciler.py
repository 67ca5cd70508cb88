"""A Ferry's loop against an API whose answers the test chooses, and its slot."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from ferry_core.api.report import Stage
from ferry_operator import reconciler as loop
from ferry_operator.act import Actor
from ferry_operator.budget import StatusBudget
from ferry_operator.copier_client import CopierClients, Unreachable
from ferry_operator.identity import Identity
from ferry_operator.kube import MAX_REQUESTS, KubeError
from ferry_operator.metrics import Metrics
from ferry_operator.names import FINALIZER, SKIP_CLEANUP, Object, Role
from ferry_operator.observe import Link, PodView
from ferry_operator.plan import Plan
from ferry_operator.reconciler import OperatorContext, Reconciler
from ferry_operator.round_state import RoundState
from ferry_operator.run_slots import RunSlots
from ferry_operator.settings import Settings
from tests.support.kubelet import SPEC
from tests.support.observed import pod, report
from tests.support.operator_thread import samples

UID = "uid-1"
IDENTITY = Identity.new()
COPIER = PodView(Role.COPIER, "orders-copier", "pod-1", phase="Running", running=True)
DENIED = 'admission webhook "pods.example" denied the request: no Pods on Sundays'


class Cluster:
    """``Kube`` of one Ferry: ``says`` gives the error of a call, by its name."""

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
        """The reconciler runs until this is so, or it has ended by itself."""
        running = asyncio.create_task(self.reconciler.run(lambda: self.stopped))
        async with asyncio.timeout(10):
            while not what() and not running.done():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.001)
        self.stopped = True
        self.reconciler.wake()
        await asyncio.wait_for(running, 1)

    def errors(self, reason: str) -> float:
        return samples(self.metrics).get(("ferry_operator_reconcile_errors_total", (reason,)), 0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (0.01,))
    return Cluster()


def played(cluster: Cluster, scene: Callable[[Harness], Awaitable[None]], most: int = 0) -> Harness:
    """The harness, after the scene."""

    async def play() -> Harness:
        harness = Harness(cluster, most)
        async with asyncio.timeout(10):
            await scene(harness)
        return harness

    return asyncio.run(play())


async def until(what: Callable[[], object]) -> None:
    """In a scene."""
    while not what():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.001)


def said(cluster: Cluster) -> str:
    """The message of its status."""
    return "" if cluster.ferry is None else str(cluster.ferry.get("status", {}).get("message", ""))


# -- answers that may be of something else ----------------------------------------------------------------------------


def test_a_404_of_something_else_does_not_end_it(cluster: Cluster) -> None:
    cluster.says["create_pod"] = KubeError(404, "NotFound", "no such quota")
    harness = played(cluster, lambda harness: harness.until(lambda: cluster.asked.count("create_pod") == 3))
    assert cluster.asked.count("create_pod") == 3
    assert harness.errors("NotFound") >= 2


@pytest.mark.parametrize("successor", [False, True], ids=["gone", "another of its name"])
def test_a_404_of_the_ferry_ends_it(cluster: Cluster, successor: bool) -> None:
    ferry = cluster.ferry
    assert ferry is not None
    cluster.says["write_status"] = KubeError(404, "NotFound", "not found")
    cluster.ferry = ferry | {"metadata": ferry["metadata"] | {"uid": "uid-2"}} if successor else None

    async def run(harness: Harness) -> None:
        harness.body = ferry
        await harness.reconciler.run(lambda: False)

    harness = played(cluster, run)
    assert cluster.asked == ["write_status", "get_ferry"]
    assert harness.errors("NotFound") == 0


@pytest.mark.parametrize("code", [404, 409, 500])
def test_a_denial_by_a_webhook_is_reported_whatever_its_code(cluster: Cluster, code: int) -> None:
    cluster.says["create_pod"] = KubeError(code, "", DENIED)

    async def refused_twice(harness: Harness) -> None:
        await harness.reconciler.round()
        await harness.reconciler.round()

    played(cluster, refused_twice)
    assert DENIED in said(cluster)


@pytest.mark.parametrize("letter", ["e", "é", "漢", "🛶"])
def test_a_long_event_is_cut_to_the_bytes_that_the_api_accepts(cluster: Cluster, letter: str) -> None:
    """It counts 1,024 bytes, where a condition has room for 4,096 characters."""
    cluster.says["create_pod"] = KubeError(403, "Forbidden", f"x{letter * 5000}")

    async def refused(harness: Harness) -> None:
        await harness.reconciler.round()
        await harness.reconciler.round()

    played(cluster, refused)
    note = dict(cluster.told)["PodRefused"]
    assert 1020 < len(note.encode()) <= 1024
    assert set(note[-100:]) == {letter}
    assert len(said(cluster)) == 4096


CONFLICT = KubeError(409, "Conflict", "the object has been modified")


def test_a_status_is_written_without_a_lock_if_its_basis_is_unchanged(cluster: Cluster) -> None:
    cluster.says["write_status"] = CONFLICT

    async def scene(harness: Harness) -> None:
        await harness.reconciler.round()

    harness = played(cluster, scene)
    assert cluster.asked[:3] == ["write_status", "get_ferry", "write_status, unlocked"]
    assert harness.errors("Conflict") == 0


@pytest.mark.parametrize("changed", ["status", "finalizers", "deletionTimestamp"])
def test_a_status_whose_basis_has_changed_is_a_conflict(cluster: Cluster, changed: str) -> None:
    cluster.says["write_status"] = CONFLICT
    ferry = cluster.ferry
    assert ferry is not None
    meta = ferry["metadata"] | {"resourceVersion": "7"}
    meta |= {"finalizers": {"finalizers": []}, "deletionTimestamp": {changed: "2026-01-02T00:00:00Z"}}.get(changed, {})
    cluster.ferry = ferry | {"metadata": meta} | ({"status": {"phase": "Paused"}} if changed == "status" else {})

    async def scene(harness: Harness) -> None:
        harness.body = ferry
        with pytest.raises(KubeError):
            await harness.reconciler.round()

    played(cluster, scene)
    assert cluster.asked == ["write_status", "get_ferry"]


def test_a_ferry_without_our_finalizer_is_written_with_a_lock_only(cluster: Cluster) -> None:
    """It may be gone any time, and another one have its name."""
    assert cluster.ferry is not None
    cluster.ferry["metadata"]["finalizers"] = []
    cluster.says["write_status"] = CONFLICT

    async def scene(harness: Harness) -> None:
        with pytest.raises(KubeError):
            await harness.reconciler.round()

    played(cluster, scene)
    assert cluster.asked == ["write_status", "get_ferry", "write_status", "add_finalizer"]


@pytest.mark.parametrize("call", ["write_status, unlocked", "create_pod"])
def test_conflicts_are_retried_soon(cluster: Cluster, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a quota too. The pauses of errors are not theirs, nor is an end that is asked for held up."""
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (60.0,))
    cluster.says |= {"write_status": CONFLICT, call: CONFLICT}
    played(cluster, lambda harness: harness.until(lambda: harness.errors("Conflict") == 3))


def test_many_conflicts_lengthen_no_pause_of_an_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (0.01, 60.0))
    monkeypatch.setattr(loop, "_CONFLICT_PAUSES", (0.001,))
    cluster.says["create_pod"] = CONFLICT

    async def scene(harness: Harness) -> None:
        running = asyncio.create_task(harness.reconciler.run(lambda: False))
        await until(lambda: harness.errors("Conflict") > 5)
        cluster.says["create_pod"] = KubeError(500, "Oops", "a moment")
        await until(lambda: harness.errors("Oops") == 2)
        running.cancel()

    played(cluster, scene)


def test_a_name_that_our_own_pod_had_is_not_reported_as_taken(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer was lost, or the watch was late; once the Pod is seen that is over."""
    monkeypatch.setattr("ferry_operator.pod_maker._NAME_TAKEN", timedelta(0))
    cluster.says["create_pod"] = KubeError(409, "AlreadyExists", "exists")

    async def scene(harness: Harness) -> None:
        await harness.reconciler.round()
        cluster.pods = [COPIER]
        await harness.reconciler.round()
        cluster.pods = []
        await harness.reconciler.round()
        await harness.reconciler.round()
        assert "does not belong to this Ferry" not in said(cluster)
        await harness.reconciler.round()
        assert "does not belong to this Ferry" in said(cluster)

    played(cluster, scene)


# -- when many have news at once --------------------------------------------------------------------------------------


def test_a_reconciler_that_had_to_wait_observes_again(cluster: Cluster) -> None:
    """A thousand plans would wait beside each other otherwise, most of them outdated when their turn comes."""

    async def scene(harness: Harness) -> None:
        turns = harness.context.actor.concurrency
        for _ in range(MAX_REQUESTS):
            await turns.acquire()
        waiting = asyncio.create_task(harness.reconciler.round())
        await asyncio.sleep(0.01)
        assert cluster.asked == []
        harness.body = harness.body | {"metadata": harness.body["metadata"] | {"generation": 2}}
        turns.release()
        await waiting

    played(cluster, scene)
    assert cluster.ferry is not None
    assert cluster.ferry["status"]["observedGeneration"] == 2


def test_a_directive_does_not_wait_for_other_ferries(cluster: Cluster) -> None:
    copier = Mock(view=Link(report(Stage.COPYING, acknowledged=0)), send=AsyncMock())
    cluster.pods = [pod()]

    async def scene(harness: Harness) -> None:
        harness.reconciler.copier = copier
        for _ in range(MAX_REQUESTS):
            await harness.context.actor.concurrency.acquire()
        waiting = asyncio.create_task(harness.reconciler.round())
        await asyncio.sleep(0.01)
        waiting.cancel()

    played(cluster, scene)
    assert [call.args[0].generation for call in copier.send.await_args_list] == [1]
    assert cluster.asked == []


def test_a_lost_directive_is_sent_again_soon_though_the_status_cannot_be_written(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (60.0,))
    monkeypatch.setattr(loop, "SOON_SECONDS", 0.01)
    copier = Mock(view=Link(report(Stage.COPYING, acknowledged=0)), send=AsyncMock(side_effect=Unreachable("no route")))
    cluster.pods = [pod()]
    cluster.says["write_status"] = KubeError(500, "Oops", "a moment")

    async def scene(harness: Harness) -> None:
        harness.reconciler.copier = copier
        await harness.until(lambda: copier.send.await_count == 3)

    played(cluster, scene)


# -- how often it writes ------------------------------------------------------------------------------------------


def test_status_writes_are_rate_limited_except_for_new_generations(cluster: Cluster) -> None:
    async def scene(harness: Harness) -> None:
        state = RoundState()

        async def say(phase: str, generation: int) -> None:
            status: Object = {"phase": phase, "observedGeneration": generation, "conditions": []}
            assert cluster.ferry is not None
            await harness.context.actor.act(cluster.ferry, None, Plan(status), state)

        for number in range(200):
            await say(str(number), 1)
        written = cluster.asked.count("write_status")
        assert 20 <= written <= 23
        assert 0 < state.held_back <= 1
        await say("199", 2)
        assert cluster.asked.count("write_status") == written + 1
        assert state.held_back == 0

    played(cluster, scene)


# -- deletion -----------------------------------------------------------------------------------------------------

STARTED = {"startTime": "2026-01-01T00:00:00Z"}


def deleted(cluster: Cluster, **status: Any) -> None:
    assert cluster.ferry is not None
    cluster.ferry["status"] = STARTED | status
    cluster.delete()


def test_a_cleanup_that_gets_a_404_is_retried_and_counted(cluster: Cluster) -> None:
    deleted(cluster)
    cluster.says["create_pod"] = KubeError(404, "NotFound", "no such thing")

    async def release(harness: Harness) -> None:
        assert not await harness.reconciler.release(0.2)

    harness = played(cluster, release)
    assert cluster.asked.count("create_pod") >= 2
    assert harness.errors("NotFound") >= 2


def test_an_unavailable_api_server_releases_nothing(cluster: Cluster) -> None:
    deleted(cluster)
    cluster.says = {name: KubeError(0, "Unreachable", "away") for name in ("get_ferry", "write_status", "create_pod")}

    async def release(harness: Harness) -> None:
        assert not await harness.reconciler.release(0.1)

    assert played(cluster, release).errors("Unreachable") >= 2


def test_a_ferry_that_is_gone_is_released(cluster: Cluster) -> None:
    async def release(harness: Harness) -> None:
        cluster.ferry = None
        assert await harness.reconciler.release(10)

    played(cluster, release)
    assert cluster.asked == ["get_ferry"]


# -- places -----------------------------------------------------------------------------------------------------


def test_a_copier_that_is_still_ending_keeps_its_slot(cluster: Cluster) -> None:
    deleted(cluster)
    cluster.pods = [replace(COPIER, deletion_due=datetime.now(UTC))]

    async def release(harness: Harness) -> None:
        assert not await harness.reconciler.release(0.1)
        harness.reconciler.release_slot()
        assert not harness.slots.acquire("next", "2026-01-02")
        cluster.pods.clear()
        assert not await harness.reconciler.release(0.1)
        assert harness.slots.acquire("next", "2026-01-02")

    played(cluster, release, most=1)


def test_a_ferry_deleted_without_cleanup_releases_its_slot(cluster: Cluster) -> None:
    assert cluster.ferry is not None
    cluster.ferry["metadata"]["annotations"] = {SKIP_CLEANUP: "true"}
    deleted(cluster)
    cluster.pods = [replace(COPIER, deletion_due=datetime.now(UTC))]

    async def release(harness: Harness) -> None:
        assert await harness.reconciler.release(10)
        assert harness.slots.acquire("next", "2026-01-02")

    played(cluster, release, most=1)


def test_a_ferry_without_finalizer_acquires_no_slot(cluster: Cluster) -> None:
    assert cluster.ferry is not None
    cluster.ferry["metadata"]["finalizers"] = []

    async def scene(harness: Harness) -> None:
        harness.slots.adopt("other")
        await harness.reconciler.round()
        harness.slots.release("other")
        assert harness.slots.acquire("younger", "2026-02-01")

    played(cluster, scene, most=1)


def test_a_queued_ferry_that_is_not_reconciled_any_more_blocks_nobody(cluster: Cluster) -> None:
    async def scene(harness: Harness) -> None:
        harness.slots.adopt("other")
        await harness.reconciler.round()
        harness.reconciler.release_slot()
        harness.slots.release("other")
        assert harness.slots.acquire("younger", "2026-02-01")

    played(cluster, scene, most=1)
