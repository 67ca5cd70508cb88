"""The one shape of a JSON log line: time, level, logger, message, and what else is known.

Used by the command and by the operator, so that one rule of a log collector reads both.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


def stamp(seconds: float) -> str:
    """``2026-11-30T02:49:38.716Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(JsonFormatter):
    """For a handler of logging."""

    def __init__(self, without: Sequence[str] = ()) -> None:
        """``without``: attributes of records that are left out."""
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, *without],
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's
        return stamp(record.created)
