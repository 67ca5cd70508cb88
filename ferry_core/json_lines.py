"""The one shape of a JSON log line: time, level, logger, event, message, and what else is known.

Used by the command and by the operator, so that one rule of a log collector reads both.
"""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter


def stamp(seconds: float) -> str:
    """``2026-11-30T02:49:38.716Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


OURS = ("ferry_core", "ferry_operator")
"""Loggers whose messages are templates. Those of libraries contain names."""


def event_of(record: logging.LogRecord) -> str:
    """The kind of a line, the same whatever values it has: ``table-is-copied``. A record may name it (``extra``).

    Otherwise it is the first clause of the message's template, or else the function that logs.
    """
    named = getattr(record, "event", None)
    if named is not None:
        return str(named)
    if not record.name.startswith(OURS):
        return record.name
    for clause in re.split("[:;,.(]", re.sub(r"%[-.\d]*[a-z]", "", str(record.msg))):
        if words := re.findall("[a-z]+", clause.lower()):
            return "-".join(words)
    return record.funcName.strip("_").replace("_", "-")


class JsonLines(JsonFormatter):
    """For a handler of logging."""

    def __init__(self, without: Sequence[str] = ()) -> None:
        """``without``: attributes of records that are left out."""
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(event)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, *without],
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        record.event = event_of(record)
        super().add_fields(log_data, record, message_dict)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's
        return stamp(record.created)
