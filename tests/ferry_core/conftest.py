"""A pair of servers with sessions on both."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Pair
from tests.support.table_pair import TablePair


@pytest.fixture
def both(pair: Pair) -> Iterator[TablePair]:
    it = TablePair(pair)
    yield it
    it.close()
