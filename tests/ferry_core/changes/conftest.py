"""Servers whose cascades cause no events."""

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.servers import Pair, ServerPool


@pytest.fixture(scope="module")
def native_pair(make_module_server: ServerFactory, server_pool: ServerPool) -> Pair:
    """MySQL whose InnoDB executes cascades itself and logs none, like versions before 9.6."""
    return Pair(make_module_server("mysql", innodb_native_foreign_keys=True), server_pool.pair(Family.MYSQL).target)


@pytest.fixture(params=["mariadb", "native"])
def silent(request: pytest.FixtureRequest) -> Pair:
    """Servers that do not log the rows that a cascade changes."""
    found: Pair = request.getfixturevalue(f"{request.param}_pair")
    return found
