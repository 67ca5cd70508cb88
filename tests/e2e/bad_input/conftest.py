"""A Ferry of one small table, to be spoilt by each test in its way."""

from pathlib import Path

import pytest

from tests.support.commands import Bench, fill
from tests.support.servers import Pair


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> Bench:
    fill(pair.source, schema, "t")
    return Bench(tmp_path / "ferry", pair, schema)


@pytest.fixture
def one(tmp_path: Path, mysql_pair: Pair, schema: str) -> Bench:
    """For mistakes that no server hears of, or both families answer alike."""
    fill(mysql_pair.source, schema, "t")
    return Bench(tmp_path / "ferry", mysql_pair, schema)
