"""Both servers with one schema, which is still empty."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Pair
from tests.support.table_pair import TablePair


@pytest.fixture
def both(pair: Pair, schema: str) -> Iterator[TablePair]:
    both = TablePair(pair, schema)
    yield both
    both.close()
