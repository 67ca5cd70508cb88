"""A PyMySQL connection whose LOAD DATA LOCAL sends bytes from memory, and never a file.

The server names the file that it wants in its answer; a hostile one could ask for any. This connection sends only the
payload that the caller handed over for the statement under way, whatever name the server says. Nor does it send the
password in clear to a server that has not proven who it is, nor encrypted with a key that comes from there. Called by
``session`` and by the binlog's handshake.
"""

import ssl
from collections.abc import Callable, Generator
from typing import Any

from pymysql import err
from pymysql.connections import MySQLResult
from pymysql.constants import CLIENT, COMMAND, CR, SERVER_STATUS

from ferry_core.errors import ConfigError
from ferry_core.mysql.guarded import GuardedConnection, malformed, only_answer, whole_rows
from ferry_core.reasons import Reason
from ferry_core.text import host_port

PACKET_BYTES = 1 << 19
"""With 16 KiB packets the copier needs twice the CPU for 8 MiB chunks.

The server refuses a packet of max_allowed_packet or more.
"""


_IN_CLEAR = ("mysql_clear_password", "dialog")
"""Login methods by which a client sends the password itself (LDAP, PAM). The server chooses the method."""
_OLD = "mysql_old_password"
"""MySQL 4.0's method: whoever sees one answer can compute the password."""

SILENT_SECONDS = 1800
"""How long a statement over a whole table may take until its first row: a filter may leave out nearly all."""


class _UploadResult(MySQLResult):
    # PyMySQL's stubs lack its private attributes, which are the only way to answer a LOCAL request.
    _read_ok_packet: Callable[[Any], None]
    server_status: int | None

    def _check_packet_is_eof(self, packet: Any) -> bool:
        """PyMySQL keeps the status of answers without rows only."""
        parent: Any = super()
        over = bool(parent._check_packet_is_eof(packet))  # noqa: SLF001 - see above
        if over:
            self.server_status = int.from_bytes(packet.get_all_data()[3:5], "little")
        return over

    def _read_load_local_packet(self, _first_packet: Any) -> None:
        connection: Any = self.connection
        payload = connection.payload
        if payload is None:
            raise malformed("it asks for a local file that the statement does not send")
        view = memoryview(payload)
        for start in range(0, len(view), PACKET_BYTES):
            connection.write_packet(bytes(view[start : start + PACKET_BYTES]))
        connection.write_packet(b"")
        self._read_ok_packet(connection._read_packet())  # noqa: SLF001 - see above


