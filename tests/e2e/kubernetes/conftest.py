"""The session's cluster with the operator in it, servers that its Pods reach, and a namespace for each test."""

from collections.abc import Iterator
from typing import Protocol

import pytest

from hack.servers import Family
from tests.support.servers import Pair, Server, ServerPool
from tests.support.voyage import Voyage
from tests.support.whole_cluster import WholeCluster


class Embark(Protocol):
    """Two servers of the test's own and a Ferry to be applied between them."""

    def __call__(self, family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3) -> Voyage: ...


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[WholeCluster]:
    cluster = WholeCluster()
    try:
        cluster.install_operator()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def embark(whole_cluster: WholeCluster, server_pool: ServerPool, request: pytest.FixtureRequest) -> Iterator[Embark]:
    servers: list[Server] = []
    voyages: list[Voyage] = []
    words = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0]

    def start(family: Family = Family.MYSQL, *, rows: int = 0, odd: int = 3) -> Voyage:
        source, target = (server_pool.start(family, {"bind_address": whole_cluster.gateway}) for _ in range(2))
        servers.extend((source, target))
        voyages.append(Voyage(whole_cluster, Pair(source, target), words[:30].strip("-"), rows=rows, odd=odd))
        return voyages[-1]

    yield start
    for voyage in voyages:
        voyage.leave()
    for server in servers:
        server_pool.end(server)
