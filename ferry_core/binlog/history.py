"""Checks that the source's binlog is still the one that was read. Called by ``streamer`` at every connect, before the
first event.

A source that crashed may have lost the end of its binlog (sync_binlog other than 1), and one that was reset or restored
starts counting at an earlier place. Both assign numbers that were already read to new transactions, and a dump would
skip those. So the last transaction that was read is read again from the same place, and must have the same bytes. A
binlog file is only appended to, and a restarted source writes to a new one: the same bytes at the same place prove that
everything before them is unchanged. If that file has been purged, the oldest remaining one must begin after the
transaction.
"""

from collections.abc import Callable, Iterator

from ferry_core.binlog import events
from ferry_core.binlog.frames import Frames
from ferry_core.binlog.handshake import close, connect_dump, request_dump
from ferry_core.binlog.last_read import LastRead, digest_of
from ferry_core.binlog.source_errors import (
    FATAL_READING_BINLOG,
    SourceRefusal,
    StreamLost,
    history_lost,
    history_unproven,
    judge,
    oldest_binlog,
    purged,
)
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.file_position import FilePosition, numbered
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, parse_position
from ferry_core.mysql.session import Session

_NON_BLOCK = 1
_NO_SUCH_FILE = "could not find first log file name"
_FILE_HEAD = frozenset({events.ROTATE, events.HEARTBEAT, events.HEARTBEAT_V2, 164})  # 164: MariaDB's encrypted files


def prove_history(
    endpoint: Endpoint, flavor: Flavor, position: Position, last: LastRead, control: Callable[[], Session]
) -> None:
    """Return if the source still has what was read.

    Raises DataError if not, RetriableError if the source cannot be asked.
    """
    try:
        wrong = _compare(endpoint, last)
    except SourceRefusal as refusal:
        if _NO_SUCH_FILE in refusal.text.lower():
            try:
                with control() as session:
                    gone = _prove_by_files(session, flavor, position, last)
            except SourceRefusal as another:  # of the file that proves it
                raise judge(another, endpoint, position, control) from another
            if gone:
                raise purged(endpoint, position, control) from refusal
            return
        if refusal.anonymous and _newest_proves(position, last):
            # It does not send the last transaction any more, and the stream is in a later file.
            _prove_by_newest(endpoint, position, last)
            return
        if refusal.code != FATAL_READING_BINLOG or refusal.anonymous:
            raise judge(refusal, endpoint, position, control) from refusal
        wrong = str(refusal)  # the file ends before that place, or has no event there
    if wrong:
        raise history_lost(endpoint, position, f"{last.file} at {last.offset}: {wrong}")


def has_transaction(endpoint: Endpoint, last: LastRead) -> bool:
    """Whether the server has this exact transaction at the same place of the same file. If so, it has that binlog."""
    try:
        return last.digest != "" and not _compare(endpoint, last)
    except SourceRefusal as refusal:
        if refusal.code != FATAL_READING_BINLOG:
            raise StreamLost("refused", f"{endpoint.where}: {refusal}") from refusal
        return False


def _compare(endpoint: Endpoint, last: LastRead) -> str:
    """Describe what differs; empty if nothing does."""
    first, begun = _event_at(endpoint, last.file, last.offset)
    if last.begun and begun != last.begun:
        return "the source began a file of this name at another time"
    if not last.digest:
        return ""
    if not first:
        return "it ends there"
    found = [first]
    if last.tail:
        found.append(_event_at(endpoint, last.file, last.tail)[0])
    return "" if digest_of(*found) == last.digest else f"{last.gtid} is another transaction there"


def _event_at(endpoint: Endpoint, file: str, offset: int) -> tuple[bytes, int]:
    """The event at a place and the creation time of its file. The event is empty at the end of the file."""
    begun = None
    for event in events_from(endpoint, file, offset):
        if event[5] == events.FORMAT_DESCRIPTION:
            if begun is not None:
                break  # from the next file
            begun = int.from_bytes(event[1:5], "little")
        elif event[5] not in _FILE_HEAD:
            return event, begun or 0
    return b"", begun or 0


def events_from(endpoint: Endpoint, file: str, offset: int) -> Iterator[bytes]:
    """Events up to the end of the binlog.

    Requested without a server id, as mysqlbinlog does, so that it displaces no replica.
    """
    connection = connect_dump(endpoint)
    try:
        request_dump(connection, (file, offset), _NON_BLOCK, 0)
        frames = Frames(connection._rfile.read)  # type: ignore[attr-defined]  # noqa: SLF001
        while True:
            try:
                yield frames.next_event()
            except StreamLost as lost:
                if lost.cause != "ended":
                    raise
                return
    finally:
        close(connection)


def _prove_by_files(session: Session, flavor: Flavor, position: Position, last: LastRead) -> bool:
    """The file no longer exists: find out whether it was purged or whether this is another binlog.

    True if more was purged with it than was read.
    """
    endpoint = session.endpoint
    files = [(row[0] or b"").decode() for row in session.query("SHOW BINARY LOGS")]
    newest = last.newest or last.file
    if not files or numbered(files[-1])[0] != numbered(newest)[0] or numbered(files[-1]) < numbered(newest):
        raise history_lost(endpoint, position, f"{newest} is gone, and its newest binlog is {files[-1:]}")
    if isinstance(position, FilePosition):
        if position.file in files:
            _prove_by_newest(endpoint, position, last)
        return position.file not in files
    wanted = parse_position(flavor, last.gtid) if last.gtid else position
    if not oldest_binlog(session).behind.contains(wanted):
        raise history_lost(endpoint, position, f"{last.gtid} is in none of the binlogs that were purged")
    if _number(files[0]) > _number(newest) + 1:
        # A restart in between may have lost the transaction, and the file with the transaction that reused its number
        # may be purged.
        raise history_unproven(endpoint, last.gtid or str(position), newest, files[0])
    return False


def _newest_proves(position: Position, last: LastRead) -> bool:
    behind = isinstance(position, FilePosition) and numbered(position.file) > numbered(last.file)
    return behind and bool(last.newest_begun)


def _prove_by_newest(endpoint: Endpoint, position: Position, last: LastRead) -> None:
    """Without GTIDs no file shows what was in the one before. But the newest one that the stream has seen was begun
    after ``last``: if it was begun at the same time, it is the same.
    """
    if not last.newest_begun or _event_at(endpoint, last.newest, 4)[1] != last.newest_begun:
        raise history_lost(endpoint, position, f"{last.file} is gone, and {last.newest or 'no later file'} is another")


def begun(endpoint: Endpoint, file: str) -> int:
    """When the server began this file, from its head; 0 if it has no such file."""
    try:
        return _event_at(endpoint, file, 4)[1]
    except SourceRefusal as refusal:
        if refusal.code != FATAL_READING_BINLOG:
            raise StreamLost("refused", f"{endpoint.where}: {refusal}") from refusal
        return 0


def _number(file: str) -> int:
    return int(numbered(file)[2])
