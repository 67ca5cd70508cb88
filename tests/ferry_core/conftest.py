"""A pair of servers with sessions on both."""

from collections.abc import Iterator

import pytest

from tests.support.crossing import Crossing
from tests.support.servers import Pair


@pytest.fixture
def crossing(pair: Pair) -> Iterator[Crossing]:
    it = Crossing(pair)
    yield it
    it.close()
