"""Tables without a key, from check to Completed, under writers: rows equal, each as often, definitions the same."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.ferry_under_load import RECORDS_COMPLETED
from tests.support.keyless import KEYLESS, KeylessWriters, assert_same_rows, create_keyless
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until
from tests.support.writers import seed_of_run

PATIENT = {"mode": "Manual", "watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}
"""A noisy machine must not keep a run from its cutover, nor end an attempt."""
LOAD = b"LOAD DATA LOCAL"
RELATED = (
    "CREATE TABLE `{0}`.parent (id INT PRIMARY KEY)",
    "INSERT INTO `{0}`.parent VALUES (1), (2)",
    "CREATE TABLE `{0}`.child (id INT, CONSTRAINT to_parent FOREIGN KEY (id) REFERENCES `{0}`.parent (id))",
    "INSERT INTO `{0}`.child VALUES (1), (1), (NULL)",
)


def test_they_are_moved_while_they_are_written_to(pair: Pair, schema: str, tmp_path: Path) -> None:
    create_keyless(pair.source, schema)
    pair.source.execute(*(one.format(schema) for one in RELATED))
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover=PATIENT) as ferry:
        with KeylessWriters(pair.source, schema, list(KEYLESS), seed_of_run()) as writers:
            ferry.start_streaming()
            pair.source.execute(f"INSERT INTO `{schema}`.child VALUES (1), (2), (2)")  # its constraint is there by now
            ferry.wait_stage("ReadyForCutover")
            ferry.cut_over()
        assert writers.writes > 10
    for name in (*KEYLESS, "parent", "child"):
        rows = assert_same_rows(pair.source, pair.target, schema, name)
        print(f"{name}: {rows} rows, {writers.writes} writes")
        assert_equal_tables(pair.source, pair.target, f"{schema}.{name}")


class HeldFerry:
    """One table ``plain`` of 256 rows, and a proxy before the target that can hold a statement."""

    def __init__(self, pair: Pair, schema: str, folder: Path, **cutover: Any) -> None:
        self.pair, self.schema = pair, schema
        create_keyless(pair.source, schema, ["plain"])
        self.proxy = Proxy(pair.target.host, pair.target.port)
        spec = {"tables": {"include": [f"{schema}.*"]}, "cutover": PATIENT | cutover}
        self.ferry = FerryProcess(folder / "ferry", pair, target_port=self.proxy.port, **spec)
        self.ferry.edit(self._without_tls)

    @staticmethod
    def _without_tls(documents: list[dict[str, Any]]) -> None:
        for side in ("source", "target"):
            documents[0]["spec"][side]["tls"] = {
                "mode": "Disabled",
                "allowPublicKeyRetrieval": True,
            }  # or the proxy would recognise nothing

    def change(self) -> None:
        self.pair.source.execute(f"INSERT INTO `{self.schema}`.plain (n, note) VALUES (1, 'equal'), (5, 'new')")

    def rows_on_target(self) -> int:
        return int(self.pair.target.value(f"SELECT COUNT(*) FROM `{self.schema}`.plain"))

    def stored(self) -> dict[str, Any]:
        """The newest checkpoint in the state file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.ferry.state}?mode=ro", uri=True, timeout=10)) as database:
            body: dict[str, Any] = json.loads(database.execute("SELECT body FROM ferry_state").fetchone()[0])
        return body

    def same_rows(self) -> int:
        return assert_same_rows(self.pair.source, self.pair.target, self.schema, "plain")


@pytest.fixture
def held(pair: Pair, schema: str, tmp_path: Path) -> Iterator[HeldFerry]:
    it = HeldFerry(pair, schema, tmp_path)
    with it.ferry:
        yield it
    it.proxy.close()


def killed_in_a_copy(held: HeldFerry, *stages: str) -> None:
    """kill -9 when the target's table was emptied and nothing is in it yet."""
    held.proxy.wait_held(120)
    held.ferry.wait_stage(*stages)
    assert held.rows_on_target() == 0
    held.ferry.kill()
    held.proxy.release()


def test_kills_while_one_is_copied_lose_nothing(held: HeldFerry) -> None:
    ferry, proxy = held.ferry, held.proxy
    proxy.hold(LOAD)
    ferry.start()
    killed_in_a_copy(held, "Copying")

    ferry.start().wait_stage(*STREAMING)
    assert held.same_rows() == 256
    proxy.hold(LOAD)
    held.change()
    proxy.wait_held(120)
    killed_in_a_copy(held, *STREAMING)

    proxy.hold(LOAD)
    ferry.start()
    killed_in_a_copy(held, "Copying", *STREAMING)

    ferry.start().wait_stage("ReadyForCutover")
    proxy.hold(LOAD)
    ferry.post("cutover")
    with KeylessWriters(held.pair.source, held.schema, ["plain"], seed_of_run()):
        killed_in_a_copy(held, "CuttingOver")
        proxy.hold(RECORDS_COMPLETED)
        ferry.start().wait_stage("ReadyForCutover")
        ferry.post("cutover")
        proxy.wait_held(120)
        ferry.kill()
        proxy.release()
        ferry.start().wait_stage("ReadyForCutover")
        ferry.cut_over()
    held.same_rows()


