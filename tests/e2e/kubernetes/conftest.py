"""The session's cluster with the operator, database servers that its Pods can reach, and a namespace for each test."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from hack.servers import Family
from tests.support.cluster_ferry import ClusterFerry
from tests.support.replication import Replication
from tests.support.servers import Flag, Pair, Server, ServerPool
from tests.support.whole_cluster import WholeCluster


class MakeFerry(Protocol):
    """Starts two servers for this test, and replicas of the source. The Ferry between them is not created yet."""

    def __call__(
        self, family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3, replicas: int = 0
    ) -> ClusterFerry: ...


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

    def start(family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3, replicas: int = 0) -> ClusterFerry:
        flags: dict[str, Flag] = {"bind_address": whole_cluster.gateway}
        source, target, *replicating = (server_pool.start(family, flags) for _ in range(2 + replicas))
        servers.extend((source, target, *replicating))
        for replica in replicating:
            Replication(source, replica).start()
        pair = Pair(source, target)
        ferries.append(ClusterFerry(whole_cluster, pair, words[:30].strip("-"), replicating, rows=rows, odd=odd))
        return ferries[-1]

    yield start
    for ferry in ferries:
        ferry.delete_namespace()
    for server in servers:
        server_pool.end(server)
