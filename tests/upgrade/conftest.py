"""A whole Kubernetes with the operator of an earlier commit.

Only ``make test-upgrade`` (``--before COMMIT``) runs these tests: to build that commit's image and the cluster takes
some minutes.
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.kubernetes.conftest import make_ferry
from tests.support.whole_cluster import ROOT, WholeCluster

__all__ = ["make_ferry"]

TAG = "before"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    chosen = config.getoption("--before") or collection_path.is_dir()
    return None if chosen else True


@dataclass(frozen=True)
class Before:
    """The version to upgrade from."""

    chart: Path
    archive: Path
    image: str = f"localhost/mysql-ferry:{TAG}"


@pytest.fixture(scope="session")
def before(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Before:
    folder = tmp_path_factory.mktemp("before")
    commit = request.config.getoption("--before")
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="tar")  # the chart has links to files beside it
    built = subprocess.run([ROOT / "hack/image.sh", folder, TAG], stdout=subprocess.PIPE, text=True, check=True)
    return Before(folder / "deploy/helm/ferry", ROOT / built.stdout.split()[-1])


@pytest.fixture(scope="session")
def whole_cluster(before: Before) -> Iterator[WholeCluster]:
    cluster = WholeCluster()
    try:
        cluster.machine.load(before.archive)
        yield cluster
    finally:
        cluster.close()
