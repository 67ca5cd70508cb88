"""The state that a checkpoint stores: everything that a later run needs to resume without starting any table over."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from ferry_core.api.report import Stage
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.replication import Replicated

FORMAT = 10
"""Version of this model. A newer version is refused. For older ones see ``formats``."""


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TableState(_State):
    """Chunks of one table: all up to ``frontier`` were handed out, and ``unfinished`` of them are not on the target."""

    started: bool = False  # the durable record of the table's start, R2
    frontier: list[str] | None = None  # key literals
    unfinished: list[tuple[list[str] | None, list[str] | None]] = Field(default_factory=list)
    walked: bool = False  # the last chunk, which has no upper bound, was handed out
    rows_copied: int = 0
    bytes_copied: int = 0
    # stream position where the table began or began again, if the run's stream was already running then
    counts_from: str | None = None
    counts_from_place: tuple[str, int] | None = None  # MariaDB: file and offset of ``counts_from``
    # digest of the relevant parts of the source's definition; empty in the state of an older version
    definition: str = ""
    copied_whole: bool = False  # although it has a key
    # the UNIQUE index over columns that may be NULL by which it is copied; empty: it has another key, or none
    nullable_key: str = ""
    # on the source, or repaired or altered, so that rows may be gone there without an event
    rebuilt: bool = False
    # the source, since rows were copied: it may have lost some of them in a crash. Both hold until a pass has found the
    # table equal, or a run has ended for all of its rows that differ
    restarted: bool = False

    # created on the source while the run went on, and never copied completely since
    joins: bool = False

    @property
    def copied(self) -> bool:
        return self.walked and not self.unfinished

    @property
    def only_copies(self) -> bool:
        """Whether the target may have the only copy of rows of this table, which is to be copied again."""
        return not self.started and (self.rebuilt or self.restarted)

    @property
    def forgotten(self) -> "TableState":
        """The table is to be copied again."""
        return TableState(rebuilt=self.rebuilt, restarted=self.restarted, joins=self.joins)


class LateObject(_State):
    """A trigger or an event of the source. Triggers are created, and events get their status, after the cutover."""

    kind: str
    source_schema: str
    name: str
    table: str  # of a trigger; otherwise empty
    place: int
    statement: str  # its bytes as Latin-1: they may be in any character set
    sql_mode: str
    character_set: str
    collation: str
    schema_collation: str
    time_zone: str


class ObjectsState(_State):
    """Views, routines, triggers and events on the target. Both dictionaries: fingerprints of the definitions that each
    may have, by its ``object_id``.
    """

    ours: dict[str, list[str]] = Field(default_factory=dict)  # created by this Ferry
    planned: dict[str, list[str]] = Field(default_factory=dict)  # about to be created: may be somebody else's instead
    late: list[LateObject] | None = None  # as on the source before the last attempt; None: no attempt was made
    finished: bool = False  # after the cutover: triggers exist, and events have their statuses

    def may_be(self, name: str) -> frozenset[str]:
        """The fingerprints of an object that this Ferry may replace."""
        return frozenset([*self.ours.get(name, ()), *self.planned.get(name, ())])


class SeriesState(_State):
    """Cutover attempts since a person last asked for a cutover, made by whichever process."""

    attempts: int = 0
    wanted: bool = False  # permission in the last directive: granting it again later starts a new series
    max_attempts: int = 0  # maxAttempts in the last directive: a higher one starts a new series
    not_before: datetime | None = None  # of the last directive: another window starts a new series
    not_after: datetime | None = None
    last_attempt_at: float | None = None
    last_result: str | None = None  # None: the attempt's process died before it ended
    blocked_milliseconds: int | None = None


class PrimaryState(_State):
    """The primary of a source that is a replica, and how far its binlog was written, when it was last asked."""

    server: str
    start: str
    file: str
    offset: int


class RunState(_State):
    """The state of one Ferry. Times are Unix seconds of the copier's clock."""

    format: int = FORMAT
    ferry_uid: str
    ferry_name: str
    source_id: str  # server_uuid, or its substitute on MariaDB
    selection: str  # the spec's tables section as canonical JSON; the state of another selection is refused
    epoch: int = 0  # of the run that saved this; a target with an older lease is not the one that was copied to
    run: str | None = None  # which run marked this state on the target, and with which number; see ``marks``
    number: int = 0
    stored_at: float = 0.0
    stage: str = Stage.COPYING.value
    position: str | None = None  # a stream position allowed by R5; empty if the source had no transaction yet
    last_read: str | None = None  # the furthest place read in the source's binlog; None: state of an older version
    replicated: Replicated | None = None  # by the source; None: state of an older version, or MySQL
    source_start: str = ""  # when the source was started, as of the last start of a run; empty: older version
    primary: PrimaryState | None = None  # None: applications write to the source, or older version
    tables: dict[str, TableState] = Field(default_factory=dict)  # by ``Table.id``
    # ids of tables that it created on the target, or was about to create
    created: list[str] = Field(default_factory=list)
    # ids of those that it created, or was about to create, without indexes that are added after their rows
    indexes_deferred: list[str] = Field(default_factory=list)
    # ids of those that were created on the source after the start, and are moved too
    joined: list[str] = Field(default_factory=list)
    # ids of those that joined, are not moved any more, and may be on the target, with or without rows
    left_behind: list[str] = Field(default_factory=list)
    foreign_keys_added: bool = False
    objects: ObjectsState = Field(default_factory=ObjectsState)
    json_changed: int = 0  # rows copied whose JSON changed when it was parsed again
    paused: bool | None = None  # the last pause or resume verb of a local run; None: spec.paused applies
    # value of spec.paused when that verb came; once spec.paused differs from it, the spec is newer and applies
    paused_over: bool = False
    series: SeriesState = Field(default_factory=SeriesState)
    started_at: float = 0.0
    completed_at: float | None = None
    write_block_milliseconds: int | None = None
    watched: bool | None = None  # for late writes, to the end of the watch; None: no attempt yet, or an older version

    def meets_source(self, start: str) -> None:
        """A run begins with the source that was started then."""
        if self.source_start not in ("", start):
            for table in self.tables.values():
                table.restarted = True  # also of one to be copied again, until its rows are dropped
        self.source_start = start

    @property
    def started(self) -> frozenset[str]:
        """Ids of the tables with a record of their start."""
        return frozenset(table_id for table_id, table in self.tables.items() if table.started)

    @property
    def joining(self) -> frozenset[str]:
        """Ids of the tables that were created on the source while the run went on, and are not copied yet."""
        return frozenset(table_id for table_id, table in self.tables.items() if table.joins)

    @property
    def by_gtid(self) -> bool:
        """Whether rows were copied, and followed by GTIDs."""
        return bool(self.tables) and self.position is not None and FilePosition.of(self.position) is None

    @property
    def recreatable(self) -> frozenset[str]:
        """Ids of its own tables that it may drop and create again, because no row was copied."""
        return frozenset() if self.tables else frozenset(self.created)

    def joins(self, names: Iterable[str]) -> None:
        """These tables are moved from now on."""
        found = {name: TableState(joins=True) for name in names}
        self.tables |= found
        self.joined = sorted({*self.joined, *found})
        self.left_behind = [name for name in self.left_behind if name not in found]
        self.foreign_keys_added = False

    def leaves(self, names: Iterable[str]) -> None:
        """These tables, which had joined, are not moved any more."""
        gone = set(names)
        self.tables = {name: table for name, table in self.tables.items() if name not in gone}
        self.joined = [name for name in self.joined if name not in gone]
        self.left_behind = sorted({*self.left_behind, *gone.intersection(self.created)})

    def all_copied(self, table_ids: Iterable[str]) -> bool:
        """Whether all rows of these tables are copied, and nothing is left to add to their definitions."""
        known = [self.tables.get(table_id) for table_id in table_ids]
        complete = self.foreign_keys_added and not self.indexes_deferred
        return complete and all(table is not None and table.copied for table in known)
