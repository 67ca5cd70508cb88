"""The coordinator's decisions, as functions of the facts and the desired state. Pure: no clock, no server."""

from dataclasses import dataclass
from enum import Enum, auto

from ferry_core.api.choices import VerifyMode
from ferry_core.api.report import Stage
from ferry_core.cutover.gates import MissingGate
from ferry_core.errors import ConfigError, FerryError, OtherServer, RetriableError, Terminated
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Reason

PAUSE_GRACE_SECONDS = 0.3
"""How long running steps may take to end by themselves when a pause begins.

The promise: no row is written after one second.
"""
NEVER_PAUSED = (Stage.CUTTING_OVER, Stage.COMPLETED)


def aborted() -> Terminated:
    """The error that ends an aborted run."""
    return Terminated(Reason.ABORTED, "aborted: copying has stopped, the target is kept")


def stopped() -> Terminated:
    """The error that ends a stopped run."""
    return Terminated(Reason.STOPPED, "stopped; the next start resumes from the checkpoint")


def cancelled(wanted: DesiredState) -> Terminated | None:
    """What ends the run on request. An abort has priority over a stop."""
    if wanted.aborted:
        return aborted()
    return stopped() if wanted.stopping else None


def ending(error: FerryError, wanted: DesiredState) -> FerryError:
    """The error that the run ends with.

    After a stop, the statement that was killed may be the main thread's own: that is not a failure. OtherServer becomes
    permanent, because a run that an orchestrator restarts would accept the other server as its own.
    """
    if wanted.stopping and isinstance(error, RetriableError):
        return stopped()
    return error.for_good() if isinstance(error, OtherServer) else error


def paused_by(stage: Stage, wanted: DesiredState) -> str:
    """What pauses the run now, for people; empty: nothing.

    A pause during an attempt takes effect after the attempt. Otherwise it would block writes on the source until the
    deadline, because changed keys would not reach the target.
    """
    return "" if stage in NEVER_PAUSED else wanted.paused_by


def refuse_pass(mode: VerifyMode, stage: Stage, wanted: DesiredState) -> None:
    """Raise a FerryError if a verification pass makes no sense now."""
    if mode is VerifyMode.NONE:
        raise ConfigError(
            Reason.VERIFICATION_OFF,
            "verify.mode is None: this run compares no rows; set another mode in the manifest and start again",
        )
    if stage is Stage.COMPLETED:
        raise ConfigError(
            Reason.ALREADY_CUT_OVER, "the tables are cut over: applications may write to the target, so rows may differ"
        )
    if stage is Stage.CUTTING_OVER:
        raise RetriableError(
            Reason.VERIFICATION_TOO_EARLY, "a cutover attempt is under way and compares rows by itself; ask after it"
        )
    if stage not in (Stage.STREAMING, Stage.READY_FOR_CUTOVER):
        raise RetriableError(
            Reason.VERIFICATION_TOO_EARLY,
            f"rows are still to be copied (stage {stage.value}); all of them are compared as soon as they are there",
        )
    if wanted.paused_by:
        raise RetriableError(
            Reason.PAUSED, f"paused by {wanted.paused_by}, so changes do not reach the target; resume first"
        )


def must_interrupt(paused_for: float | None) -> bool:
    """Whether running steps must be killed. ``paused_for``: seconds; None: not paused."""
    return paused_for is not None and paused_for > PAUSE_GRACE_SECONDS


@dataclass(frozen=True)
class Facts:
    """Facts for the gates of a cutover."""

    lag: float | None
    """Seconds; None: unknown."""
    caught_up: bool
    """Whether the lag has been small for long enough."""
    lag_message: str
    lag_too_new: bool
    """Whether no lag was large so far, but that is not known for long enough."""
    copied: bool
    """Whether the rows of all tables are in, also of those that joined or started over."""
    proven: bool
    """Whether every row was compared once, or verification is off."""
    paused: bool
    too_slow: str = ""
    """Why the tables without a key cannot be copied again within the deadline; empty: they can."""
    outside_window: MissingGate | None = None
    """Why no attempt may start at this time; None: it may."""


def missing_gates(facts: Facts) -> list[MissingGate]:
    """The gates that are not passed, the most relevant for people first."""
    missing = []
    if facts.outside_window is not None and facts.outside_window.reason is Reason.WINDOW_MISSED:
        missing.append(facts.outside_window)  # first: whatever else is missing, a person must act
    if not facts.copied:
        missing.append(MissingGate(Reason.COPYING, "rows of some tables are still being copied"))
    if not facts.caught_up:
        reason = Reason.LAG_UNKNOWN if facts.lag is None or facts.lag_too_new else Reason.LAG_ABOVE_THRESHOLD
        missing.append(MissingGate(reason, facts.lag_message))
    if not facts.proven:
        missing.append(
            MissingGate(
                Reason.VERIFICATION_PENDING,
                "not all rows are compared, or rows that differed are not judged or copied again yet",
            )
        )
    if facts.too_slow:
        missing.append(MissingGate(Reason.WHOLE_TABLE_TOO_SLOW, facts.too_slow))
    if facts.paused:
        missing.append(MissingGate(Reason.PAUSED_BY_USER, "paused"))
    if facts.outside_window is not None and facts.outside_window.reason is Reason.OUTSIDE_WINDOW:
        missing.append(facts.outside_window)
    return missing


class Next(Enum):
    """What to do once all gates are passed."""

    WAIT = auto()
    ATTEMPT = auto()
    ASK_A_PERSON = auto()
    """All attempts of the series have failed."""


def exhausted(wanted: DesiredState, attempts: int) -> bool:
    """Whether attempts are permitted and none is left."""
    return wanted.wants_cutover and attempts >= wanted.directive.cutover.max_attempts


def next_after_gates(wanted: DesiredState, attempts: int, seconds_to_next: float) -> Next:
    """``attempts``: made in this series. ``seconds_to_next``: remaining wait between two attempts."""
    if not wanted.wants_cutover:
        return Next.WAIT
    if exhausted(wanted, attempts):
        return Next.ASK_A_PERSON
    return Next.WAIT if seconds_to_next > 0 else Next.ATTEMPT
