"""Both servers with one schema, which is still empty."""

from collections.abc import Iterator

import pytest

from ferry_core.moves.move import TableMove
from ferry_core.verify.verifier import Verifier
from tests.support.servers import Pair
from tests.support.table_pair import TablePair
from tests.support.tables import move_of


@pytest.fixture
def both(pair: Pair, schema: str) -> Iterator[TablePair]:
    both = TablePair(pair, schema)
    yield both
    both.close()


@pytest.fixture
def move(both: TablePair) -> TableMove:
    both.on_both(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20))",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    )
    return move_of(both.table())


@pytest.fixture
def verifier(both: TablePair, move: TableMove) -> Verifier:
    made = Verifier([move], both.connect_source, both.connect_target, workers=2, rows_per_chunk=2)
    made.unproven.begin(move)
    return made
