"""A Ferry's loop against an API whose answers the test chooses, and its slot."""

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock, Mock

import pytest

from ferry_core.api.report import Stage
from ferry_operator import reconciler as loop
from ferry_operator.copier_client import Unreachable
from ferry_operator.kube import MAX_REQUESTS, KubeError
from ferry_operator.observe import Link
from ferry_operator.plan import Plan
from ferry_operator.round_state import RoundState
from tests.support.observed import pod, report
from tests.support.played_reconciler import COPIER, Cluster, Harness, played, said, until

if TYPE_CHECKING:
    from ferry_operator.names import Object

DENIED = 'admission webhook "pods.example" denied the request: no Pods on Sundays'


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (0.01,))
    return Cluster()


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
    """The API limits a note to 1,024 bytes, while a condition can have 4,096 characters."""
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
    """It may vanish at any time, and another Ferry may get its name."""
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
    """Conflicts about a quota too. They do not use the pauses of errors, and do not delay a requested end."""
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
    """An answer was lost, or the watch was late; once the Pod is seen the problem is over."""
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
    """Otherwise a thousand plans would wait at the same time, most of them outdated when their turn comes."""

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
    assert [json.loads(call.args[0])["generation"] for call in copier.send.await_args_list] == [1]
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
        await harness.until(lambda: copier.send.await_count >= 3)

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