class UploadConnection(GuardedConnection):
    """The next LOAD DATA LOCAL sends ``payload``; None refuses it."""

    payload: bytes | None = None
    warning_count = 0
    in_transaction = False
    """What the last answer that was no error says."""
    message = b""
    # The stubs do not know them.
    _secure: bool
    unix_socket: str | None
    ctx: ssl.SSLContext

    def __init__(
        self,
        *,
        tls_optional: bool = False,
        trusts_public_key: bool = False,
        defer_connect: bool = False,
        **settings: Any,
    ) -> None:
        """With ``tls_optional`` the ``ssl`` context is used if the server offers TLS; PyMySQL alone would require
        TLS.
        """
        self._trusts_public_key = trusts_public_key
        self._public_key: bytes | None = None
        super().__init__(defer_connect=True, **settings)
        if tls_optional:
            self._ssl_required = False
            self.client_flag &= ~CLIENT.SSL
        self._patience = settings.get("read_timeout"), settings.get("write_timeout")
        if not defer_connect:
            self.connect()

    def connect(self, sock: Any = None) -> None:
        """A port that accepts and sends nothing is limited by the connect timeout, not by the longer statement
        timeout.
        """
        self._read_timeout = self._write_timeout = self.connect_timeout
        super().connect(sock)
        self._read_timeout, self._write_timeout = self._patience

    def _process_auth(self, plugin_name: Any, *packet_and_handler: Any) -> Any:
        name = plugin_name.decode("ascii", "replace") if isinstance(plugin_name, bytes) else str(plugin_name)
        if name in _IN_CLEAR and not self._proven_private:
            raise ConfigError(
                Reason.PASSWORD_IN_CLEAR,
                f"{host_port(self.host, self.port)} asks for the password of {self.user_name} in clear ({name}), and "
                "the connection does not verify whom it would be sent to: set tls.mode to VerifyCA or VerifyIdentity, "
                "or use an account that logs in by caching_sha2_password, ed25519 or mysql_native_password",
            )
        if name == _OLD:
            raise err.OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, f"the server asks for a login by {_OLD}")
        parent: Any = super()
        return parent._process_auth(plugin_name, *packet_and_handler)  # noqa: SLF001 - the login has no public hook

    @property
    def server_public_key(self) -> bytes | None:
        """PyMySQL sets it to the key that the server sends, just before it encrypts the password with it."""
        return self._public_key

    @server_public_key.setter
    def server_public_key(self, key: bytes | None) -> None:
        if key and not self._trusts_public_key:
            raise err.OperationalError(
                CR.CR_AUTH_PLUGIN_ERR,
                f"without TLS it asks for the password of {self.user_name}, encrypted with a public key that it sends "
                "itself, and whoever answers in its place could send one too",
            )
        self._public_key = key

    @property
    def _proven_private(self) -> bool:
        """Whether nobody but the server that the spec means can read what is sent. A Unix socket is this machine's."""
        if self.unix_socket:
            return True
        return self._secure and self.ctx.verify_mode is ssl.CERT_REQUIRED

    @property
    def user_name(self) -> str:
        """As the spec names it."""
        user: Any = self.user
        return user.decode(errors="replace") if isinstance(user, bytes) else str(user)

    def stream(self, statement: bytes) -> Generator[tuple[bytes | None, ...]]:
        """Rows as the server sends them; the connection is closed unless all of them are fetched."""
        connection: Any = self
        connection._execute_command(COMMAND.COM_QUERY, statement)  # noqa: SLF001 - see above
        result: Any = _UploadResult(self)
        self._read_timeout = SILENT_SECONDS
        try:
            with self.understood():
                result.init_unbuffered_query()
            while (row := self._next_of(result)) is not None:
                yield row
            self._heed(result)
        except BaseException:
            result.unbuffered_active = False
            connection._force_close()  # noqa: SLF001 - see above
            raise
        finally:
            self._read_timeout = self._patience[0]

    def _heed(self, result: Any) -> None:
        """What an answer says besides its rows."""
        self.warning_count = result.warning_count
        if result.server_status is not None:
            self.in_transaction = bool(result.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def _next_of(self, result: Any) -> tuple[bytes | None, ...] | None:
        """The next row; None after the last one."""
        self.next_row()
        with self.understood():
            row: tuple[bytes | None, ...] | None = result._read_rowdata_packet_unbuffered()  # noqa: SLF001 - see above
            whole_rows(result)
            only_answer(result)
        return row

    def _read_end_of_compound(self) -> None:
        """After the rows of a compound statement (MariaDB's BEGIN NOT ATOMIC) comes an answer without rows."""
        end = _UploadResult(self)
        end.read()
        if end.field_count:
            raise malformed("a second answer to one statement")
        only_answer(end)

    def _read_query_result(self, unbuffered: bool = False) -> int:  # noqa: ARG002 - PyMySQL's signature
        self._result = None
        result = _UploadResult(self)
        with self.understood():
            result.read()
            whole_rows(result)
            if result.has_next and result.field_count:
                self._read_end_of_compound()
                result.has_next = False  # otherwise the next statement would wait for it
            else:
                only_answer(result)
        self._result = result
        self._heed(result)
        message = result.message or b""
        self.message = message if isinstance(message, bytes) else message.encode()
        return int(result.affected_rows or 0)
