"""The selected tables as the stream sees them: which there are now, and from where on their events count.

The tables of a run change while it streams: one may join, one may start over. The streamer asks for them again between
two transactions, never within one. ``moves`` implements both protocols.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.table_map import WireColumn
from ferry_core.mysql.gtid import Position
from ferry_core.tables.table import Table


class Followed(Protocol):
    """One table. ``shape`` is kept here over reconnects, for a definition must not change unnoticed."""

    shape: tuple[WireColumn, ...] | None

    @property
    def table(self) -> Table: ...
    @property
    def counts_from(self) -> Position | None:
        """Transactions in this position do not count: what they did was read otherwise. None: all do."""


M = TypeVar("M", bound=Followed)
M_co = TypeVar("M_co", bound=Followed, covariant=True)


class FollowedTables(Protocol[M_co]):
    """All of them."""

    @property
    def version(self) -> int:
        """Another number whenever ``followed`` would give something else."""

    def followed(self, processed: StreamMark) -> Sequence[M_co]:
        """Those whose events count from here on; the last transaction ended at ``processed``."""
