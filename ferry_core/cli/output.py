"""The command's output: results on stdout, everything else on stderr, as text or as one JSON object per line.

Each command has one ``Output``, configured by its options. Used by every module here.
"""

import json
import sys
import threading
import time
import traceback
from typing import TextIO

from ferry_core.errors import ExitCode, FerryError
from ferry_core.reasons import Reason
from ferry_core.text import printable

REPORT_AT = "the issue tracker of mysql-ferry"


class Output:
    """Thread-safe, because the progress view and the command itself both write."""

    def __init__(self) -> None:
        self.as_json = False
        self.debug = False
        self._lock = threading.Lock()

    def say(self, text: str, event: str = "result") -> None:
        """Print a result or a progress line."""
        self._write(sys.stdout, text, text, "INFO", event)

    def notice(self, text: str) -> None:
        """Print something that the user should know before or during the run."""
        self._write(sys.stderr, f"ferry: {text}", text, "WARNING", "notice")

    def failure(self, error: FerryError) -> None:
        """Print one line for an expected error."""
        flat = " ".join(error.message.split())
        level = "INFO" if error.exit_code is ExitCode.TERMINATED else "ERROR"  # asked for: no fault
        self._write(sys.stderr, f"ferry: {error.reason}: {flat}", flat, level, "failure", reason=error.reason)

    def crash(self, error: BaseException) -> None:
        """Print one line for an unexpected error; the traceback is printed only when debugging."""
        what = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"unexpected error, please report it in {REPORT_AT} with the output of --log-level debug: {what}"
        self._write(
            sys.stderr,
            f"ferry: {Reason.INTERNAL_ERROR}: {text}",
            text,
            "ERROR",
            "failure",
            reason=Reason.INTERNAL_ERROR,
        )
        if self.debug:
            trace = "".join(traceback.format_exception(error)).rstrip()
            self._write(sys.stderr, trace, trace, "DEBUG", "traceback")

    def _write(self, stream: TextIO, plain: str, message: str, level: str, event: str, **fields: object) -> None:
        if self.as_json:
            from ferry_core.json_lines import stamp

            shape = {"time": stamp(time.time()), "level": level, "logger": "ferry", "event": event, "message": message}
            plain = json.dumps(shape | fields, default=str)
        lines = "\n".join(map(printable, plain.split("\n")))
        with self._lock:
            stream.write(lines + "\n")
            stream.flush()
