"""A throttle acts on every thread that moves rows, also on copies of whole tables."""

import pytest

from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle.signal import FREE, Verdict
from tests.support.engine_in_process import EngineInProcess
from tests.support.keyless import assert_same_rows, create_keyless
from tests.support.servers import Pair
from tests.support.waits import wait_until


class Switch:
    """A signal that a test turns on and off."""

    name = "query"

    def __init__(self) -> None:
        self.on = True

    def apply(self, settings: Settings) -> None:
        """It has no settings."""

    def verdict(self, now: float) -> Verdict:  # noqa: ARG002 - only the switch decides
        return Verdict(True, "query true > false") if self.on else FREE

    def close(self) -> None:
        """Nothing is open."""


def rows(pair: Pair, schema: str, table: str) -> int:
    return int(pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.`{table}`"))


def test_a_whole_table_is_copied_at_once_and_its_rows_count_against_the_limit(mariadb_pair: Pair, schema: str) -> None:
    create_keyless(mariadb_pair.source, schema, ["plain"])
    with EngineInProcess(mariadb_pair, schema) as run:
        run.throttle.rate.set(2)  # 256 rows are those of two minutes
        run.stream()
        run.chunk().join()
        assert run.throttle.rate.must_wait()
    assert_same_rows(mariadb_pair.source, mariadb_pair.target, schema, "plain")


@pytest.mark.parametrize("table", ["plain", "keyed"])
def test_a_signal_holds_chunks_and_changed_keys(mariadb_pair: Pair, schema: str, table: str) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    if table == "plain":
        create_keyless(source, schema, ["plain"])
    else:
        source.execute(f"CREATE TABLE {schema}.keyed (n INT PRIMARY KEY)", f"INSERT INTO {schema}.keyed VALUES (1)")
    switch = Switch()
    with EngineInProcess(mariadb_pair, schema) as run:
        run.throttle.watch([switch])
        run.throttle.evaluate()
        run.go()
        copied = source.value(f"SELECT COUNT(*) FROM {schema}.{table}")
        wait_until(lambda: run.throttle.seconds()["query"] > 1, "it has held the copy for a second")
        assert rows(mariadb_pair, schema, table) == 0
        switch.on = False
        run.throttle.evaluate()
        wait_until(lambda: rows(mariadb_pair, schema, table) == copied, "the rows are in")
        run.quiet()
        switch.on = True
        run.throttle.evaluate()
        held = run.throttle.seconds()["query"]
        wait_until(lambda: run.throttle.seconds()["query"] > held + 1, "the flusher waits")
        source.execute(f"INSERT INTO {schema}.{table} (n) VALUES (777)")
        wait_until(lambda: run.buffer.changes > 0, "the change was read")
        held = run.throttle.seconds()["query"]
        wait_until(lambda: run.throttle.seconds()["query"] > held + 1, "the change is held back")
        assert target.value(f"SELECT COUNT(*) FROM {schema}.{table} WHERE n = 777") == 0
        switch.on = False
        run.throttle.evaluate()
        wait_until(lambda: target.value(f"SELECT COUNT(*) FROM {schema}.{table} WHERE n = 777") == 1, "the row is in")
