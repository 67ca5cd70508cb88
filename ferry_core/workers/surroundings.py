"""What the background verification works with and reports to. Made by ``run.verification``."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.tables.table import Table
from ferry_core.workers.explained import Explained
from ferry_core.workers.passes import Wanted
from ferry_core.workers.stream_waits import StreamWaits


class VerificationEvents(Protocol):
    """Hears what the verification does, for the status, the metrics and the log."""

    def verified(self, table: Table, rows: int) -> None: ...

    def differ(self, by_table: Mapping[str, int]) -> None: ...

    def repaired(self, by_table: Mapping[str, int]) -> None: ...

    def pass_begins(self, tables: int, request: int) -> None: ...

    def pass_cancelled(self) -> None: ...

    def pass_ends(self, found: int, request: int) -> None:
        """``found`` rows differed."""


class Surroundings(NamedTuple):
    """What the verification works with, besides the verifier and its tables."""

    buffer: ChangeBuffer
    waits: StreamWaits
    events: VerificationEvents
    wanted: Wanted
    ending: Cancellation
    explained: Explained
