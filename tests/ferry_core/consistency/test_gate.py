"""R3: chunk windows and flush generations of one table never overlap."""

import threading

from ferry_core.consistency.gate import TableGate
from tests.support.waits import wait_until


def never() -> bool:
    return False


def test_chunks_run_in_parallel() -> None:
    gate = TableGate()
    with gate.chunk(never) as first, gate.chunk(never) as second:
        assert first
        assert second


def test_a_flush_waits_for_open_chunks_and_blocks_new_ones() -> None:
    gate = TableGate()
    order: list[str] = []
    inside = threading.Event()
    release = threading.Event()

    def chunk() -> None:
        with gate.chunk(never):
            inside.set()
            release.wait(60)
            order.append("chunk committed")

    def flush() -> None:
        with gate.flush(never):
            order.append("flush")

    def late_chunk() -> None:
        with gate.chunk(never):
            order.append("late chunk")

    threads = [threading.Thread(target=chunk)]
    threads[0].start()
    assert inside.wait(60)
    threads.append(threading.Thread(target=flush))
    threads[1].start()
    wait_until(lambda: not gate.open_for_chunks, "the flush waits")
    threads.append(threading.Thread(target=late_chunk))
    threads[2].start()
    release.set()
    for thread in threads:
        thread.join(60)
    assert order == ["chunk committed", "flush", "late chunk"]


def test_a_cancelled_waiter_does_not_enter() -> None:
    gate = TableGate()
    with gate.flush(never) as entered:
        assert entered
        with gate.chunk(lambda: True) as chunk:
            assert not chunk
        with gate.flush(lambda: True) as flush:
            assert not flush
    assert gate.open_for_chunks


def test_a_cancelled_flush_lets_chunks_in_again() -> None:
    gate = TableGate()
    with gate.chunk(never):
        with gate.flush(lambda: True) as entered:
            assert not entered
        assert gate.open_for_chunks
