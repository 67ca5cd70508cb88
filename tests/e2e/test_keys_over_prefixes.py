"""Tables whose key consists of prefixes, from check to Completed, under writers and over kill -9."""

from pathlib import Path

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.keyless import OVER_PREFIXES, UrlWriters, assert_same_rows, create_keyless
from tests.support.preflight import opened
from tests.support.servers import Pair
from tests.support.writers import seed_of_run

CUTOVER = {"mode": "Manual", "watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}


def test_they_are_moved_by_chunks_while_their_keys_change(pair: Pair, schema: str, tmp_path: Path) -> None:
    create_keyless(pair.source, schema, list(OVER_PREFIXES), doublings=10)
    with opened(pair.source, pair.target, schema) as context:
        assert [table.key.prefixed for table in context.tables] == [True, True]
    selected = {"include": [f"{schema}.*"]}
    slowly = {"maxRowsPerSecond": 1000}  # so that the walk along the key takes many steps
    with FerryProcess(tmp_path / "ferry", pair, tables=selected, cutover=CUTOVER, throttle=slowly) as ferry:
        with UrlWriters(pair.source, schema, list(OVER_PREFIXES), seed_of_run()) as writers:
            ferry.start().wait_stage("Copying", *STREAMING)
            ferry.kill()
            ferry.start().wait_stage(*STREAMING)
            ferry.kill()
            ferry.start().wait_stage("ReadyForCutover")
            ferry.cut_over()
        assert writers.writes > 10
    for name in OVER_PREFIXES:
        assert assert_same_rows(pair.source, pair.target, schema, name) > 1000
        assert_equal_tables(pair.source, pair.target, f"{schema}.{name}")
