"""A PyMySQL connection whose LOAD DATA LOCAL sends bytes from memory, and never a file.

The server names the file that it wants in its answer; a hostile one could ask for any. This connection sends only the
payload that the caller handed over for the statement under way, whatever name the server says. Called by ``session``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pymysql import err
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CLIENT

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

    _Connection = Connection[Cursor]
else:
    _Connection = Connection  # generic in the stubs only

PACKET_BYTES = 1 << 19
"""16 KiB packets cost the copier twice the CPU for 8 MiB chunks; a packet of max_allowed_packet or more is refused."""


class _UploadResult(MySQLResult):
    # PyMySQL's stubs do not know its private half, which is the only way to answer a LOCAL request.
    _read_ok_packet: Callable[[Any], None]

    def _read_load_local_packet(self, _first_packet: Any) -> None:
        connection: Any = self.connection
        payload = connection.payload
        if payload is None:
            connection.write_packet(b"")
            connection._read_packet()  # noqa: SLF001 - see above
            raise err.OperationalError(2000, "the server asked for a local file that the statement does not send")
        view = memoryview(payload)
        for start in range(0, len(view), PACKET_BYTES):
            connection.write_packet(bytes(view[start : start + PACKET_BYTES]))
        connection.write_packet(b"")
        self._read_ok_packet(connection._read_packet())  # noqa: SLF001 - see above


class UploadConnection(_Connection):
    """``payload`` is what the next LOAD DATA LOCAL sends; None refuses it."""

    payload: bytes | None = None
    warning_count = 0
    message = b""

    def __init__(self, *, tls_optional: bool = False, defer_connect: bool = False, **settings: Any) -> None:
        """With ``tls_optional`` the ``ssl`` context is used if the server offers TLS: PyMySQL alone would insist."""
        super().__init__(defer_connect=True, **settings)
        if tls_optional:
            self._ssl_required = False
            self.client_flag &= ~CLIENT.SSL
        self._patience = settings.get("read_timeout"), settings.get("write_timeout")
        if not defer_connect:
            self.connect()

    def connect(self, sock: Any = None) -> None:
        """A port that accepts and says nothing gets the time for connecting, not the time that a statement may take."""
        self._read_timeout = self._write_timeout = self.connect_timeout
        super().connect(sock)
        self._read_timeout, self._write_timeout = self._patience

    def _read_query_result(self, unbuffered: bool = False) -> int:  # noqa: ARG002 - PyMySQL's signature
        self._result = None
        result = _UploadResult(self)
        result.read()
        self._result = result
        self.warning_count = result.warning_count
        message = result.message or b""
        self.message = message if isinstance(message, bytes) else message.encode()
        return int(result.affected_rows or 0)
