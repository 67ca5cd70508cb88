"""Tables whose key is promised by the spec (``tables.rules[].key``): by that key while the promise holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_nullable_keys import NullableFerry
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING
from tests.support.keyless import PROMISED, PromisedWriters, assert_same_rows, create_keyless
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
        ferry.kill()
        assert "KeyNotUnique" in ferry.log.read_text()
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
