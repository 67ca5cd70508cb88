"""Opens a dump: log in, register as a replica, request everything after a position. Called by ``streamer`` at each
connect.

The packets of the handshake come from mysql-replication. This is the only module that uses its name-mangled connect
method: the public one (``fetchone``) opens a second connection to information_schema and decodes what it reads. Its
GTID sets support neither tags nor the empty set (with which it would start at the end of the binlog, on both families),
so those requests are written here. Statements that both families need first are sent on the connection before the dump.
"""

import struct
import time
import uuid
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pymysql import err

from ferry_core.binlog.frames import Frames
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.faults import classify
from ferry_core.mysql.file_position import DUMPABLE
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position, parse_position
from ferry_core.mysql.identity import COLUMNS, ServerIdentity
from ferry_core.mysql.session import NO_LIMITS
from ferry_core.mysql.upload import UploadConnection
from ferry_core.reasons import Reason

if TYPE_CHECKING:
    from pymysql.connections import Connection

HEARTBEAT_SECONDS = 0.2
"""A quiet source says that often that there is nothing new: until the first heartbeat the lag is unknown."""
SILENCE_SECONDS = 10.0
"""Fifty missed heartbeats: the connection is treated as lost, whatever the socket reports."""

_COM_BINLOG_DUMP = 0x12
_COM_BINLOG_DUMP_GTID = 0x1E
_THROUGH_GTID = 0x04
# While the sink blocks the stream (a pause may last for hours), the source must wait and not close the connection.
_NET_WRITE_TIMEOUT = 7 * 24 * 3600
_NAMESPACE = uuid.UUID("6c3c2f0e-5d0f-4c52-8f5e-0c8d4c1a7f57")


class SourceFacts(NamedTuple):
    """Facts that the source reported before the dump."""

    identity: ServerIdentity
    checksums: bool  # applies to the first events, until a format description arrives
    folds_names: bool  # lower_case_table_names is not 0
    purged: Position  # MySQL's gtid_purged; empty on MariaDB, which does not report it
    logged: Position  # MariaDB's gtid_binlog_state, including purged transactions; empty on MySQL, not asked
    clock_ahead: float  # the source's clock minus ours, in seconds


class Dump(NamedTuple):
    """A running dump."""

    connection: "Connection[Any]"
    frames: Frames
    facts: SourceFacts


def server_id_of(uid: str) -> int:
    """A replication server id for this Ferry, in the upper half of the range, which people seldom use."""
    return 0x80000000 | zlib.crc32(uid.encode()) & 0x7FFFFFFF


def replica_uuid(server_id: int) -> str:
    """The same server id always has the same uuid, so that the source closes our own dead dump when we reconnect."""
    return str(uuid.uuid5(_NAMESPACE, str(server_id)))


def open_dump(
    endpoint: Endpoint,
    flavor: Flavor,
    server_id: int,
    start: Position | tuple[str, int],
    check: Callable[[SourceFacts], None],
) -> Dump:
    """Connect and start the dump after ``start``, unless ``check`` raises. ``start`` is a position or, on MariaDB, file
    and offset. Raises errors of the error tree.
    """
    try:
        connection = _connect(endpoint)
        try:
            with connection.understood():
                facts = _introduce(connection, flavor, server_id)
                _require_tls(connection, endpoint)
            endpoint.check(facts.identity)
            check(facts)
            with connection.understood():
                _begin(connection, flavor, server_id, start)
        except BaseException:
            close(connection)
            raise
    except (err.MySQLError, OSError) as error:
        raise classify(error, endpoint) from error
    sock: Any = connection._sock  # noqa: SLF001 - the hot loop reads it without PyMySQL
    sock.settimeout(SILENCE_SECONDS)
    # Use PyMySQL's own buffered file, so that bytes that it has read ahead are not lost.
    return Dump(connection, Frames(connection._rfile.read), facts)  # noqa: SLF001


def connect_dump(endpoint: Endpoint) -> "Connection[Any]":
    """Open a connection that may request a separate dump beside the stream's. Raises errors of the error tree."""
    try:
        connection = _connect(endpoint)
        try:
            with connection.understood():
                _require_tls(connection, endpoint)
                # Request events exactly as they are in their file, whatever binlog_checksum is now.
                _row(
                    connection,
                    "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32', "
                    f"@mariadb_slave_capability = 4, {NO_LIMITS}",
                )
                found = ServerIdentity(*_row(connection, f"SELECT {COLUMNS}"))
            endpoint.check(found)
        except BaseException:
            close(connection)
            raise
    except (err.MySQLError, OSError) as error:
        raise classify(error, endpoint) from error
    return connection


