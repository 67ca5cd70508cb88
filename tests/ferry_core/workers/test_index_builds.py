"""The end of a run while the target adds indexes."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from ferry_core.cancellation import Cancellation
from ferry_core.mysql.session import Purpose, Session
from ferry_core.workers.engine import Engine
from ferry_core.workers.index_builds import IndexBuilds, _UnderWay
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, wait_until


class Table:
    """One whose rows are in."""

    id, deferred, copied = "t", True, True


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
