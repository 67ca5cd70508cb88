"""The clock of an attempt: how long writes on the source were stopped. Used by the locks."""

import time


class WriteBlock:
    """Measures how long writes on the source were blocked or refused; 0 if they never were."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended: float | None = None

    def begins(self) -> None:
        """The statement that stops writes is sent: writers queue behind it while it waits."""
        self._began = time.monotonic()
        self._ended = None

    def ends(self) -> None:
        """Writes are allowed. Calling it again has no effect."""
        self._ended = self._ended or time.monotonic()

    @property
    def milliseconds(self) -> int:
        """So far, or until it ended."""
        return 0 if self._began is None else round(((self._ended or time.monotonic()) - self._began) * 1000)
