"""Bodies of the ControlServer's requests and answers, besides the report and the directive.

Its OpenAPI document is generated from these models. Used by ``control`` and, for the history, by ``report``.
"""

from typing import Annotated, Literal

from pydantic import Field

from ferry_core.api.model import Model
from ferry_core.api.report import Count, Moment, TableReport, Text, Told, Word
from ferry_core.api.spec import Copy, Throttle


class Nothing(Model):
    """Body of commands without arguments: empty, or {}."""


class NewThrottle(Model):
    """Body of POST /api/v1/throttle."""

    max_rows_per_second: Annotated[int, Field(ge=1, le=1_000_000_000)] | None
    """The new limit; null removes it."""


class NewPass(Model):
    """Body of POST /api/v1/verify: empty, or {}, for all tables."""

    tables: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=1000)] = []
    """Names as in GET /api/v1/tables; empty: all."""


class Settings(Model):
    """What can be tuned while a run moves rows. A field that is left out gets its default."""

    copy_: Annotated[Copy, Field(alias="copy")]
    """spec.copy: workers and the size of chunks."""
    throttle: Throttle
    """spec.throttle."""


class Error(Told):
    """Why a request was refused."""

    reason: Word
    """One stable CamelCase word."""
    message: str
    """What is wrong and what to do about it."""
    command: str | None = None
    """The kubectl command to use instead, where an operator controls the run."""


class Done(Told):
    """What a command did."""

    message: str
    """In one sentence."""


class PassAsked(Done):
    """Answer to a request for a verification pass."""

    request: Count
    """Its number: answered once requestsAnswered of status.verification is at least that, in the same process."""
    epoch: Count | None = None
    """copier.epoch of the process that was asked. Numbers begin again in each: a status with another epoch does not
    answer this request.
    """


class Health(Told):
    """Answer of a probe."""

    status: Literal["ok"]
    """Always ok; a failed probe is an error."""


class Acknowledged(Told):
    """Answer to a directive."""

    acknowledged_generation: Count | None
    """The newest generation whose directive is applied."""


class TableReports(Told):
    """Answer of GET /api/v1/tables."""

    tables: list[TableReport]
    """Every selected table."""


class TableChanges(Told):
    """Data of the event ``tables``: what changed since the previous one. The first one has every table."""

    changed: list[TableReport]
    """New and changed tables."""
    gone: list[Text]
    """Names of tables that are no longer moved."""


class RunReport(Told):
    """Answer of GET /api/v1/run: which run this is, and what people want of it."""

    name: Text
    """Namespace and name of the Ferry."""
    version: Word
    """Version of mysql-ferry."""
    managed: bool
    """Whether an operator controls the run: commands are then refused with the kubectl command to use instead."""
    paused: bool
    """Whether a pause is requested."""
    cutover_mode: Word
    """cutover.mode."""
    cutover_approved: bool
    """Whether cutover attempts are permitted now."""


class Sample(Told):
    """Figures of a period, for charts."""

    time: Moment
    """The period's end."""
    rows_per_second: Annotated[float, Field(ge=0)]
    """Rows written to the target, by the copy and by changes; the mean."""
    lag_seconds: Annotated[float, Field(ge=0)] | None
    """The largest lag; null: unknown."""
    pending_keys: Count
    """The largest number of changed keys that are not yet on the target."""
    write_seconds: Annotated[float, Field(ge=0)] | None
    """Mean time in which one chunk or batch of changes was written and committed; null: none was."""


class RecentEvent(Told):
    """A change of the run that people may want to know of."""

    time: Moment
    """When."""
    type: Word
    """The condition, Stage, or CutoverAttempt."""
    status: Word
    """The condition's new status, the new stage, or the attempt's number."""
    reason: Word
    """Why, as one CamelCase word; may be empty."""
    message: Text
    """Why, in a sentence; may be empty."""


class History(Told):
    """Answer of GET /api/v1/history."""

    samples: list[Sample]
    """Oldest first, over the whole life of this process; the longer it runs, the longer a period is."""
    events: list[RecentEvent]
    """Oldest first; the newest 200."""
