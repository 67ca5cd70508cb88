"""A Ferry of one small table, which each test breaks in its own way."""

from pathlib import Path

import pytest

from tests.support.ferry_cli import FerryCli
from tests.support.schemas import create_small_tables
from tests.support.servers import Pair


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    create_small_tables(pair.source, schema, "t")
    return FerryCli(tmp_path / "ferry", pair, schema)


@pytest.fixture
def one(tmp_path: Path, mysql_pair: Pair, schema: str) -> FerryCli:
    """For mistakes that need no server, or that both families report alike."""
    create_small_tables(mysql_pair.source, schema, "t")
    return FerryCli(tmp_path / "ferry", mysql_pair, schema)
