"""What a condition says, as a whole sentence: what happened and what it means.

Conditions with a message of their own keep it; some need a beginning. Used by the run's log, by ``ferry status``, and
by the operator for the status and its Events.
"""

from collections.abc import Mapping

from ferry_core.reasons import Condition, Reason

_WORDS: Mapping[tuple[str, str, str], str] = {
    (Condition.SUCCEEDED, "Unknown", Reason.IN_PROGRESS): "the move is under way",
    (Condition.SUCCEEDED, "True", Reason.COMPLETED): "the move is complete; writes may go to the target",
    (Condition.SUCCEEDED, "False", Reason.ABORTED): "the move was aborted; the target is kept",
    (Condition.VALIDATED, "Unknown", Reason.NOT_STARTED): "preflight has not begun",
    (Condition.VALIDATED, "Unknown", Reason.VALIDATING): "preflight is checking both servers",
    (Condition.VALIDATED, "True", Reason.PASSED): "preflight passed without warnings",
    (Condition.COPY_COMPLETE, "False", Reason.NOT_STARTED): "the copy has not begun",
    (Condition.COPY_COMPLETE, "False", Reason.COPYING): "tables are being copied",
    (Condition.COPY_COMPLETE, "True", Reason.ALL_TABLES_COPIED): (
        "all selected tables are copied; their changes are applied until the cutover"
    ),
    (Condition.CAUGHT_UP, "Unknown", Reason.LAG_UNKNOWN): "the lag is not known yet",
    (Condition.CAUGHT_UP, "True", Reason.LAG_BELOW_THRESHOLD): "changes reach the target within cutover.maxLag",
    (Condition.READY_FOR_CUTOVER, "False", Reason.NOT_STARTED): "the copy has not begun",
    (Condition.READY_FOR_CUTOVER, "False", Reason.COPYING): "tables are being copied",
    (Condition.READY_FOR_CUTOVER, "False", Reason.LAG_UNKNOWN): "the lag is not known yet",
    (Condition.READY_FOR_CUTOVER, "True", Reason.GATES_PASSED): "every gate is passed: the cutover can begin",
    (Condition.CUT_OVER, "False", Reason.IN_PROGRESS): "no cutover has begun",
    (Condition.CUT_OVER, "False", Reason.AWAITING_APPROVAL): (
        "the cutover waits for approval: ferry cutover, or in a cluster spec.cutover.approved: true"
    ),
    (Condition.CUT_OVER, "True", Reason.DONE): "cut over; writes may move to the target",
    (Condition.VERIFIED, "Unknown", Reason.VERIFICATION_PENDING): "the verification has not begun",
    (Condition.VERIFIED, "Unknown", Reason.RUNNING): "rows of both servers are being compared",
    (Condition.VERIFIED, "True", Reason.NO_DIFFERENCE): "the verification found no difference",
    (Condition.PAUSED, "True", Reason.PAUSED_BY_USER): "paused: no rows move, progress is kept",
    (Condition.PAUSED, "False", Reason.NOT_PAUSED): "not paused",
    (Condition.THROTTLED, "False", Reason.NOT_THROTTLED): "not throttled",
    (Condition.STALLED, "False", Reason.NOT_STALLED): "no person is needed",
    (Condition.RECONCILING, "False", Reason.SETTLED): "the newest spec is applied",
    (Condition.RECONCILING, "False", Reason.REFUSED): "the newest spec is refused",
    (Condition.RECONCILING, "True", Reason.NEW_GENERATION): "the newest spec is not applied yet",
}
_BEGINNINGS: Mapping[tuple[str, str], str] = {
    (Condition.VALIDATED, "False"): "preflight failed: ",
    (Condition.STALLED, "True"): "a person is needed: ",
    (Condition.THROTTLED, "True"): "throttled: ",
}
_ADDED: Mapping[tuple[str, str], str] = {
    (Condition.READY_FOR_CUTOVER, "True"): "; ",
    (Condition.VERIFIED, "True"): "; ",
}
"""Messages of these are more than the words, and follow them."""


def message_or_words(kind: str, status: str, reason: str, message: str) -> str:
    """The message, or else what the condition says without one."""
    return message or words(kind, status, reason)


def words(kind: str, status: str, reason: str) -> str:
    """What the condition says without a message."""
    return _WORDS.get((kind, status, reason), "")


def sentence(kind: str, status: str, reason: str, message: str) -> str:
    """For a log line or an Event, which stand alone."""
    said = words(kind, status, reason)
    if not message or message == said:
        return said or f"{kind} is {status}"
    if (between := _ADDED.get((kind, status))) and said:
        return message if message.startswith(said) else f"{said}{between}{message}"
    return f"{_BEGINNINGS.get((kind, status), '')}{message}"
