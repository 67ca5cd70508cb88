"""Interprets a source's refusal of a dump, and lost connections. Raised by ``frames``, handled by ``streamer``.

Error 1236 covers a dozen cases that differ only in their text: MySQL 9.7 and MariaDB 10.11 send purged binlogs, a
source that lacks what was read and (MySQL) a second stream with our server id all as 1236 with SQLSTATE HY000. The
texts are those of MySQL 8.0 to 9.7 (sql/rpl_binlog_sender.cc) and MariaDB 10.6 to 11.8 (sql/sql_repl.cc).
"""

from collections.abc import Callable
from typing import NamedTuple

from pymysql import err

from ferry_core.binlog import unresumable
from ferry_core.errors import ConfigError, ConnectionLost, DataError, FerryError, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.faults import classify
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, parse_position
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

FATAL_READING_BINLOG = 1236
_ALREADY_CONNECTED = 4052  # MariaDB: a second stream with our server id
_KILLED_OR_STOPPING = {1053, 1077, 1079, 1094, 1158, 1159, 1160, 1161, 1317, 1927, 2013, 4031}

_PURGED = (
    "purged required binary logs",
    "purged binary logs containing gtids",
    "required binlog files have been purged",
    "could not find first log file name",
)
_AHEAD = (
    "replica has more gtids than the source",
    "slave has more gtids than the master",
    "is not in the master's binlog",
    "the binlog on the master is missing the gtid",
    "which is not in the source's binlog",
)
_SAME_ID = "with the same server_uuid"
_NO_GTID = ("gtid_mode", "auto_position")


class StreamLost(ConnectionLost):
    """The dump's connection broke or timed out. ``cause`` is a short word for the counter of reconnects."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(Reason.STREAM_LOST, message, server=ServerRole.SOURCE)
        self.cause = cause


class SourceAhead(StreamLost):
    """The source says that it lacks transactions that we have read: perhaps for a moment, while a commit is stalled."""


class CorruptEvent(StreamLost):
    """An event does not match its checksum. Read again it shows whether it is damaged in the source's file."""

    def __init__(self, event: str) -> None:
        super().__init__("corrupt", f"{event} does not match its checksum")

    def for_good(self, reads: int) -> DataError:
        """The same event was read often enough."""
        return DataError(
            Reason.BINLOG_CORRUPT,
            f"{self.message}, each of the {reads} times that it was read. The source's file, its memory or the network "
            "damages it",
            server=ServerRole.SOURCE,
        )


