"""Indexes that are added once a table's rows are in: under writes, across kills, and before any cutover."""

import contextlib
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.servers import Pair
from tests.support.waits import meanwhile, wait_until

ROWS = 16_384
TABLE = """CREATE TABLE {name} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT NOT NULL, b VARCHAR(60) NOT NULL,
    c VARCHAR(60) NOT NULL, p INT, KEY by_a (a), KEY of_parent (p), KEY by_b (b), FULLTEXT KEY words (b, c),
    KEY by_ab (a, b),
    CONSTRAINT {name}_parent FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)"""


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    source = pair.source
    source.execute(
        f"USE `{schema}`", "CREATE TABLE parent (id INT PRIMARY KEY)", "INSERT INTO parent VALUES (1), (2), (3)"
    )
    for name in ("large", "larger"):
        source.execute(
            f"USE `{schema}`",
            TABLE.format(name=name),
            f"INSERT INTO {name} (a, b, c, p) VALUES (1, 'some words', 'more of them', 1)",
        )
        while int(source.value(f"SELECT COUNT(*) FROM `{schema}`.{name}")) < ROWS:
            source.execute(
                f"USE `{schema}`",
                f"INSERT INTO {name} (a, b, c, p) SELECT id * 7, HEX(id * 2654435761), c, 1 + id % 2 FROM {name}",
            )
        source.execute(f"ANALYZE TABLE `{schema}`.{name}")
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})


def writing(cli: FerryCli) -> AbstractContextManager[None]:
    """All the time, also while indexes are built."""

    def write(over: threading.Event) -> None:
        number = 0
        while not over.wait(0.01):
            number += 1
            for name in ("large", "larger"):
                cli.pair.source.execute(
                    f"USE `{cli.schema}`",
                    f"UPDATE {name} SET a = a + 1, b = CONCAT('word ', {number}) WHERE id = {number % ROWS}",
                    f"INSERT INTO {name} (a, b, c, p) VALUES ({number}, 'new', 'row', 2)",
                    f"DELETE FROM {name} WHERE id = {ROWS - number}",
                )

    return meanwhile(write)


def definitions(cli: FerryCli) -> list[list[str]]:
    return [
        [server.query(f"SHOW CREATE TABLE `{cli.schema}`.{name}")[0][1].split("AUTO_INCREMENT=")[0]
         for name in ("large", "larger", "parent")]
        for server in (cli.pair.source, cli.pair.target)
    ]  # fmt: skip


def cut_over(cli: FerryCli, process: FerryProcess) -> None:
    process.wait_stage("ReadyForCutover")
    on_source, on_target = definitions(cli)
    assert on_target == on_source
    process.post("cutover")
    ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert_equal_schemas(cli.pair.source, cli.pair.target, cli.schema)


def test_a_copy_under_writes_ends_with_the_same_definitions(cli: FerryCli) -> None:
    with cli.process() as process:
        with writing(cli):
            process.start().wait_stage("ReadyForCutover")
        cut_over(cli, process)
        log = process.log.read_text()
    assert log.count("DROP KEY `of_parent`") == 2  # which only gets its place
    assert "supported yet" not in log


@pytest.mark.parametrize("ends", ["killed", "stopped"])
def test_a_run_that_ends_while_the_target_builds(cli: FerryCli, ends: str) -> None:
    """Somebody's transaction on the target keeps the index of one table from being added; the other table's is."""
    schema, target = cli.schema, cli.pair.target
    cli.spec["throttle"] = {"maxRowsPerSecond": 8000}
    cli.spec["copy"] = {"chunkTargetBytes": "64Ki"}
    altering = "SELECT id FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%larger%'"
    with cli.process() as process, contextlib.closing(target.connect(autocommit=False)) as user:
        process.start().wait_stage("Copying")
        wait_until(lambda: cli.stored()["tables"], "a checkpoint")
        wait_until(lambda: target.query(f"SELECT id FROM `{schema}`.larger LIMIT 1"), "rows on the target")
        user.cursor().execute(f"SELECT COUNT(*) FROM `{schema}`.larger")
        wait_until(lambda: target.query(altering), "the ALTER waits")
        process.wait_status(lambda status: "adding indexes" in status["message"])
        assert process.status()["stage"] == "Copying"
        wait_until(lambda: cli.stored()["indexes_deferred"] == [f"{schema}.larger"], "the other table is done")
        process.post("cutover")  # approved early: it waits
        if ends == "killed":
            process.kill()
        else:
            process.terminate()
            wait_until(lambda: not target.query(altering), "the ALTER ends with the run")
        process.start()
        process.wait_status(lambda status: "others keep the table in use" in status["message"])
        states = {table["name"]: table["state"] for table in process.get("/api/v1/tables")["tables"]}
        assert {name for name, state in states.items() if state == "Indexing"} == {f"{schema}.larger"}
        assert set(states.values()) == {"Copied", "Indexing"}
        assert not any("by_b" in text for text in definitions(cli)[1][1:2])
        user.rollback()
        cut_over(cli, process)


def test_a_lost_state_does_not_lose_the_indexes(cli: FerryCli) -> None:
    """A run that starts over with empty tables that it has created itself."""
    cli.spec["throttle"] = {"maxRowsPerSecond": 500}
    with cli.process() as process:
        process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 0)
        process.kill()
        cli.state.unlink()
    cli.spec["throttle"] = {}
    with cli.process() as process:
        process.options = ["--restart"]
        process.start()
        cut_over(cli, process)


def test_without_deferring_all_indexes_are_made_with_the_table(cli: FerryCli) -> None:
    cli.spec["schema"] = {"deferIndexes": False}
    with cli.process() as process:
        process.start()
        cut_over(cli, process)
        assert "adding indexes" not in process.log.read_text()
