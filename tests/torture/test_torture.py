"""A slice of `make torture`, with another seed for each commit; and the parts of it that need no server."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ferry_core.reasons import Reason
from hack.servers import Family
from tests.support.servers import Pair
from tests.support.slices import commit_number
from tests.support.waits import wait_until
from tests.torture import figures
from tests.torture.__main__ import main
from tests.torture.faults import ALL
from tests.torture.orphans import Orphans
from tests.torture.plan import Plan, make_plan
from tests.torture.round import Round
from tests.torture.shrink import shrink
from tests.torture.tables import EXTRAS, ROW_FORMATS, Shape, kinds, may_be_partitioned

SECONDS = 150


@pytest.mark.slow
@pytest.mark.parametrize("family", [family.value for family in Family])
def test_a_slice(family: str) -> None:
    seed = commit_number() % 10**6
    options = ["--seconds", str(SECONDS), "--shrink-seconds", "0", "--family", family, "--seed", str(seed)]
    assert main(options) == 0, f"make torture SEED={seed}; the output says which round, and how it ended"


def test_every_shape_of_a_table_is_accepted(pair: Pair, schema: str) -> None:
    rng = random.Random(1)
    for odd in kinds(pair.family):
        shapes = [Shape(odd.name, tuple(EXTRAS), row_format=row_format) for row_format in set(ROW_FORMATS)]
        shapes += [Shape(odd.name, tuple(EXTRAS), partitions=2)] if may_be_partitioned(odd) else []
        for shape in shapes:
            table = shape.table(pair.family)
            rows = table.inserts(schema, range(3), rng)
            pair.source.execute(table.ddl(schema), *rows, f"DROP TABLE `{schema}`.`{table.name}`")
    assert pair.source.query(f"SHOW TABLES FROM `{schema}`") == []


@pytest.mark.parametrize("family", Family)
def test_a_seed_says_everything(family: Family) -> None:
    for seed in range(50):
        plan = make_plan(seed, family)
        assert make_plan(seed, family) == plan
        assert Plan.from_json(plan.to_json()) == plan
    assert make_plan(1, family) != make_plan(2, family)


def test_a_changed_table_ends_no_run_that_copies_it_again() -> None:
    played = Round.__new__(Round)
    altered, truncated, killed = ALL["table altered"], ALL["table truncated"], ALL["source killed"]
    for on_change, tried, may_end in (
        ("Fail", [altered], True),
        ("Recopy", [altered, truncated], False),
        ("Recopy", [altered, killed], True),
        ("Recopy", [altered, ALL["table dropped"]], True),
    ):
        played.plan = replace(make_plan(1, Family.MYSQL), spec={"schema": {"onChange": on_change}})
        played._tried = tried
        assert (Reason.SCHEMA_CHANGED in played.reasons) is may_end


def test_a_failure_is_made_smaller() -> None:
    plan = make_plan(7, Family.MYSQL)
    needed = replace(plan.actions[3], faults=("source killed", "target cut"))
    plan = plan.with_actions((*plan.actions[:3], needed, *plan.actions[4:]))
    played = 0

    def fails(smaller: Plan) -> bool:
        nonlocal played
        played += 1
        happened = [name for action in smaller.actions for name in action.faults]
        return "source killed" in happened and "update" in smaller.kinds

    plan = replace(plan, kinds=("insert", "update", "delete"))
    smallest = shrink(plan, fails, lambda: True)
    assert [action.faults for action in smallest.actions] == [("source killed",)]
    assert (smallest.tables, smallest.kinds, smallest.threads) == ((), ("update",), 1)
    assert played < 100


def test_a_failure_is_made_smaller_only_as_long_as_there_is_time() -> None:
    plan = make_plan(7, Family.MYSQL)
    assert shrink(plan, lambda _: True, lambda: False) == plan


def test_counts_add_up_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    blocked = "longest time without writes, ms"
    figures.add(path, Family.MYSQL, Counter({"kills": 2, blocked: 900}))
    figures.add(path, Family.MYSQL, Counter({"kills": 3, blocked: 400}))
    figures.add(path, Family.MARIADB, Counter({"kills": 1}))
    total = figures.read(path, path)
    assert total == {Family.MYSQL: Counter({"kills": 10, blocked: 900}), Family.MARIADB: Counter({"kills": 2})}


def test_forgotten_xa_transactions_are_decided_and_others_are_not(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    forgotten, known = (f"X'{name.encode().hex()}',X'5c27',7" for name in (f"{schema} 1", f"{schema} 2"))
    for number, xid in enumerate((forgotten, known)):
        insert = f"INSERT INTO `{schema}`.t VALUES ({number})"
        pair.source.execute(f"XA START {xid}", insert, f"XA END {xid}", f"XA PREPARE {xid}")
    orphans = Orphans(pair.source, lambda: {known})
    orphans.start()
    wait_until(lambda: orphans.decided == 1, "the forgotten one is rolled back")
    orphans.stop()
    pair.source.decide_xa(f"XA COMMIT {known}")
    assert pair.source.query(f"SELECT id FROM `{schema}`.t") == [(1,)]
