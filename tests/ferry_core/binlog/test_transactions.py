"""Events that no healthy server sends, and events that must be refused: hand-made, processed by the real loop."""

import struct
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry_core.api.spec import Copy
from ferry_core.binlog import events
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.source_errors import StreamLost
from ferry_core.binlog.transactions import Transactions
from ferry_core.errors import DataError
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position
from tests.support.binlog_events import COMMIT, Replay, description, event, gtid, insert, query, table_map
from tests.support.binlog_events import UUID as SERVER
from tests.support.stream import RecordingSink
from tests.support.tables import simple_table


def follow(*packets: bytes, start: Position | None = None) -> tuple[RecordingSink, Counters]:
    table, sink = simple_table(), RecordingSink()
    counters = Counters(StreamMark(0, start or GtidSet()))
    transactions = Transactions(MoveSet.of([table], Copy()), sink, counters, checksums=True, folds=False)
    with pytest.raises(StreamLost):
        transactions.follow(Replay([description(), *packets]))
    return sink, counters


def lost(*packets: bytes) -> str:
    """Why the stream has to be read again."""
    transactions = Transactions(
        MoveSet.of([simple_table()], Copy()),
        RecordingSink(),
        Counters(StreamMark(0, GtidSet())),
        checksums=True,
        folds=False,
    )
    with pytest.raises(StreamLost) as caught:
        transactions.follow(Replay([description(), *packets]))
    return caught.value.cause


def refused(*packets: bytes, start: Position | None = None) -> str:
    table, sink = simple_table(), RecordingSink()
    transactions = Transactions(
        MoveSet.of([table], Copy()), sink, Counters(StreamMark(0, start or GtidSet())), checksums=True, folds=False
    )
    with pytest.raises(DataError) as caught:
        transactions.follow(Replay([description(), *packets]))
    assert caught.value.message
    return caught.value.reason


def test_the_hand_made_stream_is_valid() -> None:
    sink, counters = follow(gtid(1), query("BEGIN"), table_map(), insert(5), insert(-6), COMMIT)
    assert [int(key[0]) for key in sink.keys] == [5, -6]
    assert str(counters.processed.position).endswith("0e0f:1")
    assert sink.changes[0].committed_at == 5


@pytest.mark.parametrize("place", [place for place in range(1, len(insert(5))) if place != 5])  # 5: see the next test
def test_one_wrong_bit_is_noticed(place: int) -> None:
    good = insert(5)
    bad = good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :]
    assert lost(gtid(1), query("BEGIN"), table_map(), bad) == "corrupt"


def test_a_wrong_byte_in_the_event_kind_is_noticed() -> None:
    good = insert(5)
    bad = good[:5] + bytes([77]) + good[6:]
    assert lost(gtid(1), query("BEGIN"), table_map(), bad) == "corrupt"


def test_without_checksums_events_end_where_they_end() -> None:
    plain = description(checksum=False)
    packets = [event(p[5], p[20:-4], checksum=False) for p in (gtid(1), query("BEGIN"), table_map(), insert(5), COMMIT)]
    sink, _ = follow(plain, *packets)
    assert sink.keys == [("5",)]


def test_a_file_still_in_use_has_a_checksum_too() -> None:
    sink, _ = follow(description(in_use=True), gtid(1), query("BEGIN"), table_map(), insert(5), COMMIT)
    assert sink.keys == [("5",)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (events.INCIDENT, "SourceIncident"),
        (events.TRANSACTION_PAYLOAD, "BinlogUnreadable"),
        (events.MARIADB_QUERY_COMPRESSED, "BinlogUnreadable"),
        (events.ANONYMOUS_GTID, "GtidModeChanged"),
        (99, "BinlogEventUnknown"),
        (20, "BinlogEventUnknown"),  # rows of MySQL 5.1 betas
        (6, "BinlogEventUnknown"),  # LOAD of MySQL 3.23
    ],
)
def test_refused_kinds(kind: int, reason: str) -> None:
    assert refused(gtid(1), event(kind, bytes(40))) == reason


def test_unknown_ignorable_events_are_ignored() -> None:
    sink, _ = follow(
        gtid(1), query("BEGIN"), event(99, b"", flags=events.IGNORABLE_FLAG), table_map(), insert(5), COMMIT
    )
    assert sink.keys == [("5",)]


@pytest.mark.parametrize("kind", [events.PARTIAL_UPDATE_ROWS, *events.MARIADB_ROWS_COMPRESSED])
def test_unreadable_rows_are_refused_only_of_selected_tables(kind: int) -> None:
    rows = event(kind, b"\1\0\0\0\0\0\1\0\2\0" + bytes(20))
    assert refused(gtid(1), query("BEGIN"), table_map(), rows) == "BinlogUnreadable"
    sink, counters = follow(gtid(1), query("BEGIN"), table_map("other"), rows, COMMIT)
    assert not sink.changes
    assert counters.transactions == 1


def test_events_out_of_order_are_refused() -> None:
    assert refused(gtid(1), query("BEGIN"), insert(5)) == "BinlogUnreadable"
    assert refused(table_map(), insert(5)) == "BinlogUnreadable"
    assert refused(gtid(1), query("BEGIN"), gtid(2)) == "BinlogUnreadable"
    assert refused(COMMIT) == "BinlogUnreadable"
    assert refused(gtid(1), query("BEGIN"), table_map(), insert(5), query("XA COMMIT 'x'")) == "BinlogUnreadable"


