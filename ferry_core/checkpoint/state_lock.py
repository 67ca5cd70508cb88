"""Makes sure that one process at a time uses a state file.

The process holds a lock on ``<state file>.lock``, which ends with the process. The state file itself is not locked,
because it is created by a save and SQLite has its own locks on it. Called by ``run.single_run``.
"""

import contextlib
import fcntl
import logging
import os
import socket
import time
from pathlib import Path

log = logging.getLogger(__name__)


class StateLock:
    """``acquire`` once; ``release`` also removes the lock's file."""

    def __init__(self, state: Path) -> None:
        real = Path(os.path.realpath(state))  # resolve the path: one file may have two names
        self._path = real.with_name(f"{real.name}.lock")
        self._file: int | None = None

    def acquire(self) -> str | None:
        """Returns None if the lock is ours, otherwise who holds it.

        If the file system cannot lock files, nobody is refused.
        """
        try:
            while not self._try():
                pass
        except BlockingIOError:
            return self._holder()
        except OSError as error:
            log.warning("%s cannot be locked: %s", self._path, error)
        return None

    def _try(self) -> bool:
        """Lock the file, and check that the path still names it: the last holder may just have removed it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = self._path.exists() and os.path.samestat(self._path.stat(), os.fstat(file))
            if found:
                os.ftruncate(file, 0)
                since = time.strftime("%F %T UTC", time.gmtime())
                os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
                self._file = file
        except BaseException:
            os.close(file)
            raise
        if not found:
            os.close(file)
        return found

    def _holder(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self._path.read_text() or "another process"
        return "another process"

    def release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._file)
            self._file = None
