"""The change buffer: bounded, never ahead of the target, XA keys dated by their PREPARE."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.pending import PendingKey, PendingKeys
from ferry_core.moves.move import TableMove
from tests.support.tables import decode, mark, move_of, simple_table


def transaction(buffer: ChangeBuffer, move: TableMove, number: int, *keys: bytes, xid: str | None = None) -> None:
    buffer.begin(mark(number - 1), mark(number), xid)
    buffer.changed(move, keys, decode)
    buffer.end(mark(number), float(number))


def test_the_checkpoint_stays_before_waiting_keys_and_keys_in_flight() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    transaction(buffer, move, 1, b"a")
    assert buffer.checkpoint_mark() == mark(0)
    generation = buffer.take(move, 10)
    assert generation is not None
    transaction(buffer, move, 2, b"b")
    assert buffer.checkpoint_mark() == mark(0)
    buffer.committed(move, generation)
    assert buffer.checkpoint_mark() == mark(1)


def test_a_held_checkpoint_advances_once_released() -> None:
    reached = threading.Event()
    buffer = ChangeBuffer(mark(0))
    buffer.alive(mark(1), None)
    buffer.hold(reached.is_set)
    buffer.alive(mark(2), None)
    assert buffer.checkpoint_mark() == mark(1)
    reached.set()
    assert buffer.checkpoint_mark() == mark(2)


def test_a_generation_taken_inside_a_transaction_waits_for_that_transaction() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    buffer.begin(mark(0), mark(1), None)
    buffer.changed(move, [b"a"], decode)
    generation = buffer.take(move, 10)
    assert generation is not None
    assert generation.seen == mark(1)
    buffer.committed(move, generation)
    assert buffer.checkpoint_mark() == mark(0), "the transaction is not over: its other rows are still to come"


def test_xa_keys_wait_for_their_decision_and_hold_the_checkpoint_before_the_prepare() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    transaction(buffer, move, 1, b"x", xid="1,aa,")
    transaction(buffer, move, 2, b"b")
    other = buffer.take(move, 10)
    assert other is not None
    assert list(other.keys) == [b"b"]
    buffer.committed(move, other)
    assert buffer.checkpoint_mark() == mark(0)
    buffer.decided("1,aa,", True, mark(2), mark(3))
    assert buffer.checkpoint_mark() == mark(0)
    decided = buffer.take(move, 10)
    assert decided is not None
    assert list(decided.keys) == [b"x"]
    assert decided.seen == mark(3)
    buffer.committed(move, decided)
    assert buffer.checkpoint_mark() == mark(3)


def test_a_rolled_back_xa_transaction_releases_the_checkpoint() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    transaction(buffer, move, 1, b"x", xid="1,aa,")
    buffer.decided("1,aa,", False, mark(1), mark(2))
    assert buffer.take(move, 10) is None
    assert buffer.checkpoint_mark() == mark(2)


def test_a_transaction_begun_again_after_a_lost_connection_counts_once() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    buffer.begin(mark(0), mark(1), "1,aa,")
    buffer.changed(move, [b"x"], decode)
    transaction(buffer, move, 1, b"x", b"y", xid="1,aa,")
    buffer.decided("1,aa,", True, mark(1), mark(2))
    generation = buffer.take(move, 10)
    assert generation is not None
    assert sorted(generation.keys) == [b"x", b"y"]


def test_a_full_buffer_stops_the_streamer_until_a_generation_was_taken_and_committed() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0), capacity_bytes=1000)
    blocked = threading.Thread(target=transaction, args=(buffer, move, 1, *[b"%06d" % n for n in range(20)]))
    blocked.start()
    blocked.join(0.2)
    assert buffer.processed == mark(0)
    generation = buffer.take(move, 100)
    assert generation is not None
    buffer.committed(move, generation)
    blocked.join(180)
    assert buffer.processed == mark(1)


def test_the_listener_is_called_after_a_key_is_pending() -> None:
    move = move_of()
    heard: list[bool] = []
    buffer = ChangeBuffer(mark(0), listener=lambda t, keys, _: heard.append(len(keys) == 1 and t is move))
    transaction(buffer, move, 1, b"a")
    transaction(buffer, move, 2, b"x", xid="1,aa,")
    assert heard == [True]
    buffer.decided("1,aa,", True, mark(2), mark(3))
    assert heard == [True, True]


@given(st.lists(st.sampled_from(["event", "take", "commit", "fail", "prepare", "decide"]), max_size=60))
def test_the_checkpoint_never_passes_a_key_that_is_not_on_the_target(steps: list[str]) -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    number = 0
    flying = None
    prepared: list[tuple[str, int]] = []
    owed: dict[PendingKey, int] = {}
    for step in steps:
        if step == "event":
            number += 1
            changed = b"%d" % (number % 5)
            transaction(buffer, move, number, changed)
            owed.setdefault(changed, number)
        elif step == "take" and flying is None:
            flying = buffer.take(move, 3)
            flying_owed = {key: owed.pop(key) for key in flying.keys} if flying else {}
        elif step == "commit" and flying is not None:
            buffer.committed(move, flying)
            flying = None
        elif step == "fail" and flying is not None:
            buffer.returned(move, flying)
            for key, at in flying_owed.items():
                owed[key] = min(at, owed.get(key, at))
            flying = None
        elif step == "prepare":
            number += 1
            transaction(buffer, move, number, b"x%d" % number, xid=f"1,{number},")
            prepared.append((f"1,{number},", number))
        elif step == "decide" and prepared:
            xid, at = prepared.pop(0)
            number += 1
            buffer.decided(xid, True, mark(number - 1), mark(number))
            owed.setdefault(b"x%d" % at, at)
        not_there = [*owed.values(), *(at for _, at in prepared), *(flying_owed.values() if flying else ())]
        assert buffer.checkpoint_mark().sequence < min(not_there, default=number + 1)


def test_waiting_for_a_table_ignores_keys_that_come_later() -> None:
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    transaction(buffer, move, 1, b"a")
    generation = buffer.take(move, 10)
    assert generation is not None
    transaction(buffer, move, 2, b"b")
    assert not buffer.wait_flushed(move, time.monotonic())

    flushed: list[bool] = []
    thread = threading.Thread(target=lambda: flushed.append(buffer.wait_flushed(move, time.monotonic() + 180)))
    thread.start()
    while not buffer._condition._waiters:  # type: ignore[attr-defined]
        time.sleep(0.001)
    transaction(buffer, move, 3, b"c")
    buffer.committed(move, generation)
    second = buffer.take(move, 10)
    assert second is not None
    transaction(buffer, move, 4, b"d")
    buffer.committed(move, second)
    thread.join()
    # b"d" still waits, and on a busy move there is always a waiting key.
    assert flushed == [True]


def test_the_cost_of_an_event_does_not_depend_on_the_number_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summing over all moves' keys took 1.2 ms per event with 5,000 tables; only moves with keys may be visited."""
    moves = [move_of(simple_table(f"t{number}")) for number in range(1000)]
    buffer = ChangeBuffer(mark(0))
    asked: set[str] = set()

    def watched(name: str) -> None:
        inner = getattr(PendingKeys, name)

        def outer(self: PendingKeys, *arguments: object) -> object:
            asked.add(self._of)
            return inner(self, *arguments)

        monkeypatch.setattr(PendingKeys, name, outer)

    for name in ("__len__", "oldest", "oldest_commit", "add", "date", "snapshot", "take"):
        watched(name)
    changed = moves[7]
    transaction(buffer, changed, 1, b"a")
    assert (buffer.checkpoint_mark(), buffer.oldest_commit(), buffer.pending_keys()) == (mark(0), 1.0, 1)
    assert (buffer.waiting(), buffer.pending_by_move()) == ([(changed, 1)], {changed: 1})
    assert not buffer.wait_empty(0)
    generation = buffer.take(changed, 10)
    assert generation is not None
    assert buffer.pending_by_move() == {changed: 1}, "in flight is not on the target"
    buffer.returned(changed, generation)
    assert 0 < buffer.fullness < 1
    again = buffer.take(changed, 10)
    assert again is not None
    buffer.committed(changed, again)
    assert (buffer.pending_by_move(), buffer.fullness, buffer.wait_empty(0)) == ({}, 0, True)
    assert asked == {changed.id}
