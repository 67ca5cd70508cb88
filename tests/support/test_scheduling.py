"""Tests that need Kubernetes begin first, or once it is built."""

import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.scheduling import OneByOne

ON_KUBERNETES = [f"tests/e2e/kubernetes/test_a.py::test_{number}" for number in range(3)]
OTHERS = [f"tests/ferry_core/test_b.py::test_{number}" for number in range(6)]


class Worker:
    """Records what it is given."""

    shutting_down = False

    def __init__(self) -> None:
        self.given: list[str] = []

    def send_runtest_some(self, places: list[int]) -> None:
        self.given += [(OTHERS + ON_KUBERNETES)[place] for place in places]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def build() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def scheduled(build: "subprocess.Popen[bytes] | None") -> tuple[OneByOne, Worker]:
    """With one worker, which has its first tests."""
    config: Any = SimpleNamespace(getvalue=lambda _: ["popen"], option=SimpleNamespace(loadscopereorder=True))
    worker: Any = Worker()
    scheduler = OneByOne(config, None, build)
    scheduler.add_node(worker)
    scheduler.add_node_collection(worker, OTHERS + ON_KUBERNETES)
    scheduler.schedule()
    return scheduler, worker


def complete(scheduler: OneByOne, worker: Any) -> None:
    """The first of its tests that it has not completed."""
    pending = [name for unit in scheduler.assigned_work[worker].values() for name, done in unit.items() if not done]
    scheduler.mark_test_complete(worker, (OTHERS + ON_KUBERNETES).index(pending[0]))


def test_they_are_begun_first() -> None:
    assert scheduled(None)[1].given[:3] == ON_KUBERNETES


def test_they_are_begun_when_kubernetes_is_built(build: "subprocess.Popen[bytes]") -> None:
    scheduler, worker = scheduled(build)
    complete(scheduler, worker)
    assert set(worker.given) < set(OTHERS)
    build.kill()
    build.wait()
    complete(scheduler, worker)
    assert worker.given[-3:] == ON_KUBERNETES


def test_when_nothing_else_is_left_they_wait_for_it() -> None:
    with subprocess.Popen(["sleep", "0.3"]) as build:
        scheduler, worker = scheduled(build)
        while not worker.shutting_down:
            complete(scheduler, worker)
        assert build.returncode == 0
    assert worker.given == OTHERS + ON_KUBERNETES
