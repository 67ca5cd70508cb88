"""A PyMySQL connection for servers that may be hostile, or not MySQL at all. Base of ``UploadConnection``.

PyMySQL trusts the server: it collects answers of any length, waits for a login that is sent byte by byte, and raises
whatever Python raises for bytes that make no sense. Here each answer is limited in bytes, the whole login in time, and
whatever is not the protocol becomes one error number (``faults`` says what it means).
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymysql import err
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CR

from ferry_core.errors import FerryError

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

    _Connection = Connection[Cursor]
else:
    _Connection = Connection  # generic in the stubs only

LOGIN_BYTES = 1 << 20
"""Most that a server may send before the login is complete. Real ones send a few hundred bytes."""
LOGIN_TIMEOUTS = 5
"""A login may take this many connect timeouts: it has about as many answers."""
LARGEST_ANSWER = 2 << 30
_SHARE = 3
"""An answer may take this part of the memory: PyMySQL holds a row twice while it joins the parts."""
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_NO_TIMEOUT_SET = -1.0


def most_bytes(limits: tuple[str, ...] = _GROUP_LIMITS) -> int:
    """Most bytes of one answer, by the memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(Path(path).read_text()))
    return min(LARGEST_ANSWER, memory // _SHARE)


class GuardedConnection(_Connection):
    """Limits what a server can make this process do."""

    # The stubs do not know them.
    _sock: Any
    _rfile: Any
    _current_timeout: float

    def __init__(self, **settings: Any) -> None:
        self._most = most_bytes()
        self._left = 0
        self._login_until: float | None = None
        super().__init__(**settings)

    def connect(self, sock: Any = None) -> None:
        """PyMySQL limits each answer; here the login as a whole must have an end too."""
        self._left = LOGIN_BYTES
        self._login_until = time.monotonic() + LOGIN_TIMEOUTS * self._connect_seconds
        try:
            with self.understood(opening=True):
                super().connect(sock)
        finally:
            self._login_until = None
            self._current_timeout = _NO_TIMEOUT_SET
            self._left = self._most

    def _execute_command(self, command: int, sql: Any) -> None:
        if self._login_until is None:
            self._left = self._most
        parent: Any = super()
        parent._execute_command(command, sql)  # noqa: SLF001 - PyMySQL has no public hook

    def next_row(self) -> None:
        """What was read is no longer held: count from here."""
        self._left = self._most

    def _read_bytes(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            self._break()
            if self._login_until is not None:
                raise malformed(f"more than {LOGIN_BYTES >> 20} MiB before the login was complete")
            raise err.OperationalError(
                CR.CR_NET_PACKET_TOO_LARGE, f"sent more than {self._most >> 20} MiB in answer to one statement"
            )
        if self._login_until is None:
            parent: Any = super()
            return bytes(parent._read_bytes(size))  # noqa: SLF001 - see above
        return self._read_until(size, self._login_until)

    def _read_until(self, size: int, until: float) -> bytes:
        """A socket's timeout counts from byte to byte; this one does not."""
        found = bytearray()
        while len(found) < size:
            self._sock.settimeout(max(0.001, min(self._connect_seconds, until - time.monotonic())))
            try:
                piece = self._rfile.read1(size - len(found))
            except OSError as error:
                piece, lost = b"", str(error)
            else:
                lost = "closed"
            if not piece or time.monotonic() > until:
                self._break()
                raise err.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server during login ({lost})")
            found += piece
        return bytes(found)

    @property
    def _connect_seconds(self) -> float:
        return float(self.connect_timeout or 10.0)

    @contextlib.contextmanager
    def understood(self, *, opening: bool = False) -> Iterator[None]:
        """Whatever the parser trips over is a malformed packet, and the connection is of no more use."""
        try:
            yield
        except (FerryError, MemoryError, OSError):
            raise
        except err.InternalError as error:
            if isinstance(error.args[0], int):
                raise
            raise malformed(str(error)) from error  # PyMySQL's own: packets out of order
        except err.MySQLError as error:
            if error.args[0] == CR.CR_MALFORMED_PACKET:
                self._break()
            raise
        except Exception as error:
            if not self.open and not opening:
                raise  # closed by another thread meanwhile
            self._break()
            raise malformed(f"{type(error).__name__}") from error

    def _break(self) -> None:
        connection: Any = self
        connection._force_close()  # noqa: SLF001 - close() would write to the server


def malformed(problem: str) -> err.OperationalError:
    """What ``faults`` knows as an answer that is not MySQL's."""
    return err.OperationalError(CR.CR_MALFORMED_PACKET, f"its answer is not in the MySQL protocol ({problem})")


def whole_rows(result: MySQLResult) -> None:
    """Refuse rows with fewer columns than announced."""
    if any(len(row) != result.field_count for row in result.rows or ()):
        raise malformed("a row lacks columns")


def only_answer(result: MySQLResult) -> None:
    """Refuse a second answer that no statement asked for."""
    if result.has_next:
        raise malformed("a second answer to one statement")