def request_dump(connection: "Connection[Any]", place: tuple[str, int], flags: int, server_id: int) -> None:
    """Request events from a place in a file on. Raises DataError for a place that the command cannot hold."""
    file, offset = place
    if not 0 <= offset < DUMPABLE:
        raise DataError(
            Reason.SOURCE_BINLOG_UNREADABLE,
            f"the source's binlog cannot be read from {offset} of {file}: no dump can be requested from a place beyond "
            "4 GiB. Start over with a fresh copy",
        )
    command = struct.pack("<IHI", offset, flags, server_id) + file.encode()
    connection._execute_command(_COM_BINLOG_DUMP, command)  # type: ignore[attr-defined]  # noqa: SLF001


def close(connection: "Connection[Any]") -> None:
    """Close without a COM_QUIT, which could block."""
    connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - close() would write to a dump


def _connect(endpoint: Endpoint) -> UploadConnection:
    return UploadConnection(
        **endpoint.login,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=10,
        read_timeout=SILENCE_SECONDS,
        write_timeout=SILENCE_SECONDS,
        ssl=endpoint.tls,
        ssl_disabled=endpoint.tls is None,
        tls_optional=not endpoint.tls_required,
    )


def _require_tls(connection: "Connection[Any]", endpoint: Endpoint) -> None:
    if endpoint.tls_required and not _row(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[1]:
        raise ConfigError(
            Reason.TLS_NOT_OFFERED, f"{endpoint.where} does not offer TLS on the stream", server=endpoint.role
        )


def _row(connection: "Connection[Any]", statement: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cast("tuple[Any, ...]", cursor.fetchone() or ())


def _introduce(connection: "Connection[Any]", flavor: Flavor, server_id: int) -> SourceFacts:
    history = "@@GLOBAL.gtid_purged, ''" if flavor is Flavor.MYSQL else "'', @@GLOBAL.gtid_binlog_state"
    own = replica_uuid(server_id)
    period = int(HEARTBEAT_SECONDS * 1e9)
    # Set both the old and the new names: MySQL reads source_* first; MariaDB and older MySQL know only master_*.
    _row(
        connection,
        "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum, "
        f"@master_heartbeat_period = {period}, @source_heartbeat_period = {period}, @mariadb_slave_capability = 4, "
        f"@slave_uuid = '{own}', @replica_uuid = '{own}', SESSION net_write_timeout = {_NET_WRITE_TIMEOUT}, "
        f"{NO_LIMITS}",  # the server treats SHOW STATUS as a SELECT
    )
    sent = time.time()
    checksum, folds, now, name, start, purged, logged = _row(
        connection,
        "SELECT @@GLOBAL.binlog_checksum, @@GLOBAL.lower_case_table_names, UNIX_TIMESTAMP(NOW(6)), "
        f"{COLUMNS}, {history}",
    )
    ahead = float(now) - (sent + time.time()) / 2
    past = parse_position(flavor, purged), parse_position(flavor, logged)
    return SourceFacts(ServerIdentity(name, start), checksum != "NONE", bool(folds), *past, ahead)


def _begin(connection: "Connection[Any]", flavor: Flavor, server_id: int, position: Position | tuple[str, int]) -> None:
    """Send the dump command. From now on the connection delivers only events."""
    if isinstance(position, tuple):
        request_dump(connection, position, 0, server_id)
        return
    if isinstance(position, GtidSet) and (not position.intervals or ":" in "".join(position.intervals)):
        payload = position.encode()
        command = struct.pack("<HII3sQI", _THROUGH_GTID, server_id, 3, b"", 4, len(payload)) + payload
        connection._execute_command(_COM_BINLOG_DUMP_GTID, command)  # type: ignore[attr-defined]  # noqa: SLF001
        return
    if isinstance(position, MariaDbGtids) and not position.domains:
        _row(
            connection, "SET @slave_connect_state = '', @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0"
        )
        request_dump(connection, ("", 4), 0, server_id)
        return
    from pymysqlreplication import BinLogStreamReader  # 0.05 s to import, which `ferry check` does not need

    reader = BinLogStreamReader(
        connection_settings={},
        pymysql_wrapper=lambda **_: connection,
        server_id=server_id,
        blocking=True,
        auto_position=str(position),
        is_mariadb=flavor is Flavor.MARIADB,
        slave_heartbeat=HEARTBEAT_SECONDS,
        slave_uuid=replica_uuid(server_id),
        enable_logging=False,
    )
    reader._BinLogStreamReader__connect_to_stream()  # noqa: SLF001 - see the module's docstring
