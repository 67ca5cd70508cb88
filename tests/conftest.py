"""Fixtures: real servers of both families, started on demand. ``tests/support/servers.py`` does the work."""

import atexit
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

import pytest
from hypothesis import settings

from hack.servers import Family
from tests.support.kube_api import KubeApi
from tests.support.scheduling import OneByOne, build_kubernetes
from tests.support.servers import Flag, Pair, Server, ServerPool, schema_name
from tests.support.slices import Slice

# Some machines set it; then each ferry that a test starts compiles all that it imports: half a second of CPU.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine stops a process for longer than the 200 ms that one example may take by default.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


class ServerFactory(Protocol):
    """Starts a server of ``family`` with flags in addition to the defaults; None removes a default."""

    def __call__(self, family: str, *, disk_megabytes: int | None = None, **flags: Flag) -> Server: ...


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slice",
        default="all",
        help="cells of the slow tests to run: all (default), commit (one slice, chosen by the commit), or 1/6 to 6/6",
    )
    parser.addoption(
        "--build-kubernetes",
        action="store_true",
        help="build Kubernetes in the background, if it is not there, and run the tests that need it afterwards",
    )
    parser.addoption("--before", help="run the tests of an upgrade, from this commit or tag")
    parser.addoption("--network", action="store_true", help="run the tests with NetworkPolicies in force, too")
    parser.addoption("--versions", action="store_true", help="run the tests with every release of the servers, too")


def _slice(config: pytest.Config) -> Slice | None:
    try:
        return Slice.parse(config.getoption("--slice"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    chosen = _slice(config)
    if chosen is None:
        return "slow tests: all cells"
    return f"slow tests: cells of slice {chosen} (again: --slice {chosen}; all cells: make test-all)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _slice(config)
    left_out = chosen.left_out(items) if chosen else set()
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_configure() -> None:
    """SIGTERM and Ctrl-C end the session, and its servers too."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell's background job ignores it by default


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    """Called by pytest-xdist. Its own marks for this do nothing under pytest 9.2."""
    return OneByOne(config, log, build_kubernetes() if config.getoption("--build-kubernetes") else None)


@pytest.fixture(scope="session")
def server_pool() -> Iterator[ServerPool]:
    pool = ServerPool()
    atexit.register(pool.close)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def mysql_pair(server_pool: ServerPool) -> Pair:
    return server_pool.pair(Family.MYSQL)


@pytest.fixture(scope="session")
def mariadb_pair(server_pool: ServerPool) -> Pair:
    return server_pool.pair(Family.MARIADB)


@pytest.fixture(scope="session", params=[family.value for family in Family])
def pair(request: pytest.FixtureRequest, server_pool: ServerPool) -> Pair:
    """Runs its test once per family."""
    return server_pool.pair(Family(request.param))


@pytest.fixture(autouse=True)
def _servers_are_usable(request: pytest.FixtureRequest) -> Iterator[None]:
    """Before all other fixtures of a test, and after them."""
    wanted = [name for name in ("pair", "mysql_pair", "mariadb_pair") if name in request.fixturenames]
    if wanted:
        pool: ServerPool = request.getfixturevalue("server_pool")
        pool.revive()
    pairs: list[Pair] = [request.getfixturevalue(name) for name in wanted]
    yield
    for each in pairs:
        each.source.wait_not_reserved()


def _factory(pool: ServerPool) -> Iterator[ServerFactory]:
    started: list[Server] = []

    def start(family: str, *, disk_megabytes: int | None = None, **flags: Flag) -> Server:
        server = pool.start(Family(family), flags, disk_megabytes)
        started.append(server)
        return server

    yield start
    for server in started:
        pool.end(server)


@pytest.fixture
def make_server(server_pool: ServerPool) -> Iterator[ServerFactory]:
    """Starts servers for one test."""
    yield from _factory(server_pool)


@pytest.fixture(scope="module")
def make_module_server(server_pool: ServerPool) -> Iterator[ServerFactory]:
    """Starts servers for all tests of a module."""
    yield from _factory(server_pool)


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new schema on the source of every pair that the test uses; schemas with this prefix are dropped on both servers
    afterwards.
    """
    wanted = [name for name in ("pair", "mysql_pair", "mariadb_pair") if name in request.fixturenames]
    pairs: list[Pair] = [request.getfixturevalue(name) for name in wanted]
    name = schema_name(request.node.name, uuid.uuid4().hex[:6])
    for each in pairs:
        each.source.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    yield name
    for each in pairs:
        each.source.drop_schemas(name)
        each.target.drop_schemas(name)


@pytest.fixture(scope="session")
def kube_api() -> Iterator[KubeApi]:
    """A real kube-apiserver with the Ferry CRD; nothing runs Pods."""
    api = KubeApi()
    try:
        api.start()
        api.install_crd()
        yield api
    finally:
        api.stop()
