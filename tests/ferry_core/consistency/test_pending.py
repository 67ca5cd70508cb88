"""R4: no key is forgotten before the generation that read it has committed."""

import pytest

from ferry_core.consistency.pending import PendingKeys
from tests.support.tables import decode, mark


def filled(*keys: bytes, at: int = 1) -> PendingKeys:
    pending = PendingKeys("shop.t")
    pending.add(keys, decode, mark(at))
    return pending


def test_a_key_in_flight_is_pending_until_its_generation_has_committed() -> None:
    pending = filled(b"1", b"2")
    generation = pending.take(10, mark(5))
    assert generation is not None
    assert list(generation.keys) == [b"1", b"2"]
    assert len(pending) == 0
    assert pending.is_pending(b"1")
    pending.committed(generation)
    assert not pending.is_pending(b"1")


def test_a_key_that_arrives_while_in_flight_stays_for_the_next_generation() -> None:
    pending = filled(b"1")
    first = pending.take(10, mark(1))
    assert first is not None
    pending.add([b"1"], decode, mark(7))
    pending.committed(first)
    second = pending.take(10, mark(8))
    assert second is not None
    assert list(second.keys) == [b"1"]
    assert second.since == mark(7)


def test_one_generation_at_a_time() -> None:
    pending = filled(b"1")
    assert pending.take(1, mark(1)) is not None
    pending.add([b"2"], decode, mark(2))
    with pytest.raises(AssertionError, match="in flight"):
        pending.take(1, mark(2))


def test_a_returned_generation_waits_again_with_its_old_date() -> None:
    pending = filled(b"1", at=3)
    generation = pending.take(10, mark(4))
    assert generation is not None
    pending.add([b"2"], decode, mark(6))
    pending.returned(generation)
    assert pending.oldest() == mark(3)
    again = pending.take(10, mark(7))
    assert again is not None
    assert set(again.keys) == {b"1", b"2"}


def test_the_oldest_mark_is_kept_while_only_a_part_is_taken() -> None:
    pending = filled(b"1", b"2", b"3", at=2)
    generation = pending.take(1, mark(4))
    assert generation is not None
    pending.committed(generation)
    assert pending.oldest() == mark(2)
    rest = pending.take(10, mark(4))
    assert rest is not None
    pending.committed(rest)
    assert pending.oldest() is None


def test_the_byte_count_returns_to_zero() -> None:
    pending = filled(b"1", b"22", b"333")
    for _ in range(3):
        generation = pending.take(1, mark(2))
        assert generation is not None
        pending.committed(generation)
    assert pending.bytes == 0
