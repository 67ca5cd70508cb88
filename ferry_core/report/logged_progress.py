"""The snapshot that also logs important changes. Used by ``reporter``.

Conditions are logged when their status changes, not when their message does. ``run.coordinator`` logs cutover attempts.
"""

import logging

from ferry_core.api.report import Phase, Stage
from ferry_core.api.sentences import sentence
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Condition, Reason
from ferry_core.report.conditions import tristate
from ferry_core.report.progress import Progress
from ferry_core.rows.copier import CopyResult
from ferry_core.text import counted

log = logging.getLogger(__name__)


LOGGED_ELSEWHERE = (Condition.CUT_OVER, Condition.THROTTLED)
"""Where more is known: by the attempts, and for each signal by ``throttle``."""


class LoggedProgress(Progress):
    """Logs at INFO, and never the value of a row."""

    def set_stage(self, stage: Stage, message: str | None = None) -> None:
        if stage is not self.stage:
            log.info("stage %s", stage.value)
        super().set_stage(stage, message)

    def set_condition(self, kind: str, status: bool | None, reason: Reason, message: str = "") -> None:
        before, now = self._conditions.get(kind), tristate(status)
        super().set_condition(kind, status, reason, message)
        changed = now == "True" if before is None else now != before.status
        if changed and kind not in LOGGED_ELSEWHERE and self._phase is not Phase.FAILED:  # a failure is the last line
            told = {"event": "condition", "condition": str(kind), "status": now, "reason": str(reason)}
            log.info("%s: %s", reason, sentence(kind, now, reason, message), extra=told)

    def chunk(self, move: TableMove, result: CopyResult) -> bool:
        changed = super().chunk(move, result)
        if changed and move.copied:
            log.info("table %s is copied: %s", move.id, counted(move.chunks.copied.rows, "row"))
        return changed
