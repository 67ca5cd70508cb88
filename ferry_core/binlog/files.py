"""The source's binlog files as the stream meets them: the next one, and one that was begun anew. Used by
``transactions``.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from ferry_core.binlog.events import unreadable
from ferry_core.binlog.last_read import LastRead
from ferry_core.errors import DataError
from ferry_core.mysql.file_position import DUMPABLE, FilePosition, numbered
from ferry_core.reasons import Reason

if TYPE_CHECKING:
    from ferry_core.binlog.counters import Counters

_HEAD = 4  # where a file's first event begins


def first_offset(counters: "Counters", file: str, offset: int) -> int:
    """The least offset of what is to come of ``file``, whose name the source announces with ``offset``.

    Asked by GTID, the source announces the begin of a file and skips, perhaps more than the four bytes of an event's
    header tell. ``outgrown`` tells so too.
    """
    position, last = counters.processed.position, counters.processed.last_read
    if offset > _HEAD or isinstance(position, FilePosition) or last is None or last.file != file or not last.outgrown:
        return offset
    skipped = position.contains(type(position).parse(last.gtid))
    return DUMPABLE if skipped else offset


def enter(counters: "Counters") -> None:
    """A file begins, between two transactions. Its first place is the position, so that older files may be purged."""
    processed, file = counters.processed, counters.file
    position = processed.position
    if not isinstance(position, FilePosition) or position.file == file:
        return
    if numbered(position.file)[0] != numbered(file)[0]:
        raise unreadable(f"{file} follows {position.file}: another log_bin, by whose file names places have no order")
    if numbered(file) > numbered(position.file):
        counters.processed = replace(processed, position=FilePosition(file, _HEAD))


def reached_end(counters: "Counters", offset: int) -> None:
    """The source has nothing after this place: what a run knows that has not read a transaction."""
    if not counters.transactions:
        counters.end = FilePosition(counters.file, offset)
    if counters.processed.last_read is None and counters.newest is not None:
        counters.processed = replace(counters.processed, last_read=LastRead(*counters.newest, offset))


def refuse_begun_anew(counters: "Counters", begun: int) -> None:
    """A source that was reset counts files and transactions from 1 again: new ones may look like known ones."""
    if counters.newest is not None:
        last, when = counters.newest
        known, now = numbered(last), numbered(counters.file)
        if known[0] == now[0] and (now[1:] < known[1:] or (now == known and begun != when)):
            raise DataError(
                Reason.SOURCE_HISTORY_LOST,
                f"the source began its binlog {counters.file} again from the start although this run had read up "
                f"to {last}: it was reset, or is another server. Rows may differ without any event about them: "
                "start over with a fresh copy",
            )
    counters.newest = counters.file, begun
