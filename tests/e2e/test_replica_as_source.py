"""A replica as source: rows and changes come from it, writes stop at its primary, and both targets' rows are compared
with the primary's.
"""

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.support.ferry_under_load import FerryUnderLoad, condition, failed_attempt
from tests.support.replication import Exact, exact_replica
from tests.support.servers import Flag, Pair, Server, ServerPool
from tests.support.waits import wait_until

pytestmark = pytest.mark.always

ODD = 4


@pytest.fixture(name="exact", scope="module")
def _exact(pair: Pair, server_pool: ServerPool) -> Iterator[Exact]:
    """A replica of the pair's source, which commits transactions in another order if the server can do that."""
    flags: dict[str, Flag] = {"binlog_row_image": "MINIMAL"}
    if pair.family is Family.MYSQL:
        flags |= {"replica_parallel_workers": 4, "replica_preserve_commit_order": False}
    else:
        flags |= {"slave_parallel_threads": 4, "slave_parallel_mode": "optimistic"}
    with exact_replica(pair.source, server_pool, **flags) as exact:
        yield exact


@pytest.fixture(name="successor", scope="module")
def _successor(pair: Pair, server_pool: ServerPool) -> Iterator[Exact]:
    """Another replica of the pair's source, fit to be a primary."""
    flags: dict[str, Flag] = {"sync_binlog": 1, "innodb_flush_log_at_trx_commit": 1}
    with exact_replica(pair.source, server_pool, **flags) as successor:
        yield successor


