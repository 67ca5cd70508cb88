"""Places in a file that has outgrown the four bytes of an event's header."""

import pytest

from ferry_core.binlog.counters import Counters
from ferry_core.binlog.files import Places, enter
from ferry_core.binlog.sink import StreamMark
from ferry_core.errors import DataError
from ferry_core.mysql.file_position import FilePosition

GIB = 1 << 30


class Stream:
    """Counters of a stream, and events that end at any offset."""

    def __init__(self, offset: int) -> None:
        self.counters = Counters(StreamMark(0, FilePosition("b.000001", offset)))
        self.counters.file = "b.000001"
        self.places = Places(self.counters)
        self._offset = offset

    def event(self, size: int) -> bytes:
        """An event after as many bytes of others; it has 31 bytes in the file."""
        self._offset += size
        self.counters.bytes += size
        return b"\0" * 14 + (self._offset % (1 << 32)).to_bytes(4, "little") + b"\0" * 14


def test_offsets_beyond_four_bytes() -> None:
    stream = Stream(GIB)
    assert stream.places.behind(stream.event(100)).offset == GIB + 100
    assert stream.places.behind(stream.event(2 * GIB)).offset == 3 * GIB + 100
    stream.counters.bytes += 5000  # heartbeats, which are not in the file
    assert stream.places.behind(stream.event(9 * GIB)).offset == 12 * GIB + 100
    assert stream.places.resumable(stream.event(50)) is None
    assert stream.places.behind(stream.event(50)).offset == 12 * GIB + 200


def test_the_next_file_begins_again() -> None:
    stream = Stream(GIB)
    assert stream.places.resumable(stream.event(50)) == FilePosition("b.000001", GIB + 50)
    assert stream.places.resumable(stream.event(4 * GIB)) is None
    stream.counters.file = "b.000002"
    enter(stream.counters)
    assert stream.counters.processed.position == FilePosition("b.000002", 4)
    event = b"\0" * 14 + (200).to_bytes(4, "little") + b"\0" * 14
    stream.counters.bytes += len(event)
    assert stream.places.resumable(event) == FilePosition("b.000002", 200)


def test_files_of_another_name_have_no_order() -> None:
    stream = Stream(GIB)
    stream.counters.file = "other.000002"
    with pytest.raises(DataError, match="another log_bin"):
        enter(stream.counters)
