"""The session's cluster with the operator, database servers that its Pods can reach, and a namespace for each test."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from hack.servers import Family
from tests.support.cluster_ferry import ClusterFerry
from tests.support.servers import Pair, Server, ServerPool
from tests.support.whole_cluster import WholeCluster


class MakeFerry(Protocol):
    """Starts two servers for this test. The Ferry between them is not created yet."""

    def __call__(self, family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3) -> ClusterFerry: ...


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[WholeCluster]:
    cluster = WholeCluster()
    try:
        cluster.install_operator()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def make_ferry(
    whole_cluster: WholeCluster, server_pool: ServerPool, request: pytest.FixtureRequest
) -> Iterator[MakeFerry]:
    servers: list[Server] = []
    ferries: list[ClusterFerry] = []
    words = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0]

    def start(family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3) -> ClusterFerry:
        source, target = (server_pool.start(family, {"bind_address": whole_cluster.gateway}) for _ in range(2))
        servers.extend((source, target))
        ferries.append(ClusterFerry(whole_cluster, Pair(source, target), words[:30].strip("-"), rows=rows, odd=odd))
        return ferries[-1]

    yield start
    for ferry in ferries:
        ferry.delete_namespace()
    for server in servers:
        server_pool.end(server)