def test_the_state_does_not_count_on_a_copy_that_is_not_done(held: HeldFerry) -> None:
    """The checkpoint passes the change, so that a busy table keeps no binlogs; then the table must be read again."""
    ferry = held.ferry.start_streaming()
    wait_until(lambda: held.stored()["tables"][f"{held.schema}.plain"]["walked"], "its copy is stored")
    position = held.stored()["position"]
    held.proxy.hold(LOAD)
    held.change()
    held.proxy.wait_held(120)
    wait_until(lambda: held.stored()["position"] != position, "a checkpoint passes the change")
    assert not held.stored()["tables"][f"{held.schema}.plain"]["walked"]
    ferry.kill()
    held.proxy.release()
    ferry.start().wait_stage(*STREAMING)
    assert held.same_rows() == 258, "copied again before anything else"
    ferry.cut_over()


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
def test_truncate_in_every_phase(pair: Pair, schema: str, tmp_path: Path, engine: str) -> None:
    """It is a change like any other for a table that is copied whole, also over kills."""
    names = ["plain", "indexed"]
    create_keyless(pair.source, schema, names, doublings=10)
    pair.source.execute(*(f"ALTER TABLE `{schema}`.{name} ENGINE={engine}" for name in names))
    spec: dict[str, Any] = {"tables": {"include": [f"{schema}.*"]}, "cutover": PATIENT}
    spec |= {"throttle": {"maxRowsPerSecond": 2000}, "copy": {"workers": 1}}  # the second table waits for two seconds
    emptied = [f"TRUNCATE TABLE `{schema}`.{name}" for name in names]
    with FerryProcess(tmp_path / "ferry", pair, **spec) as ferry:
        with KeylessWriters(pair.source, schema, names, seed_of_run()) as writers:
            ferry.start().wait_stage("Copying")
            pair.source.execute(emptied[0])
            ferry.wait_stage(*STREAMING)
            pair.source.execute(*emptied)
            ferry.kill()
            pair.source.execute(emptied[1])
            ferry.start().wait_stage(*STREAMING)
            pair.source.execute(f"USE `{schema}`", "TRUNCATE plain", "INSERT INTO plain (n) VALUES (5), (5)")
            ferry.wait_stage("ReadyForCutover")
            ferry.cut_over()
        assert writers.writes > 10
    for name in names:
        assert_same_rows(pair.source, pair.target, schema, name)
        assert_equal_tables(pair.source, pair.target, f"{schema}.{name}")


def test_truncate_of_a_table_with_a_key_says_what_to_do(pair: Pair, schema: str, tmp_path: Path) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.keyed (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.keyed VALUES (1)"
    )
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover=PATIENT) as ferry:
        ferry.start_streaming()
        pair.source.execute(f"TRUNCATE TABLE `{schema}`.keyed")
        ferry.fail(65, "SchemaChanged", f"{schema}.keyed", "TRUNCATE TABLE", "let applications use DELETE until the")


def test_rows_move_in_and_out_of_a_filter(pair: Pair, schema: str, tmp_path: Path) -> None:
    create_keyless(pair.source, schema, ["plain", "indexed"])
    where = "note = 'naïve' OR n = 3 -- only these"
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.*", "where": where}]}
    with FerryProcess(tmp_path / "ferry", pair, tables=tables, cutover=PATIENT) as ferry:
        ferry.start_streaming()
        for name in ("plain", "indexed"):
            assert assert_same_rows(pair.source, pair.target, schema, name, where.partition(" --")[0]) == 64
            pair.source.execute(
                f"UPDATE `{schema}`.{name} SET note = 'none' WHERE n = 2 LIMIT 10",
                f"UPDATE `{schema}`.{name} SET n = 3 WHERE n = 1 LIMIT 7",
            )
        ferry.cut_over()
    for name in ("plain", "indexed"):
        assert assert_same_rows(pair.source, pair.target, schema, name, where.partition(" --")[0]) == 61


def test_a_row_that_somebody_doubled_on_the_target_is_found(pair: Pair, schema: str, tmp_path: Path) -> None:
    create_keyless(pair.source, schema, ["plain"])
    cutover = PATIENT | {"maxAttempts": 1}
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover=cutover) as ferry:
        ferry.start().wait_stage("ReadyForCutover")
        pair.target.execute(f"INSERT INTO `{schema}`.plain SELECT * FROM `{schema}`.plain WHERE n = 2 LIMIT 1")
        ferry.post("cutover")
        said = "1 are on the target only or there too many times"
        ferry.wait_status(lambda status: said in str(status), 120)
        pair.source.execute(f"UPDATE `{schema}`.plain SET note = 'touched' WHERE n = 1 LIMIT 1")  # copied again: exact
        wait_until(lambda: pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.plain") == 256, "it is copied again")
        ferry.wait_stage("ReadyForCutover")
        ferry.cut_over()
    assert assert_same_rows(pair.source, pair.target, schema, "plain") == 256


def test_no_attempt_begins_that_could_not_end_in_time(pair: Pair, schema: str, tmp_path: Path) -> None:
    held = HeldFerry(pair, schema, tmp_path, deadline="1s")
    with held.ferry as ferry:
        ferry.start_streaming()
        held.proxy.hold(LOAD)
        held.change()
        held.proxy.wait_held()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 2, "its copy has taken two seconds")
        held.proxy.release()
        ferry.post("cutover")
        status = ferry.wait_status(lambda status: "WholeTableTooSlow" in str(status["conditions"]))
        ready = next(each for each in status["conditions"] if each["type"] == "ReadyForCutover")
        for words in (f"{schema}.plain", "cutover.deadline is 1 s", "ALTER TABLE"):
            assert words in ready["message"]
        assert status["cutover"]["attempts"] == 0
        assert pair.source.value("SELECT @@global.read_only") == 0
    held.proxy.close()
