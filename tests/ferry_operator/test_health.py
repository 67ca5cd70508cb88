"""The operator's own metrics and probes, and the watch checker behind them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ferry_operator import health
from ferry_operator.health import WatchChecker
from ferry_operator.kube import ApiRequest, KubeError
from ferry_operator.metrics import PHASES, Metrics
from ferry_operator.names import Object
from tests.support.kubelet import SPEC
from tests.support.operator_thread import samples


def test_series_of_a_ferry_come_and_go_with_it() -> None:
    said = {
        "phase": "Copying",
        "observedGeneration": 3,
        "conditions": [{"type": "Stalled", "status": "False"}],
        "copier": {"restarts": 2},
    }
    meta = {"namespace": "shop", "name": "orders", "generation": 4, "creationTimestamp": "2026-01-01T00:00:00Z"}
    shown: list[Object] = [{"metadata": meta, "spec": SPEC, "status": said}]
    metrics = Metrics(lambda: shown)
    found = samples(metrics)
    assert found["ferry_status_phase", ("Copying", "orders", "shop")] == 1
    assert sum(found["ferry_status_phase", tuple(sorted((phase, "orders", "shop")))] for phase in PHASES) == 1
    assert found["ferry_status_condition", ("False", "Stalled", "orders", "shop")] == 1
    assert found["ferry_status_condition", ("Stalled", "True", "orders", "shop")] == 0
    assert found["ferry_metadata_generation", ("orders", "shop")] == 4
    assert found["ferry_status_observed_generation", ("orders", "shop")] == 3
    assert found["ferry_copier_restarts_total", ("orders", "shop")] == 2
    assert found["ferry_info", ("new.db", "old.db", "orders", "shop")] == 1
    shown.clear()
    assert not [name for name, labels in samples(metrics) if "orders" in labels]


def test_the_operators_own_metrics() -> None:
    metrics = Metrics(list)
    metrics.reconciled(0.01)
    metrics.failed("Forbidden")
    metrics.count_request(ApiRequest("GET", "ferries", 200))
    found = samples(metrics)
    assert found["ferry_operator_reconcile_total", ("ok",)] == 1
    assert found["ferry_operator_reconcile_errors_total", ("Forbidden",)] == 1
    assert found["ferry_operator_kube_requests_total", ("200", "GET", "ferries")] == 1
    assert any(name == "ferry_operator_build_info" for name, _ in found)


def test_ferries_are_read_in_the_event_loop_only() -> None:
    """The set of Ferries changes there while a thread renders the text of a scrape."""
    seen_in = []

    def ferries() -> list[Object]:
        seen_in.append(threading.current_thread())
        return []

    async def scraped() -> None:
        app = health.application(Metrics(ferries), WatchChecker(Versions(), {}, (), Metrics(list)), asyncio.Event())  # type: ignore[arg-type]
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/metrics")
            assert "ferry_operator_reconcile_total" in await answer.text()

    asyncio.run(scraped())
    assert seen_in == [threading.main_thread()]


class Versions:
    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    async def list_versions(self, _: str | None) -> dict[str, int]:
        return dict(self.found)


@pytest.mark.parametrize(
    ("told", "found", "then", "caught_up"),
    [
        ({}, {"uid": 2}, {"uid": 3}, {"uid": 3}),
        ({"uid": 1}, {"uid": 2}, {"uid": 3}, {"uid": 3}),
        ({"uid": 1}, {}, {}, {}),
    ],
    ids=["never told", "told an older one", "not told that it is gone"],
)
def test_a_watch_that_delivers_nothing_is_detected(
    told: dict[str, int], found: dict[str, int], then: dict[str, int], caught_up: dict[str, int]
) -> None:
    kube = Versions()
    watch_checker = WatchChecker(kube, told, (), Metrics(list))  # type: ignore[arg-type]
    kube.found = found
    asyncio.run(watch_checker.check())
    assert watch_checker.problem == "", "it may be on its way"
    kube.found = then
    asyncio.run(watch_checker.check())
    assert "has missed changes of 1 Ferries or Pods" in watch_checker.problem
    told.clear()
    told |= caught_up
    asyncio.run(watch_checker.check())
    assert watch_checker.problem == ""


def test_a_deleted_crd_is_detected() -> None:
    again = asyncio.Event()

    class Gone:
        checks = 0

        async def list_versions(self, _: str | None) -> dict[str, int]:
            self.checks += 1
            if self.checks > 1:
                again.set()
            raise KubeError(404, "", "404 page not found")

    async def watch() -> str:
        watch_checker = WatchChecker(Gone(), {}, (), Metrics(list), check_seconds=0.01)  # type: ignore[arg-type]
        running = asyncio.create_task(watch_checker.run())
        async with asyncio.timeout(120):
            await again.wait()
        running.cancel()
        return watch_checker.problem

    assert asyncio.run(watch()) == "the CustomResourceDefinition ferries.mysqlferry.io does not exist any more"


def test_a_namespace_that_may_not_be_read_does_not_hide_the_others() -> None:
    class Some:
        lost = False

        async def list_versions(self, namespace: str) -> dict[str, int]:
            if namespace == "team" and self.lost:
                raise KubeError(403, "Forbidden", "cannot list ferries")
            return {namespace: 7}

    kube, told = Some(), {"team": 7, "shop": 7}
    watch_checker = WatchChecker(kube, told, ("team", "shop"), Metrics(list))  # type: ignore[arg-type]
    asyncio.run(watch_checker.check())
    kube.lost = True
    for _ in range(3):
        asyncio.run(watch_checker.check())
        assert watch_checker.problem == ""
    told["shop"] = 6
    asyncio.run(watch_checker.check())
    asyncio.run(watch_checker.check())
    assert "has missed changes of 1 Ferries or Pods" in watch_checker.problem


class Listing:
    """An API server that returns what the test chooses when versions are listed."""

    def __init__(self, say: Callable[[], Awaitable[dict[str, int]]]) -> None:
        self.say = say
        self.asked = asyncio.Event()

    async def list_versions(self, _: str | None) -> dict[str, int]:
        self.asked.set()
        return await self.say()


async def _fail() -> dict[str, int]:
    raise RuntimeError("a bug")


async def _away() -> dict[str, int]:
    raise KubeError(0, "Unreachable", "away")


async def _hang() -> dict[str, int]:
    await asyncio.Event().wait()
    return {}


def test_a_watch_checker_that_has_failed_is_unhealthy(caplog: pytest.LogCaptureFixture) -> None:
    async def watch() -> str:
        watch_checker = WatchChecker(Listing(_fail), {}, (), Metrics(list), check_seconds=0.01)  # type: ignore[arg-type]
        assert watch_checker.unhealthy == ""
        async with asyncio.timeout(120):
            await watch_checker.run()
        return watch_checker.unhealthy

    assert "the watch checker has failed" in asyncio.run(watch())
    assert "a bug" in caplog.text


@pytest.mark.parametrize(("say", "patience"), [(_away, 60.0), (_hang, 0.05)], ids=["away", "hangs"])
def test_an_unavailable_api_server_is_not_unhealthy(
    say: Callable[[], Awaitable[dict[str, int]]], patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_LONGEST_CHECK", patience)

    async def watch() -> None:
        now, kube = [1000.0], Listing(say)
        watch_checker = WatchChecker(kube, {}, (), Metrics(list), 0.01, lambda: now[0])  # type: ignore[arg-type]
        running = asyncio.create_task(watch_checker.run())
        async with asyncio.timeout(120):
            for _ in range(5):
                now[0] += 2 * patience
                kube.asked.clear()
                await kube.asked.wait()
                assert watch_checker.unhealthy == ""
        running.cancel()

    asyncio.run(watch())


def test_a_comparison_that_does_not_complete_is_unhealthy() -> None:
    async def watch() -> None:
        now, kube = [1000.0], Listing(_hang)
        watch_checker = WatchChecker(kube, {}, (), Metrics(list), 0.01, lambda: now[0])  # type: ignore[arg-type]
        now[0] += 1000
        assert watch_checker.unhealthy == "", "it has not started: the operator waits for the CRD"
        running = asyncio.create_task(watch_checker.run())
        async with asyncio.timeout(120):
            await kube.asked.wait()
        now[0] += 181
        assert watch_checker.unhealthy == "the watches have not been compared with the API for 181 s"
        running.cancel()

    asyncio.run(watch())
