"""Advice and figures as text for people. Used by ``reporter``."""

import hashlib
import textwrap
from collections.abc import Sequence

from ferry_core.api.choices import CutoverMode, SourceLockMode
from ferry_core.api.spec import Spec
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Condition, Reason

ConditionState = tuple[Condition, bool | None, Reason]
"""A condition, its status (None: unknown) and the reason."""
AT_FIRST: tuple[ConditionState, ...] = (
    (Condition.SUCCEEDED, None, Reason.IN_PROGRESS),
    (Condition.VALIDATED, None, Reason.VALIDATING),
    (Condition.COPY_COMPLETE, False, Reason.COPYING),
    (Condition.CAUGHT_UP, None, Reason.LAG_UNKNOWN),
    (Condition.READY_FOR_CUTOVER, False, Reason.COPYING),
    (Condition.CUT_OVER, False, Reason.IN_PROGRESS),
    (Condition.VERIFIED, None, Reason.VERIFICATION_PENDING),
    (Condition.STALLED, False, Reason.NOT_STALLED),
)
"""Every condition exists from the start, because absent and unknown are not the same."""
NOTHING_COPIED: tuple[ConditionState, ...] = (
    (Condition.COPY_COMPLETE, False, Reason.COPYING),
    (Condition.READY_FOR_CUTOVER, False, Reason.COPYING),
)
"""Conditions of a run that still has rows to copy, perhaps again."""
NOTHING_PROVEN: tuple[ConditionState, ...] = (
    (Condition.CAUGHT_UP, None, Reason.LAG_UNKNOWN),
    (Condition.READY_FOR_CUTOVER, False, Reason.LAG_UNKNOWN),
    (Condition.VERIFIED, None, Reason.VERIFICATION_PENDING),
)
"""Conditions of a run that resumes from its checkpoint."""

_WARNINGS_CHARACTERS = 900
"""An Event can hold 1,024 bytes."""

HOW_TO_APPROVE = "ferry cutover; in a cluster spec.cutover.approved"
HOW_TO_TRY_AGAIN = {
    CutoverMode.MANUAL: "approve again for a new series (ferry cutover; in a cluster spec.cutover.approved false, "
    "then, in another patch, true), or raise spec.cutover.maxAttempts",
    CutoverMode.AUTOMATIC: "for a new series raise spec.cutover.maxAttempts (or ferry cutover; in a cluster "
    "spec.cutover.mode Manual, then, in another patch, spec.cutover.approved)",
    CutoverMode.SCHEDULED: "for a new series raise spec.cutover.maxAttempts or set another spec.cutover.notBefore (or "
    "ferry cutover)",
}


def hand_over(spec: Spec) -> str:
    """What a cutover means for whoever made it."""
    text = f"cut over; writes may move to the target, {spec.target.address}"
    if spec.cutover.source_lock is SourceLockMode.LOCK_TABLES and not float(spec.cutover.watch_for):
        return (
            f"{text}. The selected tables of the source are unlocked at once (cutover.watchFor is 0s): keep "
            "applications away from them"
        )
    if spec.cutover.source_lock is SourceLockMode.LOCK_TABLES:
        return (
            f"{text}. The selected tables of the source stay locked until cutover.watchFor is over: before that, end "
            "the connections that wait to write there"
        )
    if spec.cutover.source_lock is not SourceLockMode.READ_ONLY:
        return text
    return f"{text}. The source stays read-only until it is restarted: stop it, or set read_only in its configuration"


def applying(wanted: DesiredState) -> str:
    """What a run applies from now on, in one line for the log."""
    directive = wanted.directive
    cutover, cap = directive.cutover, directive.throttle.max_rows_per_second
    approved = "approved" if cutover.approved else "not approved"
    how = approved if cutover.mode is CutoverMode.MANUAL else cutover.mode.value.lower()
    pace = "unlimited" if cap is None else f"at most {cap}"
    return (
        f"applying generation {directive.generation}: {'paused' if directive.paused else 'running'}, cutover {how}, "
        f"{wanted.workers} workers, rows/s {pace}{', aborting' if wanted.aborted else ''}"
    )


def at_most_4_kib(gtids: str) -> str:
    """A truncated GTID set would name other transactions. A digest at least shows whether two are the same."""
    return gtids if len(gtids) <= 4096 else f"sha256:{hashlib.sha256(gtids.encode()).hexdigest()}"


def roughly(seconds: float) -> str:
    """A duration for people, in its two largest units."""
    minutes = int(seconds // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def with_warnings(warnings: Sequence[tuple[str, str]]) -> str:
    """Preflight's warnings by reason and message. Each is named; long ones are shortened."""
    if not warnings:
        return ""
    share = max(60, _WARNINGS_CHARACTERS // len(warnings))
    texts = [textwrap.shorten(f"{reason}: {message}", share, placeholder=" ...") for reason, message in warnings]
    whole = "" if not any(text.endswith(" ...") for text in texts) else " (whole in the copier's log)"
    number = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
    return f"preflight passed with {number}{whole}: {'; '.join(texts)}"
