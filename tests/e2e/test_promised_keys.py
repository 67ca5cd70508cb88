"""Tables whose key is promised by the spec (``tables.rules[].key``): by that key while the promise holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_nullable_keys import NullableFerry
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING
from tests.support.keyless import (
    PROMISED,
    PROMISED_NULLABLE,
    NullableWriters,
    PromisedWriters,
    assert_same_rows,
    create_keyless,
)
from tests.support.servers import Pair
from tests.support.waits import wait_until
from tests.support.writers import seed_of_run


class PromisedFerry(NullableFerry):
    def judge(self) -> None:
        for name in PROMISED:
            assert assert_same_rows(self.pair.source, self.pair.target, self.schema, name) > 100
            assert_equal_tables(self.pair.source, self.pair.target, f"{self.schema}.{name}")


@pytest.fixture
def ferry(pair: Pair, schema: str, tmp_path: Path) -> Iterator[PromisedFerry]:
    create_keyless(pair.source, schema, list(PROMISED), doublings=9)
    rules = [{"match": f"{schema}.*", "key": ["u"]}]
    with PromisedFerry(pair, schema, tmp_path / "ferry", rules=rules) as it:
        yield it


def test_they_are_moved_by_that_key(ferry: PromisedFerry) -> None:
    with PromisedWriters(ferry.pair.source, ferry.schema, list(PROMISED), seed_of_run()) as writers:
        ferry.start().wait_stage("Copying", *STREAMING)
        ferry.kill()
        ferry.start().wait_stage(*STREAMING)
        ferry.kill()
        ferry.start().wait_stage("ReadyForCutover")
        assert ferry.keyed() == set(PROMISED)
        ferry.cut_over()
    assert writers.writes > 10
    ferry.judge()


def test_equal_values_are_noticed_and_lose_nothing(ferry: PromisedFerry) -> None:
    source, schema = ferry.pair.source, ferry.schema
    with PromisedWriters(source, schema, list(PROMISED), seed_of_run()) as writers:
        ferry.start().wait_stage(*STREAMING)
        source.execute(f"INSERT INTO `{schema}`.counted (n, note, u) VALUES (1, 'equal', 5), (1, 'equal', 5)")
        wait_until(lambda: ferry.keyed() == {"named"}, "the checkpoint says that one is copied whole")
        wait_until(lambda: "KeyNotUnique" in ferry.log.read_text(), "the log says why")  # after the checkpoint
        ferry.kill()
        ferry.start().wait_stage("ReadyForCutover")
        writers.twice = True
        ferry.cut_over()
    ferry.judge()


def test_another_index_takes_over_when_one_is_dropped(ferry: PromisedFerry) -> None:
    """Without another one the table is copied whole."""
    source, schema = ferry.pair.source, ferry.schema
    with PromisedWriters(source, schema, list(PROMISED), seed_of_run()):
        ferry.start().wait_stage(*STREAMING)
        source.execute(f"ALTER TABLE `{schema}`.named RENAME INDEX by_both TO other")
        wait_until(lambda: "KeyIndexChanged" in ferry.log.read_text(), "the run has noticed it")
        ferry.wait_stage(*STREAMING)
        assert ferry.keyed() == set(PROMISED)
        source.execute(f"ALTER TABLE `{schema}`.counted DROP INDEX by_u")
        wait_until(lambda: ferry.keyed() == {"named"}, "the checkpoint says that one is copied whole")
        ferry.wait_stage("ReadyForCutover")
        ferry.cut_over()
    for name in PROMISED:
        assert assert_same_rows(source, ferry.pair.target, schema, name) > 100


def test_null_in_a_promised_key_loses_nothing(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The first NULL comes during the copy, another table's during the stream, and they keep coming."""
    create_keyless(pair.source, schema, list(PROMISED_NULLABLE), doublings=9)
    rules = [{"match": f"{schema}.unset", "key": ["u"]}, {"match": f"{schema}.half_set", "key": ["u", "shop"]}]
    with (
        NullableWriters(pair.source, schema, list(PROMISED_NULLABLE), seed_of_run()) as writers,
        PromisedFerry(pair, schema, tmp_path / "ferry", rules=rules) as ferry,
    ):
        ferry.start().wait_stage("Copying")
        wait_until(lambda: ferry.stored().get("unset", {}).get("frontier"), "a chunk of it is stored")
        assert ferry.keyed() == set(PROMISED_NULLABLE)
        pair.source.execute(f"INSERT INTO `{schema}`.unset (n, note, u) VALUES (1, 'equal', NULL), (1, 'equal', NULL)")
        ferry.kill()  # it has seen the event, or not
        ferry.start()
        wait_until(lambda: ferry.keyed() == {"half_set"}, "the checkpoint says that one is copied whole")
        ferry.wait_stage(*STREAMING)
        pair.source.execute(f"UPDATE `{schema}`.half_set SET shop = NULL WHERE n = 2 LIMIT 2")
        wait_until(lambda: not ferry.keyed(), "so is the other")
        ferry.kill()
        assert ferry.log.read_text().count("KeyHasNull") >= 2
        ferry.start().wait_stage("ReadyForCutover")
        writers.nulls = True
        ferry.cut_over()
    assert writers.writes > 10
    for name in PROMISED_NULLABLE:
        assert assert_same_rows(pair.source, pair.target, schema, name) > 100
        assert_equal_tables(pair.source, pair.target, f"{schema}.{name}")
