"""Late writes of rows that a row filter does not select: what the events show decides, and what they do not counts."""

import pytest

from ferry_core.run.late_writes import LateWrites
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair, set_global
from tests.support.table_pair import make_table

COLUMNS = (
    "id INT PRIMARY KEY, tenant INT UNSIGNED, name VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, at DATE"
)
ROWS = "(1, 42, 'ours', NULL), (2, 42, 'ours', NULL), (3, 5, 'theirs', NULL), (4, 6, 'theirs', '2026-01-01')"
BY_NUMBER, BY_NAME = "tenant IN ('42', '7') -- ours\n", "name = 'OURS'"
OTHERS = [
    "INSERT INTO t VALUES (9, 5, 'theirs', NULL)",
    "UPDATE t SET at = '2026-02-02', tenant = 8 WHERE id IN (3, 4)",
    "DELETE FROM t WHERE id = 4",
]


@pytest.mark.parametrize("row_filter", [BY_NUMBER, BY_NAME], ids=["number", "name"])
@pytest.mark.parametrize(
    ("ours", "changes", "named"),
    [
        ("INSERT INTO t VALUES (10, 42, 'Ours ', NULL), (11, 5, 'theirs', NULL)", 2, "2 rows (id=10; id=11)"),
        ("UPDATE t SET tenant = 5, name = 'theirs' WHERE id = 1", 1, "1 row (id=1)"),
        ("UPDATE t SET tenant = 42, name = 'ours' WHERE id = 9", 1, "1 row (id=9)"),
        ("DELETE FROM t WHERE id = 2", 1, "1 row (id=2)"),
        ("INSERT INTO t VALUES (12, NULL, NULL, NULL)", 1, "1 row (id=12)"),
    ],
    ids=["inserted", "given away", "taken over", "deleted", "unknown"],
)
def test_only_rows_that_may_be_selected_count(
    pair: Pair, schema: str, row_filter: str, ours: str, changes: int, named: str
) -> None:
    with watched(pair, schema, row_filter) as run:
        late = LateWrites(run.buffer, run.streamer.late, run.connections.source)
        pair.source.execute(f"USE `{schema}`", "UPDATE t SET name = 'before' WHERE id = 3")
        run.streamed()
        late.listen()
        pair.source.execute(f"USE `{schema}`", "UPDATE t SET name = 'still before' WHERE id = 3")
        run.streamed()
        since = run.buffer.changes
        pair.source.execute(f"USE `{schema}`", *OTHERS)
        run.streamed()
        assert late.changes(since, run.moves) == 0
        assert late.rows() == []
        pair.source.execute(f"USE `{schema}`", ours)
        run.streamed()
        assert late.changes(since, run.moves) == changes
        assert late.rows() == [f"{schema}.t: {named}"]


@pytest.mark.parametrize(
    ("row_filter", "image"), [("at = '2026-02-02'", "FULL"), (BY_NUMBER, "MINIMAL")], ids=["type", "image"]
)
def test_what_the_events_do_not_show_counts(pair: Pair, schema: str, row_filter: str, image: str) -> None:
    with set_global(pair.source, f"binlog_row_image = {image}"), watched(pair, schema, row_filter) as run:
        late = LateWrites(run.buffer, run.streamer.late, run.connections.source)
        late.listen()
        pair.source.execute(f"USE `{schema}`", "UPDATE t SET name = 'theirs too' WHERE id = 3")
        run.streamed()
        assert late.changes(0, run.moves) == 1
        assert late.rows() == [f"{schema}.t: 1 row (id=3)"]


def watched(pair: Pair, schema: str, row_filter: str) -> EngineInProcess:
    make_table(pair, schema, COLUMNS, ROWS)
    run = EngineInProcess(pair, schema, rules=[{"match": f"{schema}.t", "where": row_filter}])
    run.stream()
    return run
