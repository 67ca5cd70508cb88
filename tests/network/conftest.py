"""A whole Kubernetes whose network enforces NetworkPolicies.

Only ``make test-network`` (``--network``) runs these tests: to build kube-router and a cluster of its own takes some
minutes.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kubernetes.conftest import make_ferry
from tests.support.whole_cluster import WholeCluster

__all__ = ["make_ferry"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    chosen = config.getoption("--network") or collection_path.is_dir()
    return None if chosen else True


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[WholeCluster]:
    cluster = WholeCluster(policies=True)
    try:
        cluster.install_operator()
        yield cluster
    finally:
        cluster.close()
