"""The state of a run that a checkpoint stores: everything a successor needs to go on without starting a table over."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from ferry_core.api.report import Stage

FORMAT = 4
"""Version of this model; a newer one than known is refused, never guessed at. Older ones: ``formats``."""


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TableState(_State):
    """Chunks of one table: all up to ``frontier`` were handed out, ``unfinished`` of them are not on the target."""

    started: bool = False  # the durable record of R2
    frontier: list[str] | None = None  # key literals
    unfinished: list[tuple[list[str] | None, list[str] | None]] = Field(default_factory=list)
    walked: bool = False  # the last chunk, unbounded above, was handed out
    rows_copied: int = 0
    bytes_copied: int = 0
    counts_from: str | None = None  # a stream position: it began, or began anew, while the run's stream was there
    definition: str = ""  # digest of what counts of the source's definition; empty in the state of an older version

    @property
    def copied(self) -> bool:
        return self.walked and not self.unfinished


class SeriesState(_State):
    """Cutover attempts since a person asked for it last: they are that person's, whatever process makes them."""

    attempts: int = 0
    wanted: bool = False  # what the last directive said: a later one that grants it again begins a new series
    max_attempts: int = 0  # likewise: a higher one begins a new series
    last_attempt_at: float | None = None
    last_result: str | None = None  # None: it was not lived to see
    blocked_milliseconds: int | None = None


class RunState(_State):
    """One Ferry's state. Times are Unix seconds of the copier's clock."""

    format: int = FORMAT
    ferry_uid: str
    ferry_name: str
    source_id: str  # server_uuid, or what stands for it on MariaDB
    selection: str  # the spec's tables section as canonical JSON: state of another selection is refused
    epoch: int = 0  # of the run that stored this; a target whose lease is older is not the one that was copied to
    run: str | None = None  # who has marked this state on the target, and as which; see ``marks``
    number: int = 0
    stored_at: float = 0.0
    stage: str = Stage.COPYING.value
    position: str | None = None  # a stream position as R5 allows; empty where the source had no transaction yet
    last_read: str | None = None  # the furthest place of the source's binlog that was read; None: an older state
    tables: dict[str, TableState] = Field(default_factory=dict)  # by ``Table.id``
    created: list[str] = Field(default_factory=list)  # ids of tables that it has made on the target, or was about to
    foreign_keys_added: bool = False
    json_changed: int = 0  # rows copied whose JSON was changed by being parsed again
    paused: bool | None = None  # the last pause or resume verb of a local run; None: as the spec says
    paused_over: bool = False  # what spec.paused said when that verb came: once it says another thing, it is the newer
    series: SeriesState = Field(default_factory=SeriesState)
    started_at: float = 0.0
    completed_at: float | None = None
    write_block_milliseconds: int | None = None

    @property
    def started(self) -> frozenset[str]:
        """Ids of the tables with a record of their start."""
        return frozenset(table_id for table_id, table in self.tables.items() if table.started)

    @property
    def makes_anew(self) -> frozenset[str]:
        """Ids of tables of its own that it may drop and make again: no row was copied."""
        return frozenset() if self.tables else frozenset(self.created)

    def all_copied(self, table_ids: Iterable[str]) -> bool:
        """Whether nothing is left to do before these tables are streamed."""
        known = [self.tables.get(table_id) for table_id in table_ids]
        return self.foreign_keys_added and all(table is not None and table.copied for table in known)