def test_a_table_map_with_other_columns_is_a_schema_change() -> None:
    assert refused(gtid(1), query("BEGIN"), table_map(columns=b"\1\x08\0\0")) == "SchemaChanged"
    assert refused(gtid(1), query("BEGIN"), table_map(columns=b"\x02\x08\x0f\x02\x50\x00\x03")) == "SchemaChanged"
    assert refused(gtid(1), query("BEGIN"), table_map(columns=b"\x02\x08\x63\x02\x50\x00\x02")) == "BinlogUnreadable"


def test_a_transaction_cut_by_a_crash_of_the_source_is_void() -> None:
    sink, counters = follow(
        gtid(1), query("BEGIN"), table_map("other"), description(created=1), gtid(2), query("BEGIN"), COMMIT
    )
    assert not sink.changes
    assert str(counters.processed.position).endswith("0e0f:2")


def test_old_row_events_of_mariadb() -> None:
    begin = event(events.MARIADB_GTID, struct.pack("<QIB", 3, 0, 0) + bytes(6))
    sink, counters = follow(
        begin, table_map(), insert(5, events.WRITE_ROWS_V1), query("COMMIT"), start=MariaDbGtids.parse("0-7-2")
    )
    assert sink.keys == [("5",)]
    assert str(counters.processed.position) == "0-7-3"


def test_a_statement_that_ends_only_with_its_transaction_is_streamed() -> None:
    sink, counters = follow(
        gtid(1), query("CREATE TABLE other (id INT) START TRANSACTION"), table_map("other"), COMMIT, gtid(2),
        query("CREATE TABLE third (id INT)"), gtid(3), query("BEGIN"), table_map(), insert(1), COMMIT,
    )  # fmt: skip
    assert counters.transactions == 3
    assert sink.keys == [("1",)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE shop.t (id BIGINT) START TRANSACTION",
        "CREATE TABLE IF NOT EXISTS t (id BIGINT) ENGINE=InnoDB START TRANSACTION",
    ],
)
def test_a_table_begins_after_the_query_that_created_it(statement: str) -> None:
    """Its rows in that transaction are ignored, and the transaction ends with its COMMIT like for any other table."""
    made = StreamMark(0, GtidSet({str(UUID(bytes=SERVER)): ((1, 1),)}))
    moves = MoveSet.of([simple_table(), simple_table("u")], Copy(), counts_from={"shop.t": made})
    sink, counters = RecordingSink(), Counters(StreamMark(0, GtidSet()))
    packets = [
        gtid(1), query(statement), table_map(), insert(5), COMMIT,
        gtid(2), query("BEGIN"), table_map(), insert(6), COMMIT,
    ]  # fmt: skip
    with pytest.raises(StreamLost):
        Transactions(moves, sink, counters, checksums=True, folds=False).follow(Replay([description(), *packets]))
    assert sink.keys == [("6",)]
    assert counters.transactions == 2


def test_a_heartbeat_means_the_end_only_where_the_last_event_ended() -> None:
    def beat(place: int) -> bytes:
        return event(events.HEARTBEAT, b"binlog.000001", place=place)

    last = event(events.XID, bytes(8), place=900)
    _, counters = follow(gtid(1), query("BEGIN"), last, beat(700))
    assert not counters.caught_up
    _, counters = follow(gtid(1), query("BEGIN"), last, beat(950), beat(950))
    assert counters.caught_up
    _, counters = follow(gtid(1), query("BEGIN"), last, beat(900))
    assert counters.caught_up
    _, counters = follow(gtid(1), query("BEGIN"), last, beat(900), gtid(2), query("BEGIN"), COMMIT)
    assert not counters.caught_up


FOLLOWED: list[bytes] = [
    gtid(1), query("BEGIN"), table_map(), insert(5), insert(6, events.WRITE_ROWS_V1), COMMIT, query("DROP TABLE t"),
    event(events.ROTATE, bytes(8) + b"binlog.000002"), event(events.GTID_LIST, struct.pack("<I", 0)),
    event(events.MARIADB_GTID, struct.pack("<QIB", 3, 0, 0x04)), event(events.XA_PREPARE, bytes(13)),
    event(events.TAGGED_GTID, b"\x02\x72"), event(events.TRANSACTION_PAYLOAD, b"\x01\x01\x04\x02\x01\x00\x00"),
    event(events.MARIADB_QUERY_COMPRESSED, bytes(13) + b"\x81\x01x"), event(events.HEARTBEAT, b"binlog.000001"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(FOLLOWED), st.integers(20, 60), st.integers(0, 6), st.binary(max_size=6)), max_size=12
    ),
    st.sampled_from([GtidSet(), MariaDbGtids()]),
)
def test_no_sequence_of_events_is_an_unknown_error(
    changes: list[tuple[bytes, int, int, bytes]], start: Position
) -> None:
    """Each event with valid checksum and header, in any order, with bytes of its body changed, cut or put in."""
    packets = [
        event(whole[5], whole[20:place] + added + whole[place + cut : -4]) for whole, place, cut, added in changes
    ]
    first = gtid(9) if isinstance(start, GtidSet) else event(events.MARIADB_GTID, struct.pack("<QIB", 9, 0, 0))
    transactions = Transactions(
        MoveSet.of([simple_table()], Copy()),
        RecordingSink(count_only=True),
        Counters(StreamMark(0, start)),
        checksums=True,
        folds=False,
    )
    with pytest.raises((StreamLost, DataError)):
        transactions.follow(Replay([description(), first, query("BEGIN"), table_map(), *packets]))
