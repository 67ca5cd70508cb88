"""Servers of every release, each started once. Only ``make test-versions`` (``--versions``) moves tables between them,
because installing all releases takes about ten minutes and 4 GB.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Release
from tests.support.servers import Flag, Pair, ServerPool
from tests.versions.matrix import STOCK


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    chosen = config.getoption("--versions") or collection_path.is_dir() or collection_path.name == "test_matrix.py"
    return None if chosen else True


@pytest.fixture
def versions(request: pytest.FixtureRequest, server_pool: ServerPool) -> Iterator[Pair]:
    """A source of the first release, perhaps with MySQL's stock setting, and a target of the second."""
    source, target = request.param
    stock: dict[str, Flag] = {"gtid_mode": False, "enforce_gtid_consistency": False} if source.endswith(STOCK) else {}
    release = Release(source.removesuffix(STOCK))
    pair = Pair(server_pool.start(release, stock), server_pool.start(Release(target), {}))
    yield pair
    server_pool.end(pair.source)
    server_pool.end(pair.target)
