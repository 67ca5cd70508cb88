"""Tables with cascades that no event shows, in an engine in this process. Used by ``tests/ferry_core/changes``."""

from collections.abc import Sequence

from ferry_core.rows.chunks import StoredFrontier
from ferry_core.workers.orphans import suspect_orphans
from tests.support.compare import assert_equal_tables
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.servers import Pair, Server

PARENT = "CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE, v INT NOT NULL DEFAULT 0)"
CASCADING = "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)"
LEAF = "CREATE TABLE leaf (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)"
ROWS = (
    "INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0)",
    "INSERT INTO child VALUES (10, 1), (20, 2)",
)


class Related(EngineInProcess):
    """Tables with cascades among them."""

    def drain(self) -> None:
        """Flush until nothing waits."""
        self.streamed()
        while waiting := [move for move, _ in self.buffer.waiting()]:
            self.flusher().flush(*waiting)
        assert self.buffer.pending_keys() == 0
        assert self.buffer.checkpoint_mark().position == self.buffer.processed.position

    def equal(self) -> None:
        """Rows only: the servers' default character sets differ."""
        for table in self.tables:
            assert_equal_tables(self.pair.source, self.pair.target, table.source, table.target, definitions=False)

    def suspect_orphans(self) -> None:
        suspect_orphans(self.moves, self.buffer, self.connections.target, self.engine.ending)

    def ids(self, name: str) -> list[int]:
        return [row[0] for row in self.pair.target.query(f"SELECT id FROM `{self.schema}`.`{name}` ORDER BY id")]


def make(pair: Pair, schema: str, *statements: str, on: Sequence[str] = ("source", "target")) -> None:
    """Execute the same on both servers, or on one."""
    for role in on:
        server: Server = getattr(pair, role)
        server.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"USE `{schema}`")
        server.execute(f"USE `{schema}`", "SET foreign_key_checks = 0", *statements)


def change(pair: Pair, schema: str, *statements: str) -> None:
    pair.source.execute(f"USE `{schema}`", *statements)


def copied(schema: str, *names: str, **others: StoredFrontier) -> StartState:
    """All rows of the named tables are on the target."""
    states = dict.fromkeys(names, COPIED) | others
    return StartState({f"{schema}.{name}": state for name, state in states.items()})
