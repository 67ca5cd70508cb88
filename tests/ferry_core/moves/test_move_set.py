"""The set of a run's moves changes while it is streamed: between two transactions, in the streamer's thread."""

import threading
import time
from itertools import count

import pytest

from ferry_core.api.spec import Copy
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.source_errors import StreamLost
from ferry_core.binlog.transactions import Transactions
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import MoveState
from ferry_core.moves.move_set import MoveSet
from tests.support.binlog_events import COMMIT, Replay, description, gtid, insert, query, table_map
from tests.support.tables import mark, simple_table


def test_the_followed_tables_change_when_the_streamer_asks() -> None:
    moves = MoveSet.of([simple_table("a")], Copy())
    (first,) = moves
    assert moves.followed(mark(1)) == [first]
    before = moves.version
    joined = moves.join(simple_table("b"))
    assert joined.state is MoveState.WAITING
    assert moves.version == before, "nothing is followed yet that was not before"
    assert moves.followed(mark(2)) == [first]
    moves.follow(joined)
    assert moves.version != before
    assert moves.begun(joined, 0) is None
    assert moves.followed(mark(3)) == [first, joined]
    assert moves.begun(joined, 0) == mark(3)
    assert joined.counts_from == mark(3)


def test_a_move_is_handed_on_once_the_streamer_no_longer_follows_it() -> None:
    moves = MoveSet.of([simple_table("a"), simple_table("b")], Copy())
    first, second = moves
    version = moves.unfollow(second)
    assert not moves.wait_seen(version, 0)
    streamer = threading.Timer(0.1, moves.followed, [mark(1)])
    streamer.start()
    assert moves.wait_seen(version, 180)
    streamer.join()
    moves.hand_on(second)
    assert list(moves) == [first]
    assert moves.followed(mark(2)) == [first]


def transactions_of(tables: int) -> float:
    """CPU seconds per transaction of one table beside that many others; XA ones included, whose statements are
    parsed.
    """
    moves = MoveSet.of([simple_table("t"), *(simple_table(f"other_{number}") for number in range(tables))], Copy())
    buffer = ChangeBuffer(mark(0))
    packets = [description()]
    for number in range(1, 400):
        begin = query("BEGIN" if number % 2 else f"SAVEPOINT s{number}")
        packets += [gtid(number), query("BEGIN"), begin, table_map(), insert(number), COMMIT]
    transactions = Transactions(moves, buffer, Counters(mark(0)), checksums=True, folds=False)
    began = time.thread_time()
    with pytest.raises(StreamLost):
        transactions.follow(Replay(packets))
    buffer.checkpoint_mark()
    took = time.thread_time() - began
    assert buffer.changes == 399
    return took


def test_the_cost_of_an_event_does_not_depend_on_the_number_of_tables() -> None:
    """With 5,000 tables a statement took 2 ms when all their names were compared."""
    for attempt in count():
        few, many = (min(transactions_of(tables) for _ in range(3)) for tables in (1, 5000))
        if many < 3 * few:
            return
        assert attempt < 5, f"{few:.4f} s with one table, {many:.4f} s with 5,000"
