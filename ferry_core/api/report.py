"""The status that a copier reports: the resource's status, and the JSON of ``GET /api/v1/status`` and ``/tables``.

Names of numbers include the unit. None means unknown, which is never the same as 0. ``stage`` and ``phase`` are plain
strings in the schema, because an enum cannot be extended later; code uses ``Stage`` and ``Phase``. Filled by the
progress snapshot; read by the ControlServer, the CLI and the operator.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from ferry_core.api.model import Model

Moment = Annotated[AwareDatetime, Field(strict=False)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(max_length=4096)]
Word = Annotated[str, Field(max_length=128)]


class Stage(StrEnum):
    """How far a Ferry is."""

    PENDING = "Pending"
    VALIDATING = "Validating"
    COPYING = "Copying"
    STREAMING = "Streaming"
    READY_FOR_CUTOVER = "ReadyForCutover"
    CUTTING_OVER = "CuttingOver"
    COMPLETED = "Completed"


class Phase(StrEnum):
    """Values that ``phase`` shows instead of the stage. Otherwise the phase equals the stage."""

    PAUSED = "Paused"
    FAILED = "Failed"
    ABORTED = "Aborted"


class TableState(StrEnum):
    """How far one table is."""

    PENDING = "Pending"
    COPYING = "Copying"
    INDEXING = "Indexing"
    COPIED = "Copied"


class Told(Model):
    """A document from another process, perhaps of another version: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class ConditionReport(Told):
    """One entry of status.conditions."""

    type: Word
    """Which condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition is true."""
    reason: Word
    """Why, as one CamelCase word."""
    message: Text = ""
    """Why, in a sentence for people."""
    last_transition_time: Moment
    """When the status last changed."""
    observed_generation: Count | None = None
    """The generation that this condition describes."""


class Progress(Told):
    """Progress of the copy."""

    tables_total: Count = 0
    """Number of selected tables."""
    tables_copied: Count = 0
    """Tables whose rows are all copied."""
    rows_copied: Count = 0
    """Rows copied so far."""
    rows_estimated: Count = 0
    """Rows expected, from the source's statistics."""
    bytes_copied: Count = 0
    """Bytes of rendered rows copied so far."""
    percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Percentage of the copy that is done."""
    estimated_completion_time: Moment | None = None
    """When the copy should be done."""


class Replication(Told):
    """The stream of changes."""

    position: Text | None = None
    """Binlog file and offset read."""
    gtid_set: Text | None = None
    """GTIDs whose changes are on the target; a digest if longer than 4 KiB."""
    lag_seconds: Annotated[float, Field(ge=0)] | None = None
    """The source's clock minus the commit time of the oldest change not yet on the target; null: unknown."""
    pending_keys: Count = 0
    """Changed keys not yet on the target."""
    last_event_time: Moment | None = None
    """When the last event from the source arrived."""
    source_binlog_retained_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long the source keeps its binlogs."""


class ThrottleReport(Told):
    """Whether data movement is throttled."""

    active: bool = False
    """Whether it is throttled now."""
    reason: Text | None = None
    """``<signal> <observed> <op> <threshold>``; for people, never to branch on."""
    since: Moment | None = None
    """Since when."""


class Verification(Told):
    """Results of the verification."""

    rows_verified: Count = 0
    """Rows compared."""
    rows_differing: Count = 0
    """Rows that differ."""
    rows_repaired: Count = 0
    """Rows copied again because they differed, and equal since."""
    unproven_keys: Count = 0
    """Keys changed since they were compared."""
    passes: Count = 0
    """Complete comparisons of all rows, or on request of some tables, in this process."""
    last_pass_time: Moment | None = None
    """When the last one ended."""
    pass_rows: Count | None = None
    """Rows compared by the pass under way; null: none is."""
    requests_answered: Count = 0
    """The newest request for a pass that has been answered: its pass has ended, and what it found is judged. Numbers
    begin again in each process: compare copier.epoch too.
    """


class CutoverReport(Told):
    """Cutover attempts."""

    attempts: Count = 0
    """Attempts in this series."""
    last_attempt_time: Moment | None = None
    """When the last one began."""
    last_result: Word | None = None
    """How it ended."""
    writes_blocked_milliseconds: Count | None = None
    """How long the last attempt blocked writes on the source."""


class Termination(Told):
    """How the copier's last run ended."""

    exit_code: int
    """Its exit code."""
    reason: Word | None = None
    """Why."""
    time: Moment | None = None
    """When."""


