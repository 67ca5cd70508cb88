"""Which indexes the target adds, and the end of a run meanwhile."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

from ferry_core.api.selection import Tables
from ferry_core.cancellation import Cancellation
from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.discovery import discover
from ferry_core.workers.engine import Engine
from ferry_core.workers.index_builds import IndexBuilds, _UnderWay
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, wait_until


class Table:
    """One whose rows are in."""

    id, deferred, copied, let_go = "t", True, True, False


class SleepingBuilds(IndexBuilds):
    """Builds with a statement that goes on without its client."""

    def __init__(self, engine: Engine, session: Session) -> None:
        super().__init__(engine, lambda: session, lambda: 1, lambda: False)
        self.ended = False

    def _build(self, one: _UnderWay) -> None:
        one.session = session = self._connect()
        session.execute(f"DO SLEEP({PATIENCE_SECONDS})")  # killed, it ends without an error
        self.ended = not session.closed


def test_the_statement_that_adds_an_index_is_killed_before_connections_are_broken(pair: Pair) -> None:
    endpoint = pair.target.endpoint("target")
    sleeping = f"SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP({PATIENCE_SECONDS})%'"
    threads: list[threading.Thread] = []

    def start(_name: str, body: Callable[[], None]) -> None:
        if not threads:
            threads.append(threading.Thread(target=body))
            threads[0].start()

    writer = SimpleNamespace(fence=None, hurried_control=lambda: Session(endpoint, Purpose.CONTROL))
    engine = SimpleNamespace(flow=SimpleNamespace(writer=writer), ending=Cancellation(), moves=[Table()], start=start)
    with Session(endpoint, Purpose.CONTROL) as session:
        builds = SleepingBuilds(cast("Engine", engine), session)
        builds.advance()
        wait_until(lambda: pair.target.query(sleeping), "the statement runs")
        builds.end()
        threads[0].join(PATIENCE_SECONDS)
        assert not pair.target.query(sleeping)
    assert builds.ended
    assert engine.ending.is_set()


def test_a_column_added_on_the_source_meanwhile_does_not_matter(pair: Pair, schema: str) -> None:
    """The stream reports it, and what becomes of the run."""
    source, target = pair.source.endpoint("source"), pair.target.endpoint("target")
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, a INT, KEY by_a (a))")
    pair.target.execute(
        f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, a INT)"
    )
    with Session(source, Purpose.CONTROL) as session:
        (table,) = discover(session, Tables(include=[f"{schema}.t"]))
    pair.source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT, ADD KEY by_w (w), ADD KEY by_both (a, id)")
    reader = SimpleNamespace(control=lambda: Session(source, Purpose.CONTROL))
    flow = SimpleNamespace(writer=SimpleNamespace(fence=Mock()), reader=reader)
    engine = SimpleNamespace(flow=flow, ending=Cancellation(), moves=[])
    builds = IndexBuilds(cast("Engine", engine), lambda: Session(target, Purpose.CONTROL), lambda: 1, lambda: False)
    assert builds._added(_UnderWay(Mock(id=table.id, table=table), 0))
    shown = pair.target.query(f"SHOW INDEX FROM `{schema}`.t")
    assert {row[2] for row in shown} == {"PRIMARY", "by_a"}
