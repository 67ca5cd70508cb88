"""Tables whose only key is a UNIQUE index over columns that may be NULL: by that key until a row has NULL in it."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.keyless import NULLABLE, NullableWriters, assert_same_rows, create_keyless
from tests.support.servers import Pair
from tests.support.waits import wait_until
from tests.support.writers import seed_of_run

CUTOVER = {"mode": "Manual", "watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}


class NullableFerry(FerryProcess):
    """Moves ``NULLABLE``, slowly enough that the walk along the key takes many steps."""

    def __init__(self, pair: Pair, schema: str, folder: Path, rules: Sequence[dict[str, Any]] = ()) -> None:
        self.pair, self.schema = pair, schema
        slowly = {"maxRowsPerSecond": 1000}
        tables = {"include": [f"{schema}.*"], "rules": list(rules)}
        super().__init__(folder, pair, tables=tables, cutover=CUTOVER, throttle=slowly)

    def stored(self) -> dict[str, Any]:
        """The tables of the newest checkpoint in the state file, by name."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=10)) as database:
            found = database.execute("SELECT body FROM ferry_state").fetchone()
        tables = json.loads(found[0])["tables"] if found else {}
        return {name.partition(".")[2]: table for name, table in tables.items()}

    def keyed(self) -> set[str]:
        """The tables that are copied by key, according to the checkpoint."""
        return {name for name, table in self.stored().items() if table["nullable_key"]}

    def judge(self) -> None:
        for name in NULLABLE:
            assert assert_same_rows(self.pair.source, self.pair.target, self.schema, name) > 100
            assert_equal_tables(self.pair.source, self.pair.target, f"{self.schema}.{name}")


@pytest.fixture
def ferry(pair: Pair, schema: str, tmp_path: Path) -> Iterator[NullableFerry]:
    create_keyless(pair.source, schema, list(NULLABLE), doublings=9)
    with NullableFerry(pair, schema, tmp_path / "ferry") as it:
        yield it


def test_they_are_moved_by_key_while_no_row_has_null(ferry: NullableFerry) -> None:
    with NullableWriters(ferry.pair.source, ferry.schema, list(NULLABLE), seed_of_run()) as writers:
        ferry.start().wait_stage("Copying", *STREAMING)
        ferry.kill()
        ferry.start().wait_stage(*STREAMING)
        ferry.kill()
        ferry.start().wait_stage("ReadyForCutover")
        assert ferry.keyed() == set(NULLABLE)
        ferry.cut_over()
    assert writers.writes > 10
    ferry.judge()


def test_null_in_every_phase_loses_nothing_over_kills(ferry: NullableFerry) -> None:
    """The first NULL comes during the copy, another table's during the stream, and they keep coming."""
    source, schema = ferry.pair.source, ferry.schema
    with NullableWriters(source, schema, list(NULLABLE), seed_of_run()) as writers:
        ferry.start().wait_stage("Copying")
        wait_until(lambda: ferry.stored().get("single", {}).get("frontier"), "a chunk of it is stored")
        source.execute(f"INSERT INTO `{schema}`.single (n, note, u) VALUES (1, 'equal', NULL), (1, 'equal', NULL)")
        ferry.kill()  # it has seen the event, or not
        ferry.start()
        wait_until(lambda: ferry.keyed() == {"pair"}, "the checkpoint says that one is copied whole")
        ferry.kill()
        ferry.start().wait_stage(*STREAMING)
        source.execute(f"UPDATE `{schema}`.pair SET shop = NULL WHERE n = 2 LIMIT 2")
        wait_until(lambda: not ferry.keyed(), "so is the other")
        ferry.kill()
        ferry.start().wait_stage("ReadyForCutover")
        writers.nulls = True
        ferry.cut_over()
    ferry.judge()


def test_null_that_comes_while_the_cutover_runs(ferry: NullableFerry) -> None:
    with NullableWriters(ferry.pair.source, ferry.schema, list(NULLABLE), seed_of_run()) as writers:
        ferry.start().wait_stage("ReadyForCutover")
        writers.nulls = True
        ferry.cut_over()
    ferry.judge()


def test_null_that_no_event_tells_is_found_before_the_first_chunk(ferry: NullableFerry) -> None:
    """Preflight does not see the prepared row, and the event of its XA COMMIT has no keys."""
    source, xid = ferry.pair.source, f"'{ferry.schema[-12:]}','b'"
    with contextlib.closing(source.connect(database=ferry.schema)) as connection, connection.cursor() as cursor:
        insert = "INSERT INTO single (n, note, u) VALUES (1, 'prepared', NULL)"
        for statement in (f"XA START {xid}", insert, f"XA END {xid}", f"XA PREPARE {xid}"):
            cursor.execute(statement)
    ferry.start().wait_status(lambda status: "waiting for XA transactions" in str(status["message"]))
    assert ferry.keyed() == set(NULLABLE)
    source.decide_xa(f"XA COMMIT {xid}")
    ferry.wait_stage("ReadyForCutover")
    assert ferry.keyed() == {"pair"}
    ferry.cut_over()
    ferry.judge()


def test_a_row_with_null_that_somebody_adds_on_the_target_does_not_stay(ferry: NullableFerry) -> None:
    ferry.start().wait_stage(*STREAMING)
    ferry.pair.target.execute(f"INSERT INTO `{ferry.schema}`.pair (n, note, u) VALUES (7, 'foreign', NULL)")
    ferry.kill()
    ferry.start().wait_stage("ReadyForCutover")
    assert ferry.keyed() == {"single"}
    ferry.cut_over()
    ferry.judge()
