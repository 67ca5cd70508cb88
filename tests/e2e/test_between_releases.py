"""A small part of ``make test-versions`` that each ``make test`` runs: moves between the releases used most."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.releases import install, is_from_maven
from hack.servers import Release, Unavailable
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, ServerPool
from tests.versions.matrix import CHEAP


@pytest.fixture
def between(request: pytest.FixtureRequest, server_pool: ServerPool) -> Iterator[Pair]:
    """A source of the first release and a target of the second. Not every CI machine has a mirror of Maven."""
    source, target = map(Release, request.param)
    if is_from_maven(source):
        try:
            install(source)
        except Unavailable as error:
            pytest.skip(f"{source} cannot be fetched here: {error}")
    pair = Pair(server_pool.start(source, {}), server_pool.start(target, {}))
    yield pair
    server_pool.end(pair.source)
    server_pool.end(pair.target)


@pytest.mark.parametrize("between", CHEAP, ids=" to ".join, indirect=True)
def test_a_move_between_releases(between: Pair, schema: str, tmp_path: Path) -> None:
    between.source.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    with FerryUnderLoad(between, schema, tmp_path, rows=2000, odd=8) as moving, moving.writers() as writers:
        moving.ferry.start().wait_stage("Copying", "Streaming", "ReadyForCutover")
        writers.wait_for_every_kind()
        moving.ferry.kill()
        moving.ferry.start()
        moving.finish(writers=writers)
