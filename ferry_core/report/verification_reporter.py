"""Reports the verification: its passes, the rows that differed, and those that were copied again.

Called in the verification's threads, by ``workers.background_verifier``. Part of ``StatusReporter``.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from ferry_core.reasons import Reason
from ferry_core.report.progress import Progress
from ferry_core.tables.table import Table
from ferry_core.text import counted

log = logging.getLogger(__name__)

BEGUN, ENDED = "Begun", "Ended"
"""The statuses of an event Verification."""


class VerificationReporter:
    """``request``: number of the newest request that a pass answers; 0: nobody asked for it.

    Passes that nobody asked for and that find nothing are only counted: with ``Continuous`` there are many.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._rows = 0

    def begins_again(self) -> None:
        """Nothing counts as verified any more. Rows that were to be copied again count anew if they still differ."""
        self._progress.set_verification(rows_verified=0, unproven_keys=0, pass_rows=None)
        self._progress.repaired()

    def verified(self, _: Table, rows: int) -> None:
        with self._lock:
            self._rows += rows
            compared = self._rows
        self._progress.verified(rows)
        self._progress.set_verification(pass_rows=compared)

    def differ(self, by_table: Mapping[str, int]) -> None:
        self._progress.differ(by_table)

    def repaired(self, by_table: Mapping[str, int]) -> None:
        self._progress.repaired(by_table)

    def pass_begins(self, tables: int, request: int) -> None:
        with self._lock:
            self._rows = 0
        self._progress.set_verification(pass_rows=0)
        if request:
            text = f"comparing {counted(tables, 'table')} again, as asked for"
            log.info("verification on request: %s", text)
            self._progress.event("Verification", BEGUN, "", text)

    def pass_cancelled(self) -> None:
        self._progress.set_verification(pass_rows=None)

    def pass_ends(self, found: int, request: int) -> None:
        said = self._progress.report().verification
        with self._lock:
            rows = self._rows
        now = datetime.now(UTC).replace(microsecond=0)
        answered = max(said.requests_answered, request)
        self._progress.set_verification(
            passes=said.passes + 1, last_pass_time=now, pass_rows=None, requests_answered=answered
        )
        result = f"{found} differed and were copied again" if found else "no difference"
        text = f"compared {counted(rows, 'row')}: {result}"
        if request or found:
            log.info("verification: %s", text)
            self._progress.event("Verification", ENDED, Reason.ROWS_DIFFER if found else Reason.NO_DIFFERENCE, text)
