"""Binlog event numbers, and parsers for the few control events whose content matters: pure functions over bytes.

``data`` is a packet from ``frames``: one 0 byte, the 19-byte header, the body from offset 20; ``end`` excludes the
checksum. mysql-replication has classes for these events, but they need its own packet wrapper and connection, and
support neither tagged GTIDs nor MariaDB's XA flags. Numbers: libs/mysql/binlog/event of MySQL 9.7, sql/log_event.h of
MariaDB 11.8.
"""

import functools
import struct
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, Protocol, TypeVar
from zlib import crc32

from ferry_core.binlog.client_text import decoded
from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.schema.statements import normal_xid

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

QUERY = 2
STOP = 3
ROTATE = 4
FORMAT_DESCRIPTION = 15
XID = 16
EXECUTE_LOAD_QUERY = 18
TABLE_MAP = 19
WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1 = 23, 24, 25
INCIDENT = 26
HEARTBEAT = 27
WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS = 30, 31, 32
GTID = 33
ANONYMOUS_GTID = 34
XA_PREPARE = 38
PARTIAL_UPDATE_ROWS = 39
TRANSACTION_PAYLOAD = 40
HEARTBEAT_V2 = 41
TAGGED_GTID = 42
GTID_LIST = 163
MARIADB_GTID = 162
MARIADB_QUERY_COMPRESSED = 165
MARIADB_ROWS_COMPRESSED = range(166, 172)

ROWS = frozenset(
    {
        *range(WRITE_ROWS_V1, DELETE_ROWS_V1 + 1),
        *range(WRITE_ROWS, DELETE_ROWS + 1),
        PARTIAL_UPDATE_ROWS,
    }
)

HARMLESS = {
    5: "intvar",  # the next three only prepare a statement, which is checked by itself
    13: "rand",
    14: "user_var",
    9: "append_block",  # content of a statement-format LOAD DATA
    11: "delete_file",
    17: "begin_load_query",
    28: "ignorable",
    29: "rows_query",
    35: "previous_gtids",
    36: "transaction_context",
    37: "view_change",
    160: "annotate_rows",
    161: "binlog_checkpoint",
    164: "start_encryption",
}
"""Events that contain neither a row nor a statement."""

NAMES = {
    **HARMLESS,
    GTID_LIST: "gtid_list",
    QUERY: "query",
    STOP: "stop",
    ROTATE: "rotate",
    FORMAT_DESCRIPTION: "format_description",
    XID: "xid",
    EXECUTE_LOAD_QUERY: "execute_load_query",
    TABLE_MAP: "table_map",
    WRITE_ROWS_V1: "write_rows",
    UPDATE_ROWS_V1: "update_rows",
    DELETE_ROWS_V1: "delete_rows",
    INCIDENT: "incident",
    HEARTBEAT: "heartbeat",
    WRITE_ROWS: "write_rows",
    UPDATE_ROWS: "update_rows",
    DELETE_ROWS: "delete_rows",
    GTID: "gtid",
    ANONYMOUS_GTID: "anonymous_gtid",
    XA_PREPARE: "xa_prepare",
    PARTIAL_UPDATE_ROWS: "partial_update_rows",
    TRANSACTION_PAYLOAD: "transaction_payload",
    HEARTBEAT_V2: "heartbeat",
    TAGGED_GTID: "gtid",
    MARIADB_GTID: "gtid",
    MARIADB_QUERY_COMPRESSED: "query_compressed",
    **dict.fromkeys(MARIADB_ROWS_COMPRESSED, "rows_compressed"),
}

IN_USE_FLAG = 0x01
IGNORABLE_FLAG = 0x80
_HEADER = 19
_UTF8MB4 = 45
_CHARSET_VARIABLE = 4
_TOUCHED_SCHEMAS = 12
_TOO_MANY_SCHEMAS = 254
# flags2, sql_mode, auto_increment, charset, lc_time_names, charset of the schema, table map, master_data_written
_FIXED_VARIABLES = {0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4}
_STRING_VARIABLES = {5: 1, 6: 1, 11: 2}  # time zone, catalogue, invoker: user and host


def has_checksum(data: bytes) -> bool:
    """Whether events end in a checksum."""
    return crc32(data[1:-4]) == int.from_bytes(data[-4:], "little")


