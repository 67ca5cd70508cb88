"""Packets: any split of the bytes gives the same events; everything else is a lost connection or a refusal."""

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.binlog.frames import Frames
from ferry_core.binlog.source_errors import SourceRefusal, StreamLost
from ferry_core.errors import DataError
from ferry_core.mysql import guarded

NEXT = b"\0the next event's header"


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence & 0xFF]) + payload


@given(st.lists(st.binary(min_size=19, max_size=300), max_size=300))
def test_events_are_returned_unchanged(bodies: list[bytes]) -> None:
    wire = b"".join(packet(number, b"\0" + body) for number, body in enumerate(bodies, 1))
    frames = Frames(io.BytesIO(wire).read)
    assert [frames.next_event() for _ in bodies] == [b"\0" + body for body in bodies]
    with pytest.raises(StreamLost) as caught:
        frames.next_event()
    assert caught.value.cause == "closed"


@pytest.mark.parametrize("size", [0xFFFFFF - 1, 0xFFFFFF, 0xFFFFFF + 1, 2 * 0xFFFFFF, 2 * 0xFFFFFF + 77])
def test_packets_of_16_mib_are_joined(size: int) -> None:
    whole = b"\0" + bytes(range(256)) * (size // 256 + 1)
    whole = whole[:size]
    parts = [whole[at : at + 0xFFFFFF] for at in range(0, size, 0xFFFFFF)]
    if len(parts[-1]) == 0xFFFFFF:
        parts.append(b"")
    wire = b"".join(packet(number, part) for number, part in enumerate(parts, 1))
    frames = Frames(io.BytesIO(wire + packet(len(parts) + 1, NEXT)).read)
    assert frames.next_event() == whole
    assert frames.next_event() == NEXT


@given(st.binary(min_size=1, max_size=50), st.integers(min_value=0, max_value=40))
def test_a_cut_at_any_byte_is_a_lost_connection(body: bytes, at: int) -> None:
    wire = packet(1, b"\0" + body)
    frames = Frames(io.BytesIO(wire[: min(at, len(wire) - 1)]).read)
    with pytest.raises(StreamLost):
        frames.next_event()


def test_a_missing_packet_is_noticed() -> None:
    frames = Frames(io.BytesIO(packet(2, b"\0x")).read)
    with pytest.raises(StreamLost) as caught:
        frames.next_event()
    assert caught.value.cause == "sequence"


def test_a_missing_part_of_a_large_event_is_noticed() -> None:
    frames = Frames(io.BytesIO(packet(1, bytes(0xFFFFFF)) + packet(3, b"x")).read)
    with pytest.raises(StreamLost) as caught:
        frames.next_event()
    assert caught.value.cause == "sequence"


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "LARGEST_ANSWER", 40 << 20)
    parts = (packet(number, bytes(0xFFFFFF)) for number in itertools.count(1))
    wire = bytearray()

    def read(size: int) -> bytes:
        while len(wire) < size:
            wire.extend(next(parts))
        found = bytes(wire[:size])
        del wire[:size]
        return found

    with pytest.raises(DataError) as refused:
        Frames(read).next_event()
    assert refused.value.reason == "AnswerTooLarge"


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_are_an_event_or_a_named_end(body: bytes, sequence: int) -> None:
    for wire in (body, packet(1, body), packet(sequence, b"\0" + body)):
        frames = Frames(io.BytesIO(wire).read)
        try:
            assert len(frames.next_event()) >= 20
        except (SourceRefusal, StreamLost):
            continue


def test_error_and_end_packets() -> None:
    refusal = b"\xff" + (1236).to_bytes(2, "little") + b"#HY000" + b"gone"
    with pytest.raises(SourceRefusal) as caught:
        Frames(io.BytesIO(packet(1, refusal)).read).next_event()
    assert (caught.value.code, caught.value.text) == (1236, "gone")
    with pytest.raises(StreamLost) as lost:
        Frames(io.BytesIO(packet(1, b"\xfe\0\0\0\0")).read).next_event()
    assert lost.value.cause == "ended"


def test_a_timeout_is_reported_as_silence() -> None:
    def read(_: int) -> bytes:
        raise TimeoutError("timed out")

    with pytest.raises(StreamLost) as caught:
        Frames(read).next_event()
    assert caught.value.cause == "silence"
