"""The time in which cutover attempts may start: ``cutover.notBefore`` and ``notAfter``, by the copier's clock.

Both are moments with an offset, so a change to summer time moves neither. ``notAfter`` limits the start of an attempt,
not its end. Once it has passed, nothing is tried any more until somebody sets another window. Pure; called by the
coordinator's gates, and by an attempt right before it stops writes.
"""

import time
from datetime import UTC, datetime

from ferry_core.api.cutover import Cutover
from ferry_core.cutover.gates import MissingGate
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.reasons import Reason


def outside_window(cutover: Cutover, unix_seconds: float) -> MissingGate | None:
    """The gate that keeps attempts from starting at that time; None: they may start."""
    now = datetime.fromtimestamp(unix_seconds, UTC)
    if cutover.not_after is not None and now > cutover.not_after:
        return MissingGate(
            Reason.WINDOW_MISSED,
            f"no attempt starts any more, because cutover.notAfter ({_text(cutover.not_after)}) has passed; set a "
            "later spec.cutover.notAfter, or remove it",
        )
    if cutover.not_before is not None and now < cutover.not_before:
        return MissingGate(
            Reason.OUTSIDE_WINDOW, f"no attempt starts before {_text(cutover.not_before)} (cutover.notBefore)"
        )
    return None


def refuse_outside(cutover: Cutover) -> None:
    """AttemptFailed if the window has closed since the attempt began."""
    if (gate := outside_window(cutover, time.time())) is not None:
        raise AttemptFailed(gate.reason, gate.message)


def _text(moment: datetime) -> str:
    """In UTC, and as the user wrote it if that is another offset."""
    in_utc = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return in_utc if not moment.utcoffset() else f"{moment:%Y-%m-%d %H:%M:%S%z}, {in_utc}"
