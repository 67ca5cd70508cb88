"""What a copier says about itself: the resource's status, and the JSON of ``GET /api/v1/status`` and ``/tables``.

Numbers carry their unit in the name. None means unknown, which is never the same as 0. ``stage`` and ``phase`` are
plain strings in the schema, since an enum there cannot grow; code uses ``Stage`` and ``Phase``.
Called by the progress snapshot that fills it, by the ControlServer, the CLI and the operator that read it.
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
    """What is laid over the stage for people; otherwise the phase is the stage."""

    PAUSED = "Paused"
    FAILED = "Failed"
    ABORTED = "Aborted"


class TableState(StrEnum):
    """How far one table is."""

    PENDING = "Pending"
    COPYING = "Copying"
    COPIED = "Copied"


class Told(Model):
    """What one process tells another, of another version perhaps: what the reader does not know is left out."""

    model_config = ConfigDict(extra="ignore")


class ConditionReport(Told):
    """One entry of status.conditions."""

    type: Word
    """Which condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Word
    """Why, as one CamelCase word."""
    message: Text = ""
    """Why, for people."""
    last_transition_time: Moment
    """When status last changed."""
    observed_generation: Count | None = None
    """The generation that this is about."""


class Progress(Told):
    """The copy."""

    tables_total: Count = 0
    """Selected tables."""
    tables_copied: Count = 0
    """Tables whose rows are all in."""
    rows_copied: Count = 0
    """Rows copied so far."""
    rows_estimated: Count = 0
    """Rows expected, by the source's statistics."""
    bytes_copied: Count = 0
    """Bytes of rendered rows copied so far."""
    percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Of the copy."""
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
    """When the source last said something."""
    source_binlog_retained_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long the source keeps its binlogs."""


class ThrottleReport(Told):
    """Whether data movement is held back."""

    active: bool = False
    """Whether it is, now."""
    reason: Text | None = None
    """``<signal> <observed> <op> <threshold>``; for people, never to branch on."""
    since: Moment | None = None
    """Since when."""


class Verification(Told):
    """The proof of equality."""

    rows_verified: Count = 0
    """Rows compared."""
    rows_differing: Count = 0
    """Rows that differ."""
    rows_repaired: Count = 0
    """Rows copied again because they differed."""
    unproven_keys: Count = 0
    """Keys changed since they were compared."""


class CutoverReport(Told):
    """Cutover attempts."""

    attempts: Count = 0
    """Attempts in this series."""
    last_attempt_time: Moment | None = None
    """When the last one began."""
    last_result: Word | None = None
    """How it ended."""
    writes_blocked_milliseconds: Count | None = None
    """How long it kept writes from the source."""


class Termination(Told):
    """How the copier's last run ended."""

    exit_code: int
    """Its exit code."""
    reason: Word | None = None
    """Why."""
    time: Moment | None = None
    """When."""


class CopierReport(Told):
    """The process that does the work."""

    pod_name: Annotated[str, Field(max_length=253)] | None = None
    """Its Pod."""
    acknowledged_generation: Count | None = None
    """The newest directive that it acts on."""
    withdrawn_generation: Count | None = None
    """The newest generation that permitted no cutover, while no copier has been told of it: told before a newer
    permission, it makes that a new series of attempts."""
    epoch: Count | None = None
    """Its fence: the newest epoch alone may write to the target."""
    image: Annotated[str, Field(max_length=1024)] | None = None
    """Its image."""
    restarts: Count | None = None
    """How often it was started again."""
    last_termination: Termination | None = None
    """How its last run ended."""


class Failure(Told):
    """Why it stopped."""

    reason: Word
    """One CamelCase word."""
    message: Text
    """What is wrong, where, and how to fix it."""
    retriable: bool
    """Whether trying again may be enough; if not, something must be fixed first."""


class Status(Told):
    """status of the resource."""

    observed_generation: Count | None = None
    """The generation that this status is about."""
    stage: Word = Stage.PENDING.value
    """How far it is."""
    phase: Word = Stage.PENDING.value
    """The stage, or Paused, Failed, Aborted laid over it; for people, not for branching."""
    message: Text = ""
    """What is going on, in one sentence."""
    start_time: Moment | None = None
    """When it began."""
    completion_time: Moment | None = None
    """When it was done."""
    conditions: Annotated[list[ConditionReport], Field(max_length=32)] = []
    """Conditions, one per type."""
    progress: Progress = Progress()
    """The copy."""
    replication: Replication = Replication()
    """The stream of changes."""
    throttle: ThrottleReport = ThrottleReport()
    """Whether data movement is held back."""
    verification: Verification = Verification()
    """The proof of equality."""
    cutover: CutoverReport = CutoverReport()
    """Cutover attempts."""
    copier: CopierReport = CopierReport()
    """The process that does the work."""
    failure: Failure | None = None
    """Why it stopped."""

    def condition(self, kind: str) -> ConditionReport | None:
        """The condition of that type, if it was set."""
        return next((entry for entry in self.conditions if entry.type == kind), None)


class Report(Status):
    """``GET /api/v1/status``: the status as this copier knows it."""

    revision: Count = 0
    """Counts changes of this report; the long poll waits until it exceeds ``since``."""

    @property
    def says_where_it_is(self) -> bool:
        """Since unknown fields are left out, any JSON object reads as a report; a real one has said one of these."""
        return bool(self.model_fields_set & {"stage", "phase"})


class TableReport(Told):
    """One entry of ``GET /api/v1/tables``."""

    name: Text
    """schema.table on the source."""
    target: Text
    """schema.table on the target."""
    state: Word
    """Pending, Copying, Copied."""
    rows_estimated: Count = 0
    """By the source's statistics."""
    rows_copied: Count = 0
    """So far."""
    bytes_copied: Count = 0
    """Of rendered rows, so far."""
    percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Of the copy."""
    pending_keys: Count = 0
    """Changed keys not yet on the target."""
