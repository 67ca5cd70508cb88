"""Both ends of one schema, with nothing in it yet."""

from collections.abc import Iterator

import pytest

from tests.support.ends import Ends
from tests.support.servers import Pair


@pytest.fixture
def ends(pair: Pair, schema: str) -> Iterator[Ends]:
    both = Ends(pair, schema)
    yield both
    both.close()
