"""The selected tables from the stream's point of view: which tables it follows, and from which position their events
count.

Tables can join a running run or start over. The streamer asks for the current set between two transactions, never
within one. ``moves`` implements both protocols.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.table_map import WireColumn
from ferry_core.errors import DataError
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.table import Table


class Followed(Protocol):
    """One followed table.

    ``shape`` is kept here across reconnects, so that a change of the definition is always noticed.
    """

    shape: tuple[WireColumn, ...] | None

    @property
    def table(self) -> Table: ...
    @property
    def counts_from(self) -> StreamMark | None:
        """Ignore transactions up to this mark, because a later read already covers them. None: count all."""


M = TypeVar("M", bound=Followed)
M_co = TypeVar("M_co", bound=Followed, covariant=True)


class FollowedTables(Protocol[M_co]):
    """The set of followed tables."""

    @property
    def version(self) -> int:
        """Changes whenever ``followed`` would return something else."""

    @property
    def cascades(self) -> Sequence[Cascade]:
        """Foreign keys among the tables by which rows change without events of their own."""

    def followed(self, processed: StreamMark) -> Sequence[M_co]:
        """Tables whose events count from now on; the last transaction ended at ``processed``."""


LetsGo = Callable[[Sequence[M], DataError], bool]
"""Whether the stream may go on without these tables, whose statement is the error's reason. It no longer follows them
then, from this statement on.
"""