def unreadable(what: str) -> DataError:
    """The binlog contains something that this version does not understand. Skipping it could lose rows."""
    return DataError(Reason.BINLOG_UNREADABLE, f"{what}; this source's binlog cannot be followed safely")


def _whole(parse: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Raise DataError instead of a Python error where an event is too short."""

    @functools.wraps(parse)
    def guarded(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return parse(*arguments, **named)
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise unreadable(f"a malformed event ({parse.__name__.removeprefix('parse_')}: {error})") from error

    return guarded


class EventSource(Protocol):
    """``Frames``, or a captured stream."""

    def next_event(self) -> bytes: ...


class Format(NamedTuple):
    """The fields of a format description event that are needed here."""

    checksums: bool
    created: int


@_whole
def parse_format(data: bytes) -> Format:
    """FORMAT_DESCRIPTION, with its checksum still at the end."""
    version, _, created, header = struct.unpack_from("<H50sIB", data, 20)
    if version != 4 or header != _HEADER:
        raise unreadable(f"binlog format version {version} with {header}-byte headers")
    lengths = data[20 + 57 : -5]
    for kind in (WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1, WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS):
        wanted = 8 if kind <= DELETE_ROWS_V1 else 10
        if kind <= len(lengths) and lengths[kind - 1] not in (0, wanted):
            raise unreadable(f"row events with a {lengths[kind - 1]}-byte header")
    if data[-5] > 1:
        raise unreadable(f"checksum algorithm {data[-5]}")
    return Format(data[-5] == 1, created)


class Gtid(NamedTuple):
    """A MySQL transaction's name and commit time."""

    source: str  # "uuid" or "uuid:tag"
    number: int
    committed_at: float | None  # Unix seconds, this server's clock


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@_whole
def parse_gtid(data: bytes, end: int) -> Gtid:
    """GTID of MySQL: flags, uuid, number, and from 8.0 on logical timestamps and the time of the commit."""
    committed_at = None
    if end >= 20 + 42 + 7:
        micros = int.from_bytes(data[62:69], "little") & ((1 << 55) - 1)
        committed_at = micros / 1e6
    return Gtid(_uuid(data[21:37]), int.from_bytes(data[37:45], "little"), committed_at)


class Varlen:
    """MySQL's serialization library: an integer's count of trailing one bits is its count of further bytes."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self.end = end

    def unsigned(self) -> int:
        first = self._data[self.at]
        extra = 0
        while extra < 8 and first >> extra & 1:
            extra += 1
        raw = int.from_bytes(self._data[self.at : self.at + 1 + extra], "little")
        self.at += 1 + extra
        if self.at > self.end:
            raise unreadable("a tagged GTID event that ends too early")
        return raw >> (extra if extra == 8 else extra + 1)

    def signed(self) -> int:
        raw = self.unsigned()
        return ~(raw >> 1) if raw & 1 else raw >> 1

    def raw(self, count: int) -> bytes:
        self.at += count
        return self._data[self.at - count : self.at]


@_whole
def parse_tagged_gtid(data: bytes, end: int) -> Gtid:
    """TAGGED_GTID (MySQL 8.3+): fields by number; what comes after the commit time does not matter here."""
    reader = Varlen(data, 20, end)
    version, _size, _last_field = reader.unsigned(), reader.unsigned(), reader.unsigned()
    if version != 1:
        raise unreadable(f"a tagged GTID event of serialization version {version}")
    uuid, number, tag, committed_at = "", 0, "", None
    while reader.at < end:
        match reader.unsigned():
            case 0:
                reader.unsigned()
            case 1:
                uuid = _uuid(bytes(reader.unsigned() for _ in range(16)))
            case 2:
                number = reader.signed()
            case 3:
                tag = reader.raw(reader.unsigned()).decode("ascii")
            case 4 | 5:
                reader.signed()
            case 6:
                committed_at = reader.unsigned() / 1e6
                break
            case other:
                raise unreadable(f"field {other} in a tagged GTID event")
    if not uuid or number < 1:
        raise unreadable("a tagged GTID event without a GTID")
    return Gtid(f"{uuid}:{tag}" if tag else uuid, number, committed_at)


_COMPLETED_XA = 0x80
_START_OR_ROLLBACK_ALTER = 0x02 | 0x08


class MariaDbTransaction(NamedTuple):
    """MariaDB's GTID event: the transaction's id, and how it begins."""

    domain: int
    sequence: int
    standalone: bool
    prepared_xid: str | None  # of an XA PREPARE; the XID of XA COMMIT and ROLLBACK is in their statement
    alters_nothing: bool = False
    """An ALTER TABLE that has only started or was rolled back. With binlog_alter_two_phase=ON each one is logged twice.
    """


@_whole
def parse_mariadb_gtid(data: bytes, end: int) -> MariaDbTransaction:
    """Sequence, domain and flags; then the XID of an XA transaction, or more flags."""
    sequence, domain, flags = struct.unpack_from("<QIB", data, 20)
    prepared, more = None, 0
    at = 20 + 13 + (8 if flags & 0x02 else 0)  # preceded by a group commit id
    if flags & 0x40:
        format_id, gtrid, bqual = struct.unpack_from("<iBB", data, at)
        at += 6
        if at + gtrid + bqual > end:
            raise unreadable("a GTID event with a truncated XID")
        prepared = normal_xid(format_id, data[at : at + gtrid], data[at + gtrid : at + gtrid + bqual])
    elif not flags & _COMPLETED_XA and at < end:
        more = data[at]
    return MariaDbTransaction(domain, sequence, bool(flags & 0x01), prepared, bool(more & _START_OR_ROLLBACK_ALTER))


class Statement(NamedTuple):
    """A QUERY event. ``touched``: the schemas of all tables that it opened, if the source logs them (MySQL)."""

    text: str
    default_schema: str
    touched: frozenset[str] | None = None


@_whole
def parse_query(data: bytes, end: int, kind: int = QUERY) -> Statement:
    """The statement is in the client's character set, which the status variables name. Schema names are UTF-8."""
    schema_length, variables = data[28], int.from_bytes(data[31:33], "little")
    at = 33 + (13 if kind == EXECUTE_LOAD_QUERY else 0)
    collation, touched = _status_variables(data[at : at + variables])
    at += variables
    schema = data[at : at + schema_length].decode("utf-8", "replace")
    at += schema_length + 1
    if at > end:
        raise unreadable("a truncated QUERY event")
    return Statement(decoded(data[at:end], collation), schema, touched)


def _status_variables(variables: bytes) -> tuple[int, frozenset[str] | None]:
    """The client's collation, and the schemas of the opened tables. Parsing stops at the first unknown variable."""
    at, collation = 0, _UTF8MB4
    while at < len(variables):
        code = variables[at]
        at += 1
        if code == _CHARSET_VARIABLE:
            collation = int.from_bytes(variables[at : at + 2], "little")
        if code in _FIXED_VARIABLES:
            at += _FIXED_VARIABLES[code]
        elif code in _STRING_VARIABLES:
            for _ in range(_STRING_VARIABLES[code]):
                at += 1 + variables[at]
        elif code == 2:  # a catalogue followed by NUL (MariaDB before 11)
            at += 2 + variables[at]
        elif code == _TOUCHED_SCHEMAS:
            return collation, _schemas(variables, at)
        else:
            break
    return collation, None


def _schemas(variables: bytes, at: int) -> frozenset[str] | None:
    """None if there are too many, or if one has no name (a table that foreign keys reference was opened too)."""
    count = variables[at]
    if count == _TOO_MANY_SCHEMAS:
        return None
    names = [name.decode("utf-8", "replace") for name in variables[at + 1 :].split(b"\0")[:count]]
    return frozenset(names) if len(names) == count and all(names) else None


class Prepared(NamedTuple):
    """XA_PREPARE, or with ``one_phase`` an XA COMMIT ... ONE PHASE."""

    xid: str
    one_phase: bool


@_whole
def parse_xa_prepare(data: bytes, end: int) -> Prepared:
    one_phase, format_id, gtrid, bqual = struct.unpack_from("<?iII", data, 20)
    at = 20 + 13
    if at + gtrid + bqual > end:
        raise unreadable("a truncated XA_PREPARE event")
    return Prepared(normal_xid(format_id, data[at : at + gtrid], data[at + gtrid : at + gtrid + bqual]), one_phase)


def parse_rotate(data: bytes, end: int) -> tuple[str, int]:
    """Name of the next file, and the offset in it at which the events that follow begin."""
    return data[28:end].rstrip(b"\0").decode("utf-8", "replace"), int.from_bytes(data[20:28], "little")