class CopierReport(Told):
    """The copier process."""

    pod_name: Annotated[str, Field(max_length=253)] | None = None
    """Its Pod."""
    acknowledged_generation: Count | None = None
    """The newest generation whose directive the copier has applied."""
    withdrawn_generation: Count | None = None
    """The newest generation that did not permit a cutover and that no copier has received yet. A copier that receives
    it before a newer permission starts a new series of attempts.
    """
    epoch: Count | None = None
    """Its epoch: only the run with the newest epoch may write to the target."""
    image: Annotated[str, Field(max_length=1024)] | None = None
    """Its image."""
    restarts: Count | None = None
    """How often it was restarted."""
    last_termination: Termination | None = None
    """How its last run ended."""


class Failure(Told):
    """Why the Ferry failed."""

    reason: Word
    """One CamelCase word."""
    message: Text
    """What is wrong, where, and what to do about it."""
    retriable: bool
    """Whether a retry may be enough. If not, something must be fixed first."""


class Status(Told):
    """status of the resource."""

    observed_generation: Count | None = None
    """The generation that this status is about."""
    stage: Word = Stage.PENDING.value
    """How far the Ferry has come."""
    phase: Word = Stage.PENDING.value
    """The stage, or Paused, Failed or Aborted instead of it. For people, not for branching."""
    message: Text = ""
    """What the Ferry is doing, in one sentence."""
    start_time: Moment | None = None
    """When the Ferry started."""
    completion_time: Moment | None = None
    """When the Ferry completed."""
    conditions: Annotated[list[ConditionReport], Field(max_length=32)] = []
    """Conditions, at most one per type."""
    progress: Progress = Progress()
    """Progress of the copy."""
    replication: Replication = Replication()
    """The stream of changes."""
    throttle: ThrottleReport = ThrottleReport()
    """Whether data movement is throttled."""
    verification: Verification = Verification()
    """Results of the verification."""
    cutover: CutoverReport = CutoverReport()
    """Cutover attempts."""
    copier: CopierReport = CopierReport()
    """The copier process."""
    failure: Failure | None = None
    """Why the Ferry failed."""

    def condition(self, kind: str) -> ConditionReport | None:
        """The condition of this type, or None."""
        return next((entry for entry in self.conditions if entry.type == kind), None)


class Report(Status):
    """Body of ``GET /api/v1/status``: the status as the copier knows it."""

    revision: Count = 0
    """Number of changes of this report. The long poll waits until it exceeds ``since``."""

    @property
    def says_where_it_is(self) -> bool:
        """Whether this is a real report.

        Unknown fields are ignored, so any JSON object parses; a real report has one of these.
        """
        return bool(self.model_fields_set & {"stage", "phase"})


class Outcome(Told):
    """What ``ferry abort`` or ``ferry cleanup`` did: also the termination message of its Pod."""

    message: str
    """What was done, for people."""
    needs_person: str = ""
    """What only a person can decide now, and how; empty: nothing."""

    def __str__(self) -> str:
        return ". ".join(text for text in (self.message, self.needs_person) if text)


class TableReport(Told):
    """One entry of ``GET /api/v1/tables``."""

    name: Text
    """schema.table on the source."""
    target: Text
    """schema.table on the target."""
    state: Word
    """Pending, Copying, Indexing (all rows are copied, deferred indexes are not all there yet) or Copied."""
    rows_estimated: Count = 0
    """Rows expected, from the source's statistics."""
    rows_copied: Count = 0
    """Rows copied so far."""
    bytes_copied: Count = 0
    """Bytes of rendered rows copied so far."""
    percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Percentage of the table's copy that is done."""
    pending_keys: Count = 0
    """Changed keys not yet on the target."""
    rows_differing: Count = 0
    """Rows that differed when they were compared."""
    rows_repaired: Count = 0
    """Those of them that were copied again and are equal since."""
