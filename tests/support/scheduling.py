"""Which worker of pytest-xdist runs which test, and when. Called by ``tests/conftest.py``."""

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).resolve().parents[2]
BUILD_LOG = ROOT / "build" / "kubernetes.log"


def build_kubernetes() -> "subprocess.Popen[bytes]":
    """Build what is missing of it, beside the tests that do not need it: 10 to 15 minutes on a bare machine."""
    BUILD_LOG.parent.mkdir(exist_ok=True)
    with BUILD_LOG.open("wb") as log:
        line = [ROOT / "hack" / "kubernetes" / "build.sh"]
        return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class OneByOne(LoadScopeScheduling):
    """One worker runs all tests that share a cluster or a kube-apiserver, because starting one takes 10 s of CPU.

    They take longest and are begun first, or, while ``build`` still makes their binaries, as soon as it has ended.
    """

    SHARED: ClassVar = {
        "tests/e2e/kubernetes/": "cluster with the operator",
        "tests/hack/test_cluster.py": "another cluster",
        "tests/hack/test_demo.py": "another cluster",
        "tests/ferry_operator/": "kube-apiserver of the operator",
        "tests/chart/": "kube-apiserver of the chart",
        "tests/crd/": "kube-apiserver of the chart",
    }

    def __init__(self, config: pytest.Config, log: Any, build: "subprocess.Popen[bytes] | None" = None) -> None:
        super().__init__(config, log)
        self._build = build

    def _split_scope(self, nodeid: str) -> str:
        shared = next((what for place, what in self.SHARED.items() if nodeid.startswith(place)), "")
        return shared or nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Called by the base class whenever a worker has less than three tests to run."""
        building = self._build is not None and self._build.poll() is None
        for shared in reversed(dict.fromkeys(self.SHARED.values())):
            if shared in self.workqueue:
                self.workqueue.move_to_end(shared, last=building)
        if self._build is not None and next(iter(self.workqueue)) in self.SHARED.values():
            self._build.wait()  # nothing else is left
        super()._assign_work_unit(node)
