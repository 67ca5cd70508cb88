from ferry_core.binlog.sink import RowKey
from ferry_core.verify.unproven import ENTRY_BYTES, UnprovenKeys
from tests.support.tables import decode, move_of, simple_table


def keys_of(unproven: UnprovenKeys, move: object, limit: int = 100) -> list[RowKey]:
    batch = unproven.take(move, limit)  # type: ignore[arg-type]
    return [] if batch is None else sorted(batch.keys, key=str)


def test_before_a_pass_the_whole_table_is_unproven_and_no_key_is_kept() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.add(move, [b"1"], decode)
    assert unproven.whole_moves() == [move]
    assert unproven.size() == 0


def test_from_begin_on_changed_keys_are_unproven_until_proven() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.add(move, [b"1", b"2"], decode)
    assert unproven.whole_moves() == []
    batch = unproven.take(move, 100)
    assert batch is not None
    assert batch.literals() == [("1",), ("2",)]
    assert unproven.size(move) == 2
    assert unproven.proven(batch.only([b"1"])) == 1
    assert keys_of(unproven, move) == [b"2"]


def test_an_event_during_the_proof_keeps_the_key_unproven() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.add(move, [b"1", b"2"], decode)
    batch = unproven.take(move, 100)
    assert batch is not None
    unproven.add(move, [b"1"], decode)
    assert unproven.proven(batch) == 1
    assert keys_of(unproven, move) == [b"1"]


def test_a_proof_that_began_before_a_new_pass_proves_nothing_in_it() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.add(move, [b"1"], decode)
    batch = unproven.take(move, 100)
    assert batch is not None
    unproven.begin(move)
    unproven.add(move, [b"1"], decode)
    assert unproven.proven(batch) == 0
    assert keys_of(unproven, move) == [b"1"]


def test_keys_that_stay_unproven_do_not_delay_the_others() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.add(move, [b"1", b"2", b"3", b"4"], decode)
    seen = keys_of(unproven, move, 2) + keys_of(unproven, move, 2)
    assert sorted(seen) == [b"1", b"2", b"3", b"4"]


def test_over_the_memory_limit_the_largest_table_is_unproven_as_a_whole() -> None:
    small, large = move_of(simple_table("small")), move_of(simple_table("large"))
    unproven = UnprovenKeys([small, large], max_bytes=10 * (ENTRY_BYTES + 4))
    unproven.begin(small)
    unproven.begin(large)
    unproven.add(small, [b"0001"], decode)
    unproven.add(large, [b"%04d" % number for number in range(10)], decode)
    assert unproven.whole_moves() == [large]
    assert unproven.size(large) == 0
    assert keys_of(unproven, small) == [b"0001"]
    unproven.add(large, [b"0001"], decode)
    assert unproven.size(large) == 0, "keys of a whole unproven move are not kept"
    unproven.begin(large)
    unproven.add(large, [b"0001"], decode)
    assert unproven.whole_moves() == []
    assert unproven.size() == 2


def test_the_same_key_again_costs_no_memory() -> None:
    move = move_of()
    unproven = UnprovenKeys([move], max_bytes=2 * (ENTRY_BYTES + 1))
    unproven.begin(move)
    for _ in range(100):
        unproven.add(move, [b"1"], decode)
        batch = unproven.take(move, 10)
        assert batch is not None
        unproven.proven(batch)
        unproven.add(move, [b"2"], decode)
    assert unproven.whole_moves() == []
    assert keys_of(unproven, move) == [b"2"]


def test_rows_that_no_event_named_are_left_out_of_a_pass() -> None:
    """Another pass suspects them while this one goes on: it has not found the table equal."""
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.add(move, [b"1"], decode)
    assert not unproven.left_out(move, {("1",)})
    unproven.add(move, [("2",)], None)
    assert unproven.left_out(move, {("1",), ("2",)})
    assert unproven.left_out(move, {("2",)})
