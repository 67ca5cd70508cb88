"""Places in a file that has outgrown the four bytes of an event's header."""

import pytest

from ferry_core.api.spec import Copy
from ferry_core.binlog import events
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.files import enter
from ferry_core.binlog.handshake import request_dump
from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.source_errors import StreamLost
from ferry_core.binlog.streamer import BinlogStreamer, Upstream
from ferry_core.binlog.transactions import Transactions
from ferry_core.errors import DataError, ServerRole
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position
from tests.support.binlog_events import Replay, description, event, gtid, insert, query, table_map
from tests.support.stream import RecordingSink
from tests.support.tables import simple_table

GIB = 1 << 30
FILE = "b.000001"


def rotate(file: str, offset: int) -> bytes:
    return event(events.ROTATE, offset.to_bytes(8, "little") + file.encode())


def at(end: int, packet: bytes) -> bytes:
    """The same event, ending at this offset of its file."""
    return event(packet[5], packet[20:-4], place=end % (4 * GIB))


def anonymous() -> bytes:
    return event(events.ANONYMOUS_GTID, gtid(0)[20:-4])


def mariadb_gtid(number: int) -> bytes:
    return event(events.MARIADB_GTID, number.to_bytes(8, "little") + bytes(11))


def transaction(begins: int, size: int, first: bytes) -> list[bytes]:
    """Of that size: an event for each GiB."""
    rows = insert(5)
    packets = [at(begins + len(first) - 1, first), at(begins + 200, query("BEGIN")), at(begins + 300, table_map())]
    packets += [at(begins + 300 + part, rows) for part in range(200, size - 400, GIB)]
    return [*packets, at(begins + size, event(events.XID, bytes(8)))]


class Stream:
    """A stream that has read these packets."""

    def __init__(self, start: Position | StreamMark, *packets: bytes) -> None:
        mark = start if isinstance(start, StreamMark) else StreamMark(0, start)
        self.sink = RecordingSink()
        moves = MoveSet.of([simple_table()], Copy())
        flavor = Flavor.MARIADB if isinstance(mark.position, MariaDbGtids) else Flavor.MYSQL
        endpoint = Endpoint(ServerRole.SOURCE, "nowhere", 1, "nobody", "")

        def control() -> object:
            raise AssertionError

        self.streamer = BinlogStreamer(
            Upstream(control, lambda: endpoint, flavor, 1),  # type: ignore[arg-type]
            moves,
            self.sink,
            mark,
        )
        self.counters = self.streamer._counters
        transactions = Transactions(moves, self.sink, self.counters, checksums=True, folds=False)
        with pytest.raises(StreamLost):
            transactions.follow(Replay(list(packets)))


def huge(size: int, *more: bytes, start: Position | None = None, first: bytes | None = None) -> Stream:
    """After a transaction of that size that begins at 1 GiB."""
    begun = (rotate(FILE, GIB), description())
    packets = transaction(GIB, size, first or anonymous())
    return Stream(start or FilePosition(FILE, GIB), *begun, *packets, *more)


def test_the_end_of_the_file_is_reached_only_there() -> None:
    end = BinlogEnd(FILE, 6 * GIB + 700)
    packets = transaction(GIB, 5 * GIB + 700, anonymous())
    begun = (rotate(FILE, GIB), description())
    for count in range(len(packets)):
        assert not Stream(FilePosition(FILE, GIB), *begun, *packets[:count]).streamer.reached(end)
    stream = Stream(FilePosition(FILE, GIB), *begun, *packets)
    assert stream.streamer.reached(end)
    assert stream.streamer.reached(BinlogEnd(FILE, 3 * GIB))
    assert not stream.streamer.reached(BinlogEnd(FILE, 6 * GIB + 701))


def test_the_same_lower_bytes_are_not_the_same_place() -> None:
    """Inside of the transaction, at the lower bytes of its end."""
    stream = Stream(FilePosition(FILE, GIB), rotate(FILE, GIB), description(), at(2 * GIB, anonymous()))
    assert not stream.streamer.reached(BinlogEnd(FILE, 6 * GIB))


def test_no_run_resumes_beyond_four_bytes() -> None:
    stream = huge(5 * GIB)
    assert stream.counters.processed.position == FilePosition(FILE, GIB)
    assert stream.counters.end is None
    small = huge(2 * GIB)
    assert small.counters.processed.position == FilePosition(FILE, 3 * GIB) == small.counters.end


def test_a_transaction_that_begins_beyond_four_bytes_is_no_proof_of_history() -> None:
    """Of the same group commit as a huge one. Its place cannot be requested, nor may the lower bytes pass for it."""
    stream = huge(5 * GIB, *transaction(6 * GIB, 1000, anonymous()))
    read = stream.counters.processed.last_read
    assert read is not None
    assert (read.offset, read.tail) == (GIB, 0)
    assert [key[0] for key in stream.sink.keys] == ["5"] * 6