def from_replica(exact: Exact, pair: Pair, schema: str, folder: Path, **spec: Any) -> FerryUnderLoad:
    """Its writers, its locks and its comparison are those of the primary."""
    pair = replace(pair, source=exact.primary)
    unlocked = exact.read_only("OFF")  # an earlier test may have cut over from it
    exact.primary.execute(unlocked, f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4")
    under_load = FerryUnderLoad(pair, schema, folder, odd=ODD, **spec)

    def read_from_replica(documents: list[dict[str, Any]]) -> None:
        documents[0]["spec"]["source"]["port"] = exact.replica.port

    under_load.ferry.edit(read_from_replica)
    name_primary(under_load, exact.primary)
    exact.wait_applied()
    return under_load


def name_primary(under_load: FerryUnderLoad, primary: Server | None) -> None:
    """In the manifest."""

    def change(documents: list[dict[str, Any]]) -> None:
        source = documents[0]["spec"]["source"]
        source.pop("primary", None)
        if primary is not None:
            source["primary"] = {"host": primary.host, "port": primary.port}

    under_load.ferry.edit(change)


def stored(under_load: FerryUnderLoad) -> dict[str, Any]:
    """The last checkpoint."""
    with contextlib.closing(sqlite3.connect(under_load.ferry.state)) as database:
        kept: dict[str, Any] = json.loads(database.execute("SELECT body FROM ferry_state").fetchone()[0])
    return kept


def refused_after_a_loss(under_load: FerryUnderLoad) -> None:
    """The next start, as if the primary had been started again without the end of its binlog."""
    kept = stored(under_load)
    known = kept["primary"]

    def keep(primary: dict[str, Any]) -> None:
        with contextlib.closing(sqlite3.connect(under_load.ferry.state)) as database, database:
            database.execute("UPDATE ferry_state SET body = ?", [json.dumps(kept | {"primary": primary})])

    keep(known | {"start": "before", "offset": known["offset"] + (1 << 30)})
    assert under_load.ferry.start().wait_end() == 65
    assert "SourceHistoryLost" in under_load.ferry.tail()
    keep(known)


def test_a_cutover_under_writes_on_the_primary(exact: Exact, pair: Pair, schema: str, tmp_path: Path) -> None:
    with from_replica(exact, pair, schema, tmp_path) as under_load, under_load.writers() as writers:
        primary = exact.primary
        under_load.ferry.start().wait_stage("Copying", "Streaming", "ReadyForCutover")
        wait_until(lambda: stored(under_load)["primary"], "it is in the checkpoint")
        under_load.ferry.kill()
        refused_after_a_loss(under_load)
        under_load.ferry.start().wait_stage("ReadyForCutover")
        writers.plain.wait_for(50)
        with under_load.held_in_drain():
            under_load.ferry.kill()
            assert under_load.lease()[2]["server"]
        assert under_load.locked
        for other in (None, pair.target):
            name_primary(under_load, other)
            assert under_load.ferry.start().wait_end() == 64
            assert "SourceLocked" in under_load.ferry.tail()
            assert "then the source's primary, and " in under_load.ferry.tail()
        assert under_load.locked
        name_primary(under_load, primary)
        under_load.ferry.start().wait_stage("ReadyForCutover")
        assert not any(under_load.read_only())
        under_load.finish(writers=writers)
        assert under_load.locked
        assert exact.replica.value("SELECT @@GLOBAL.read_only") == 1


def test_a_replica_that_follows_another_primary(
    exact: Exact, successor: Exact, pair: Pair, schema: str, tmp_path: Path
) -> None:
    """The primary is lost while the copier is down. Under its new name the run goes on from its checkpoint."""
    with from_replica(exact, pair, schema, tmp_path) as under_load:
        with under_load.writers():
            under_load.ferry.start().wait_stage("ReadyForCutover")
            under_load.ferry.kill()
        moved = under_load.moved()
        exact.wait_applied()
        successor.wait_applied()
        successor.promote()
        exact.follow(successor.replica)
        assert under_load.ferry.start().wait_end() == 64
        assert "NotItsReplica" in under_load.ferry.tail()
        name_primary(under_load, successor.replica)
        goes_on(under_load, pair, successor.replica, moved)
        assert exact.replica.value("SELECT @@GLOBAL.read_only") == 1


def goes_on(under_load: FerryUnderLoad, pair: Pair, written: Server, moved: int) -> None:
    """Applications write to another server now; the run copies nothing twice and cuts over from that one."""
    under_load.pair = replace(pair, source=written)
    with under_load.writers() as writers:
        under_load.ferry.start()
        writers.plain.wait_for(50)
        under_load.ferry.wait_stage("ReadyForCutover")
        assert under_load.moved() == moved
        under_load.ferry.kill()
        under_load.ferry.start()
        under_load.finish(writers=writers)
        assert under_load.locked


def test_no_cutover_from_a_replica_that_stops_or_is_promoted(
    exact: Exact, pair: Pair, schema: str, tmp_path: Path
) -> None:
    def not_caught_up(status: dict[str, Any]) -> str:
        ready = condition(status, "ReadyForCutover")
        return ready["message"] if ready["reason"] == "LagUnknown" else ""

    with from_replica(exact, pair, schema, tmp_path, cutover={"deadline": "4s"}) as under_load:
        ferry = under_load.ferry.start()
        ferry.wait_stage("ReadyForCutover")
        with under_load.held_in_acquire() as blocker:
            exact.stop_applying()
            blocker.cursor().execute(f"UPDATE `{schema}`.aim SET v = v + 1 WHERE id = 1")
        status = failed_attempt(ferry, "DeadlineExceeded")
        said = condition(status, "CutOver")["message"]
        assert "had not applied" in said
        assert "its SQL thread is No" in said
        assert not any(under_load.read_only())
        ferry.post("withdraw")
        status = ferry.wait_status(lambda status: "its SQL thread is No" in not_caught_up(status))
        assert status["replication"]["lagSeconds"] is None

        exact.apply_again()
        ferry.wait_stage("ReadyForCutover")
        under_load.equal()
        exact.promote()
        status = ferry.wait_status(lambda status: "or was promoted" in not_caught_up(status))
        ferry.post("cutover")
        ferry.kill()
        assert ferry.start().wait_end() == 64
        assert "NotItsReplica" in ferry.tail()
        assert under_load.phase() == "Streaming"
        assert not any(under_load.read_only())
        name_primary(under_load, None)
        goes_on(under_load, pair, exact.replica, under_load.moved())


def test_the_primary_is_gone_for_good_while_writes_are_stopped(
    exact: Exact, pair: Pair, schema: str, tmp_path: Path
) -> None:
    """The replica takes its place, and the statement of the message lets the Ferry go on."""
    exact.promote()
    exact.replica.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
    again = Exact(pair.source, exact.replica)
    change = f"UPDATE `{schema}`.aim SET v = v + 1 WHERE id = 2"
    with from_replica(again, pair, schema, tmp_path) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        with under_load.held_in_drain():
            under_load.ferry.kill()
        again.wait_applied()
        again.promote()
        name_primary(under_load, None)
        assert under_load.ferry.start().wait_end() == 64
        (way_out,) = re.findall(r"run on target [^ ]+: (UPDATE [^;]+);", under_load.ferry.tail())
        pair.target.execute(way_out)
        under_load.ferry.start().wait_stage("ReadyForCutover")
        again.replica.execute(change)
        pair.source.execute("SET GLOBAL read_only = OFF", change)  # for the comparison
        under_load.finish()
        assert again.replica.value("SELECT @@GLOBAL.read_only") == 1
