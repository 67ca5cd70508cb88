"""Servers of every release, each started once. Only ``make test-versions`` (``--versions``) runs these tests, because
installing all releases takes about ten minutes and 4 GB.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Release
from tests.support.servers import Pair, ServerPool


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    chosen = config.getoption("--versions") or collection_path.is_dir()
    return None if chosen else True


@pytest.fixture
def versions(request: pytest.FixtureRequest, server_pool: ServerPool) -> Iterator[Pair]:
    """A source of the first release and a target of the second."""
    source, target = request.param
    pair = Pair(server_pool.start(Release(source), {}), server_pool.start(Release(target), {}))
    yield pair
    server_pool.end(pair.source)
    server_pool.end(pair.target)