def test_a_heartbeat_beyond_four_bytes_is_no_proof_of_history() -> None:
    heartbeat = event(events.HEARTBEAT, FILE.encode(), place=GIB)
    start = FilePosition(FILE, 5 * GIB)
    stream = Stream(start, rotate(FILE, 5 * GIB), description(), heartbeat)
    assert stream.counters.caught_up
    assert stream.counters.processed.last_read is None
    assert stream.counters.end is None


def test_visibility_waits_for_the_place_itself() -> None:
    """MariaDB: a snapshot before the transaction is not after the lower bytes of its place."""
    first = mariadb_gtid(8)
    stream = huge(5 * GIB, *transaction(6 * GIB, 1000, first), start=MariaDbGtids(), first=mariadb_gtid(7))
    place = stream.sink.changes[-1].seen.place
    assert place is not None
    assert place > (len(FILE), FILE, 6 * GIB)


@pytest.mark.parametrize(
    ("start", "first", "second"),
    [(GtidSet(), gtid(1), gtid(2)), (MariaDbGtids(), mariadb_gtid(7), mariadb_gtid(8))],
    ids=["mysql", "mariadb"],
)
def test_a_source_that_skips_a_huge_transaction(start: Position, first: bytes, second: bytes) -> None:
    """After a reconnect by GTID: the lower bytes of what follows are no place, neither to prove nor to begin at."""
    before = huge(5 * GIB, start=start, first=first).counters.processed
    begun = rotate(FILE, 4), at(126, description())
    stream = Stream(before, *begun, *transaction(6 * GIB, 1000, second))
    after = stream.counters
    assert after.processed.sequence == before.sequence + 1
    assert after.processed.last_read == before.last_read
    assert after.end is None
    assert stream.streamer.reached(BinlogEnd(FILE, 6 * GIB + 1000))
    seen = stream.sink.changes[-1].seen.place
    assert seen is None or seen > (len(FILE), FILE, 6 * GIB)
    again = Stream(StreamMark(0, start, last_read=before.last_read), *begun, at(GIB, first))
    assert not again.streamer.reached(BinlogEnd(FILE, GIB + 1)), "the transaction is not skipped"


@pytest.mark.parametrize(
    ("start", "first"), [(GtidSet(), gtid(1)), (MariaDbGtids(), mariadb_gtid(7))], ids=["mysql", "mariadb"]
)
def test_heartbeats_of_a_source_that_skips_a_huge_transaction(start: Position, first: bytes) -> None:
    """They have low places until it has skipped it, and the place behind it from then on."""
    before = huge(5 * GIB, start=start, first=first).counters.processed
    places = 500, 6 * GIB, 6 * GIB
    beats = [at(place, event(events.HEARTBEAT, FILE.encode())) for place in places]
    begun = rotate(FILE, 4), at(126, description())
    assert not Stream(before, *begun, beats[0]).streamer.reached(BinlogEnd(FILE, 4 * GIB + 100))
    assert Stream(before, *begun, *beats).streamer.reached(BinlogEnd(FILE, 6 * GIB))


def test_artificial_events_have_no_place() -> None:
    """Sent before the first event of a place in the middle of a file."""
    stream = Stream(FilePosition(FILE, 3 * GIB), rotate(FILE, 3 * GIB), description(), at(3 * GIB + 99, anonymous()))
    assert stream.streamer.reached(BinlogEnd(FILE, 3 * GIB + 99))
    assert not stream.streamer.reached(BinlogEnd(FILE, 4 * GIB))


@pytest.mark.parametrize("offset", [-40, 1 << 32, 5 * GIB])
def test_a_place_that_no_dump_can_begin_at_is_refused_by_name(offset: int) -> None:
    with pytest.raises(DataError, match=f"from {offset} of {FILE}") as caught:
        request_dump(None, (FILE, offset), 0, 1)  # type: ignore[arg-type]
    assert caught.value.reason == "SourceBinlogUnreadable"


def test_the_next_file_begins_again() -> None:
    stream = huge(5 * GIB, rotate("b.000002", 4), description(), at(300, anonymous()))
    assert stream.counters.processed.position == FilePosition("b.000002", 4)
    assert stream.streamer.reached(BinlogEnd("b.000002", 300))
    assert stream.streamer.reached(BinlogEnd(FILE, 9 * GIB))
    assert not stream.streamer.reached(BinlogEnd("b.000002", 301))


def test_files_of_another_name_have_no_order() -> None:
    counters = Counters(StreamMark(0, FilePosition(FILE, GIB)))
    counters.file = "other.000002"
    with pytest.raises(DataError, match="another log_bin"):
        enter(counters)


def test_with_gtids_the_place_is_exact_too() -> None:
    stream = huge(5 * GIB, start=GtidSet(), first=gtid(1))
    read = stream.counters.processed.last_read
    assert read is not None
    assert (read.offset, read.tail) == (GIB, 0)
    assert stream.streamer.reached(BinlogEnd(FILE, 6 * GIB))
