"""What the lease says of tables that a run claims: Claimed, as long as no row of its Ferry can be in any of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_core.api.report import Stage
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.consistency.fence import Fence, Lease, read_lease
from ferry_core.consistency.own_tables import CLAIMED
from ferry_core.errors import ConfigError, Fenced
from ferry_core.manifest import load
from ferry_core.mysql.listings import exists
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.claim import note_emptied, refuse_rows, take_fence, writes_begin
from ferry_core.run.copy_again import drop_changed
from ferry_core.run.setup import RunContext
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import TableName
from ferry_core.workers.connections import Connections
from tests.support.manifests import ferry_between, write
from tests.support.servers import Pair


class Claims:
    """Runs of one Ferry, which come as far as their claim; of tables t and u, of which the target has t."""

    def __init__(self, pair: Pair, schema: str, folder: Path) -> None:
        self.pair, self.schema, self.uid = pair, schema, schema[-36:]
        for server in (pair.source, pair.target):
            server.execute(
                f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)"
            )
        pair.source.execute(f"CREATE TABLE `{schema}`.u (id INT PRIMARY KEY)")
        documents = ferry_between(pair.source.endpoint(), pair.target.endpoint("target"))
        documents[0]["metadata"]["uid"] = self.uid
        self.loaded = load([write(folder, *documents)])
        self.connections = Connections(lambda: self.loaded.source, lambda: self.loaded.target)
        self.store = SqliteStore(folder / "state.db")

    def state(self) -> RunState:
        return RunState(ferry_uid=self.uid, ferry_name="o", source_id="s", selection="{}")

    def context(self, *tables: str, state: RunState | None = None) -> RunContext:
        self.loaded.ferry.spec.tables.include[:] = [f"{self.schema}.{name}" for name in tables]
        with Session(self.loaded.source, Purpose.CONTROL) as source:
            found = discover(source, self.loaded.ferry.spec.tables)
        return RunContext(
            *(self.loaded.ferry, self.uid, "o", self.pair.flavor, "s"),
            *(self.connections, self.store, state, self.lease()),
            tables=found,
        )

    def take(self, *tables: str, state: RunState | None = None) -> Fence:
        return take_fence(self.context(*tables, state=state), state or self.state())

    def write(self, fence: Fence, *tables: str) -> None:
        writes_begin(fence, [TableName(self.schema, name) for name in tables])

    def lease(self) -> Lease | None:
        with Session(self.loaded.target, Purpose.CONTROL) as target:
            return read_lease(target, self.uid)

    def unwritten(self) -> set[str]:
        lease = self.lease()
        assert lease is not None
        return {name.removeprefix(f"{self.schema}.") for name in lease.unwritten}

    def phase(self) -> str:
        lease = self.lease()
        assert lease is not None
        return lease.phase

    def load(self, row: int = 1) -> None:
        self.pair.target.execute(f"INSERT INTO `{self.schema}`.t VALUES ({row})")

    def empty(self) -> None:
        self.pair.target.execute(f"DELETE FROM `{self.schema}`.t")

    def refused(self, *tables: str, state: RunState | None = None) -> None:
        with pytest.raises(ConfigError, match=f"TargetNotEmpty.*that this Ferry did not write are in {self.schema}.t"):
            self.take(*tables, state=state)


@pytest.fixture
def claims(pair: Pair, schema: str, tmp_path: Path) -> Iterator[Claims]:
    made = Claims(pair, schema, tmp_path)
    yield made
    made.store.close()
    pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{made.uid}'")


def test_until_rows_may_be_written(claims: Claims) -> None:
    first = claims.take("t", "u")
    assert claims.phase() == CLAIMED
    second = claims.take("t", "u")
    assert claims.phase() == CLAIMED
    with pytest.raises(Fenced):
        claims.write(first, "t", "u")
    assert claims.phase() == CLAIMED
    for _ in range(2):
        claims.write(second, "t", "u")
        assert claims.phase() == Stage.COPYING.value


def test_rows_that_came_before_the_claim(claims: Claims) -> None:
    """Between preflight and the claim, or between two runs. Nothing is claimed then."""
    claims.load()
    claims.refused("t", "u")
    lease = claims.lease()
    assert lease is not None
    assert lease.tables == []
    claims.empty()
    fence = claims.take("t", "u")
    claims.load()
    claims.refused("t", "u")
    assert claims.phase() == CLAIMED
    with Session(claims.loaded.target, Purpose.CONTROL) as target, pytest.raises(ConfigError, match="TargetNotEmpty"):
        refuse_rows(target, [TableName(claims.schema, "u"), TableName(claims.schema, "t")])
    with pytest.raises(Fenced):
        fence.read()


@pytest.mark.parametrize("theirs", [True, False])
def test_a_table_to_copy_again_is_not_dropped_with_rows_of_others(claims: Claims, theirs: bool) -> None:
    """They came after the claim."""
    state, of_t = claims.state(), f"{claims.schema}.t"
    state.tables, state.created = {of_t: TableState()}, [of_t]
    fence = claims.take("t", state=state)
    if theirs:
        claims.load()
    with Session(claims.loaded.target, Purpose.CONTROL) as target:
        drop_changed(claims.context("t", state=state), fence, target)
        assert exists(target, TableName(claims.schema, "t")) is theirs


def test_empty_tables_are_claimed_once_more(claims: Claims) -> None:
    """After a start that was undone, say. Rows that may be ours are no reason to refuse."""
    claims.write(claims.take("t", "u"), "t", "u")
    claims.load()
    claims.take("t", "u")
    assert claims.phase() == Stage.COPYING.value
    claims.empty()
    claims.take("t", "u")
    assert claims.phase() == CLAIMED


def test_a_claim_of_an_earlier_version(claims: Claims) -> None:
    """It is New until a cutover is tried."""
    claims.take("t").record(phase="New", tables=[f"{claims.schema}.t"])
    claims.load()
    claims.take("t")
    assert claims.phase() == "New"
    claims.empty()
    claims.take("t")
    assert claims.phase() == CLAIMED


def test_tables_that_join(claims: Claims) -> None:
    """Rows in them are not ours, whatever is in the others."""
    claims.write(claims.take("u"), "u")
    claims.load()
    claims.refused("t", "u")
    claims.empty()
    claims.take("t", "u")
    assert claims.phase() == CLAIMED


def test_rows_of_ours_in_a_table_that_is_no_longer_selected(claims: Claims) -> None:
    claims.write(claims.take("t", "u"), "t", "u")
    claims.load()
    claims.take("u")
    assert (claims.phase(), claims.unwritten()) == (Stage.COPYING.value, {"u"})
    fence = claims.take("t", "u")
    assert (claims.phase(), claims.unwritten()) == (Stage.COPYING.value, {"u"})
    claims.write(fence, "t", "u")
    assert (claims.phase(), claims.unwritten()) == (Stage.COPYING.value, set())


def test_rows_in_a_table_that_joins_while_another_one_is_no_longer_selected(claims: Claims) -> None:
    """Nothing is known of the other one, and rows in the new one are still not ours."""
    claims.write(claims.take("u"), "u")
    fence = claims.take("t")
    assert (claims.phase(), claims.unwritten()) == (Stage.COPYING.value, {"t"})
    claims.load()
    with pytest.raises(ConfigError, match="TargetNotEmpty"):
        claims.write(fence, "t")
    claims.refused("t")
    claims.refused("t", "u")
    claims.empty()
    claims.write(claims.take("t"), "t")
    assert claims.unwritten() == set()


def test_a_table_that_was_emptied(claims: Claims) -> None:
    """Once our rows are deleted, rows in it are not ours."""
    claims.write(claims.take("t", "u"), "t", "u")
    claims.load()
    fence = claims.take("t", "u")
    assert claims.unwritten() == {"u"}
    claims.empty()
    claims.load()
    note_emptied(fence, [TableName(claims.schema, "t")])
    assert claims.unwritten() == {"t", "u"}
    with pytest.raises(ConfigError, match="TargetNotEmpty"):
        claims.write(fence, "t", "u")
    claims.refused("t", "u")


def test_a_record_of_the_start_without_a_row(claims: Claims) -> None:
    """A run was killed between the two. Rows that came since are not ours."""
    state = claims.state()
    state.tables[f"{claims.schema}.t"] = TableState(started=True)
    claims.take("t")
    fence = claims.take("t", state=state)
    assert (claims.phase(), claims.unwritten()) == (CLAIMED, {"t"})
    claims.load()
    claims.refused("t", state=state)
    with pytest.raises(Fenced):
        fence.read()


def test_a_run_that_goes_on_and_a_cutover_that_must_be_undone(claims: Claims) -> None:
    """Neither loses what its phase tells."""
    fence = claims.take("t")
    fence.record(phase=Stage.CUTTING_OVER.value, cutover={"read_only": "0"})
    claims.take("t")
    assert claims.phase() == Stage.CUTTING_OVER.value
    state = claims.state()
    state.tables[f"{claims.schema}.t"] = TableState(started=True)
    for phase in (Stage.STREAMING.value, Stage.COPYING.value, "New", CLAIMED):
        with Session(claims.loaded.target, Purpose.CONTROL) as target:
            before = f"phase = '{phase}', tables = '[\"{claims.schema}.t\"]'"  # of an earlier version
            target.execute(f"UPDATE mysql_ferry.lease SET {before} WHERE ferry_uid = '{claims.uid}'")
        claims.write(claims.take("t", state=state), "t")
        assert claims.phase() == (phase if phase != CLAIMED else Stage.COPYING.value)