class SourceRefusal(Exception):
    """The source ended the dump with an error packet."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (error {code})")
        self.code = code
        self.text = text

    @property
    def anonymous(self) -> bool:
        """Whether it refuses to send a transaction that has no GTID."""
        return "cannot replicate anonymous transaction" in self.text.lower()


def judge(  # noqa: PLR0911 - one meaning a line
    refusal: SourceRefusal, endpoint: Endpoint, position: Position, control: Callable[[], Session]
) -> FerryError:
    """The error for a refusal: StreamLost if a retry may help."""
    text = refusal.text.lower()
    where = endpoint.where
    if refusal.code in _KILLED_OR_STOPPING:
        return StreamLost("killed", f"{where}: {refusal}")
    if refusal.code not in (FATAL_READING_BINLOG, _ALREADY_CONNECTED):
        return classify(err.OperationalError(refusal.code, refusal.text), endpoint)
    if any(words in text for words in _AHEAD):
        return SourceAhead("ahead", f"{where}: {refusal}")
    if any(words in text for words in _PURGED):
        return purged(endpoint, position, control)
    if refusal.code == _ALREADY_CONNECTED or _SAME_ID in text:
        return DataError(
            Reason.SERVER_ID_CLASH,
            f"{where} ended the stream because another replica uses the same server id; is a second run of this Ferry "
            f"active? The source's message: {refusal}",
            server=endpoint.role,
        )
    if refusal.anonymous and not isinstance(position, FilePosition):
        return unresumable.anonymous()
    if refusal.anonymous:
        detail = (
            f"{where} has gtid_mode=ON, and does not send transactions without GTIDs any more. This run stands at "
            f"{position}: it has not read all of them, or cannot prove that the source still has the last one. SET "
            "GLOBAL gtid_mode = ON_PERMISSIVE there until the run has read a transaction with a GTID"
        )
        return DataError(Reason.GTID_MODE_CHANGED, detail, server=endpoint.role)
    if any(words in text for words in _NO_GTID):
        detail = f"{where} cannot stream by GTID: {refusal}; set gtid_mode=ON"
        return ConfigError(Reason.GTID_MODE_OFF, detail, server=endpoint.role)
    detail = f"{where} cannot read its own binlog at {position}: {refusal}"
    return DataError(Reason.SOURCE_BINLOG_UNREADABLE, detail, server=endpoint.role)


def purged(endpoint: Endpoint, position: Position, control: Callable[[], Session]) -> DataError:
    """A message that names our position and the oldest one that the source still has."""
    try:
        with control() as session:
            oldest = oldest_binlog(session)
            by_file = isinstance(position, FilePosition)
            if session.flavor is Flavor.MYSQL and not by_file and position.contains(_before(session, oldest.file)):
                return in_no_binlog(endpoint, position, oldest)
            still = f"the oldest file is {oldest.file}" + ("" if by_file else f" and begins after '{oldest.behind}'")
    except FerryError as error:
        still = f"(could not be asked: {error.message})"
    return DataError(
        Reason.SOURCE_BINLOG_PURGED,
        f"{endpoint.where} has purged binlogs that this run still needs: its position is '{position}', {still}. Start "
        "over with a fresh copy, and keep binlogs longer (binlog_expire_logs_seconds) than the longest stop",
        server=endpoint.role,
    )


class OldestBinlog(NamedTuple):
    """The first file that is left, and the transactions that the source no longer has in its binlogs."""

    file: str
    behind: Position


def oldest_binlog(session: Session) -> OldestBinlog:
    """On MySQL ``behind`` is gtid_purged; MariaDB has it in the head of the file alone."""
    logs = session.query("SHOW BINARY LOGS")
    first = (logs[0][0] or b"?").decode() if logs else "none"
    if session.flavor is Flavor.MYSQL:
        behind = parse_position(session.flavor, session.text("SELECT @@GLOBAL.gtid_purged"))
    else:
        behind = _before(session, first if logs else "")
    return OldestBinlog(first, behind)


def _before(session: Session, file: str) -> Position:
    """What was logged before this file, as its head says."""
    events = session.query(f"SHOW BINLOG EVENTS IN '{file}' LIMIT 3") if file else []
    heads = (b"Gtid_list", b"Previous_gtids")
    text = next(((row[5] or b"").decode() for row in events if row[2] in heads), "")
    return parse_position(session.flavor, text.strip("[]"))


def in_no_binlog(endpoint: Endpoint, position: Position, oldest: OldestBinlog) -> DataError:
    """MySQL: InnoDB may have kept the GTID of a transaction whose event a crash took from the binlog."""
    return DataError(
        Reason.SOURCE_HISTORY_LOST,
        f"{endpoint.where} counts transactions as executed (gtid_purged is '{oldest.behind}') that this run, which "
        f"stands at '{position}', has not processed and that are in none of its binlogs, nor were purged with them: "
        "it lost the end of its binlog in a crash, or gtid_purged was set. Rows may differ without any event about "
        "them: start over with a fresh copy",
        server=endpoint.role,
    )


def history_lost(endpoint: Endpoint, position: Position, detail: str) -> DataError:
    """The source no longer has transactions that we have processed."""
    return DataError(
        Reason.SOURCE_HISTORY_LOST,
        f"{endpoint.where} does not have the transactions up to '{position}' that this run has "
        f"already read from it: it lost them in a crash, was reset, or is another server ({detail}). "
        "Rows may differ without any event about them: start over with a fresh copy",
        server=endpoint.role,
    )


def gtids_out_of_order(endpoint: Endpoint, position: Position) -> DataError:
    """The source still has what was read, but cannot find that place by its GTIDs."""
    return DataError(
        Reason.GTIDS_OUT_OF_ORDER,
        f"{endpoint.where} has written transactions under GTIDs that are not above the ones before, so that it cannot "
        f"go on from '{position}': by GTID it refuses that position, or would skip transactions. One more "
        "transaction may raise its number above that: write one, then start this run again. If it ends again, set "
        "gtid_strict_mode=ON on the source and start over with a fresh copy",
        server=endpoint.role,
    )


def history_unproven(endpoint: Endpoint, transaction: str, newest: str, oldest: str) -> DataError:
    """Nothing that was read is left on the source, and it cannot be proven that nothing is missing."""
    return DataError(
        Reason.SOURCE_BINLOG_PURGED,
        f"{endpoint.where} has purged its binlogs from {newest} to {oldest}: whether it still has "
        f"{transaction}, the last transaction that this run has read, or lost it in a crash, can no longer be "
        f"determined. Start over with a fresh copy, and keep binlogs longer than the longest stop",
        server=endpoint.role,
    )
