"""What is to be known about statements that the source logged in place of rows: asked by ``transactions``.

``run.logged_statements`` answers. A question that fails for the moment is asked again after a reconnect, which sends
the statement once more.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.events import Statement
from ferry_core.binlog.source_errors import StreamLost
from ferry_core.errors import RetriableError, ServerRestarted
from ferry_core.tables.table import TableName

Reached = Callable[[BinlogEnd], bool]


class Judge(Protocol):
    """See ``run.logged_statements``."""

    def spared(self, text: str, default_schema: str, tables: Collection[TableName], reached: Reached) -> bool: ...

    def doubtful(self, text: str, reached: Reached) -> str: ...


@dataclass(frozen=True)
class Elsewhere:
    """``judge`` is None where nothing can be proven: every such statement then ends the run."""

    judge: Judge | None
    reached: Reached

    def spared(self, statement: Statement, tables: Collection[TableName]) -> bool:
        """Whether a statement that names no selected table to change has changed no row of them."""
        if self.judge is None:
            return False
        try:
            return self.judge.spared(statement.text, statement.default_schema, tables, self.reached)
        except ServerRestarted:
            raise
        except RetriableError as error:
            raise StreamLost("statement", f"a logged statement could not be judged: {error.message}") from error

    def doubtful(self, text: str) -> str:
        """A statement that was spared, of which DDL now makes it doubtful; empty if there is none."""
        return self.judge.doubtful(text, self.reached) if self.judge is not None else ""
