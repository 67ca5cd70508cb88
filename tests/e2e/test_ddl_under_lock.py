"""DDL during an attempt to cut over, where the lock on the source lets it pass or keeps it waiting."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_lock_tables import waiting
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.hooks import HookServer
from tests.support.servers import Pair
from tests.support.waits import Background, wait_until

ADDS = "ADD COLUMN added INT NOT NULL DEFAULT 1"


@pytest.fixture(name="gate")
def _gate() -> Iterator[HookServer]:
    """It says that writes are stopped, and stops none."""
    with HookServer() as server:
        yield server


def webhook(gate: HookServer) -> dict[str, Any]:
    return {"sourceLock": "Webhook", "webhooks": {name: {"url": gate.url(f"/{name}")} for name in ("lock", "unlock")}}


def is_named(pair: Pair, schema: str, folder: Path, **cutover: Any) -> None:
    """A statement that comes after the last check, before the cutover is recorded."""
    with FerryUnderLoad(pair, schema, folder, odd=1, cutover={"watchFor": "5s"} | cutover) as under_load:
        under_load.hold_record()
        link = under_load.connect(pair.source)
        ddl = Background(lambda: link.cursor().execute(f"ALTER TABLE `{schema}`.aim {ADDS}"))
        wait_until(lambda: not ddl.running or waiting(pair.source, ADDS), "it is done, or waits for the lock")
        assert ddl.running is (cutover.get("sourceLock") == "LockTables")
        under_load.proxy.release()
        assert under_load.ferry.wait_end() == 65, under_load.ferry.tail()
        ddl.join()
        said = under_load.ferry.tail()
        assert under_load.phase() == "Completed"
        assert "SourceWrittenAfterCutover" in said
        assert ADDS in said


@pytest.mark.parametrize("lock", ["LockTables", "Webhook"])
def test_a_statement_while_the_cutover_is_recorded_is_named(
    pair: Pair, schema: str, tmp_path: Path, gate: HookServer, lock: str
) -> None:
    """LOCK TABLES keeps it waiting to the end of the watch; a user's server may have stopped writes only."""
    is_named(pair, schema, tmp_path, **(webhook(gate) if lock == "Webhook" else {"sourceLock": lock}))


def test_a_statement_that_passes_read_only_is_named(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    """By an account with READ ONLY ADMIN; on MySQL super_read_only refuses it."""
    is_named(mariadb_pair, schema, tmp_path, sourceLock="ReadOnly")


def goes_on(under_load: FerryUnderLoad) -> None:
    """Alter a table now, while the drain waits; the attempt is undone, the table copied again."""
    table = under_load.tables[0].name
    under_load.pair.source.execute(f"ALTER TABLE `{under_load.schema}`.`{table}` {ADDS}")
    under_load.ferry.wait_stage("Validating", "Copying", "Streaming", "ReadyForCutover")


def test_a_statement_in_the_drain_behind_a_webhook(pair: Pair, schema: str, tmp_path: Path, gate: HookServer) -> None:
    spec: dict[str, Any] = {"cutover": webhook(gate), "schema": {"onChange": "Recopy"}}
    with FerryUnderLoad(pair, schema, tmp_path, odd=2, **spec) as under_load:
        with under_load.writers(1):
            under_load.ferry.start().wait_stage("ReadyForCutover")
        holder = under_load.block_row()
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = v + 1 WHERE id = 1")
        under_load.ferry.post("cutover")
        under_load.ferry.wait_stage("CuttingOver")
        gate.wait_for("/lock")
        goes_on(under_load)
        holder.close()
        under_load.finish(approve=False)
        assert gate.at("/unlock")[0].body["lockId"] == gate.at("/lock")[0].body["lockId"]


def test_a_statement_in_the_drain_that_passes_read_only(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    spec: dict[str, Any] = {"schema": {"onChange": "Recopy"}}
    with (
        FerryUnderLoad(mariadb_pair, schema, tmp_path, odd=2, **spec) as under_load,
        under_load.writers(1) as writers,
    ):
        under_load.ferry.start()
        with under_load.held_in_drain():
            goes_on(under_load)
        under_load.finish(writers=writers, approve=False)
