"""What a Ferry's reconciler releases when the Ferry is deleted, and who gets its slot."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ferry_operator import reconciler as loop
from ferry_operator.kube import KubeError
from ferry_operator.names import SKIP_CLEANUP
from tests.support.played_reconciler import COPIER, Cluster, Harness, played


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(loop, "_ERROR_PAUSES", (0.01,))
    return Cluster()


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
