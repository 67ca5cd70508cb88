"""The coordinator's actions as an interface, between deciding and doing.

``DataOperations`` implements it on threads and servers; the coordinator's tests use another implementation, without
servers.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from ferry_core.checkpoint.state import ObjectsState
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.errors import DataError
from ferry_core.intent.desired_state import DesiredState
from ferry_core.moves.move import TableMove
from ferry_core.run.late_writes import WatchedEnd
from ferry_core.run.objects import Save

if TYPE_CHECKING:
    from ferry_core.run.started import Checkpointing

WaitUntil = Callable[[Callable[[], bool]], None]
"""Ticks until the given function returns True."""


class Operations(Protocol):
    """Methods raise errors of ``ferry_core.errors``."""

    blocked_milliseconds: int
    """For how long an attempt that raised an error had stopped writes; 0 if it had not come that far."""

    @property
    def all_copied(self) -> bool:
        """Whether the rows of all tables are in; not so again once a move joins or starts over."""

    @property
    def proven(self) -> bool:
        """Whether every row was compared once, or verification is off. Only then may an attempt begin."""

    def late_changes(self, since: int) -> int:
        """Number of row changes of selected tables streamed after that number, without those of rows of which the
        events show that no row filter selects them.
        """

    def check(self) -> None:
        """Raise a thread's error, or report a server's restart."""

    def pace(self, wanted: DesiredState) -> None:
        """Use these settings of throttle and copy from now on."""

    def adapt(self) -> None:
        """Evaluate what throttles, and set the size of chunks. Called at each tick."""

    def interrupt(self) -> None:
        """Kill the statements of running steps, if there are any. The steps are redone when allowed."""

    def empty_fresh_tables(self, started: frozenset[str], wait_while_paused: Callable[[], None]) -> Sequence[TableMove]:
        """Delete what a forgotten run left in the tables that are not ``started``; gives those tables.

        Raises TargetNotEmpty for rows where no run can have left any.
        """

    def start_streaming(self) -> None:
        """From here on rows are written. Raises TargetNotEmpty for rows that others have written before."""

    def make_readable(self, wait_until: WaitUntil, tick: Callable[[], None]) -> None:
        """Wait until chunks may be read (R2)."""

    def start_copying(self) -> None:
        """Start as many workers as are wanted now."""

    def start_alone(self, error: DataError, checkpoints: "Checkpointing", tick: Callable[[], None]) -> bool:
        """Have the tables that the error names start over or join, while all others go on. ``tick`` is called all the
        time.

        Returns False if the run has to begin again for that. Raises DataError if one of them was changed once more.
        """

    def add_indexes(self) -> bool:
        """Add deferred indexes to tables whose rows are in. Returns whether no table lacks any; called repeatedly."""

    def add_foreign_keys(self) -> bool:
        """Returns False while others on the target keep a table in use."""

    def start_verifying(self) -> None: ...

    def too_slow(self, deadline: float) -> str:
        """Why tables without a key cannot be copied again within ``deadline`` seconds; empty: they can."""

    def look_for_new_tables(self, *, if_due: bool = False, cut_over: bool = False) -> None:
        """Report tables that appeared since the start. ``if_due``: unless that was done recently.

        Raises NewTable as ``new_tables_known`` does, unless the run is ``cut_over``.
        """

    def new_tables_known(self, *, after_ddl: bool = False) -> bool:
        """Returns False if the source does not answer. Raises NewTable for a table that the run must not leave out.

        ``after_ddl``: asks only if the stream has met DDL since.
        """

    def definitions_read(self) -> bool:
        """Returns False if the source does not answer. Raises SchemaChanged if a definition has changed."""

    def bring_objects(self, kept: ObjectsState, save: Save) -> None:
        """Create or renew views, routines and events. ``save`` stores ``kept``, which tells whose they are."""

    def attempt(self, number: int, wanted: DesiredState, check_cancelled: Callable[[], None]) -> AttemptOutcome:
        """Make one cutover attempt.

        After AmbiguousError the source may stay locked; otherwise the attempt is undone.
        """

    def finish_objects(self, stopping: Callable[[], bool]) -> int:
        """Once the cutover is recorded: triggers and the statuses of events; gives milliseconds.

        The errors name what is missing.
        """

    def stop_writing(self) -> None:
        """After the cutover: only the streamer keeps running."""

    def keep_lock(self, seconds: float) -> None:
        """Keep another Ferry of this source from using the lock that stays."""

    def late_rows(self) -> list[str]:
        """Names the rows that the source has changed since the cutover, one line for each table."""

    @property
    def lock_lost(self) -> bool:
        """Whether a lock that cannot outlive this run has ended before."""

    def stop_keeping_lock(self) -> list[str]:
        """A lock that cannot outlive this run ends. Gives what writes on the source then, one line each, or raises."""

    def watched_end(self) -> WatchedEnd:
        """The end of what is in the source's binlog now. It is asked for in the background."""

    def depending_on(self, tables: Collection[str]) -> Collection[str]:
        """Ids of these tables and of those whose rows change with theirs unseen: they are copied again together."""

    def record_aborted(self) -> None:
        """Record the abort in the lease: no later run continues."""

    def stop(self) -> None:
        """End all threads."""

    def close(self) -> None:
        """The same, and close everything that was opened for them."""
