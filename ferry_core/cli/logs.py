"""Log output of a command: stderr, as text or JSON, printed above a live view. Used by ``run``."""

import logging
import sys

from ferry_core.text import printable


class CurrentStderr:
    """Writes to the current ``sys.stderr``: rich replaces it while a live view is shown."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class TextFormatter(logging.Formatter):
    """One line for each message, whatever it quotes; tracebacks follow on lines of their own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


def configure(log_format: str, level: str) -> None:
    """Set up logging for this process; ``log_format`` is text or json, ``level`` debug, info, warning or error."""
    handler: logging.StreamHandler[CurrentStderr] = logging.StreamHandler(CurrentStderr())
    if log_format == "json":
        from ferry_core.json_lines import JsonLines

        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
