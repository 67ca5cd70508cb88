"""Who may run at once, and how often numbers are written."""

from ferry_operator.budget import StatusBudget
from ferry_operator.run_slots import RunSlots


def test_first_come_first_served() -> None:
    woken: list[str] = []
    slots = RunSlots(2, woken.append)
    assert slots.acquire("c", "2026-01-03")
    assert slots.acquire("a", "2026-01-01")
    assert not slots.acquire("d", "2026-01-04")
    assert not slots.acquire("b", "2026-01-02")
    slots.release("c")
    assert woken == ["b"]
    assert not slots.acquire("d", "2026-01-04"), "the older one waits for this place"
    assert slots.acquire("b", "2026-01-02")
    assert slots.acquire("b", "2026-01-02"), "asking again is harmless"


def test_a_running_ferry_keeps_its_slot_over_the_limit() -> None:
    slots = RunSlots(1, lambda _: None)
    slots.adopt("a")
    slots.adopt("b")
    assert slots.acquire("a", "2026-01-01")
    slots.release("a")
    assert not slots.acquire("c", "2026-01-01")


def test_after_a_restart_running_ferries_are_adopted_first() -> None:
    """The operator finds all Pods first, then reconciles Ferries in any order."""
    slots = RunSlots(1, lambda _: None)
    slots.adopt("runs")
    assert not slots.acquire("queued", "2026-01-01")


def test_no_limit() -> None:
    slots = RunSlots(0, lambda _: None)
    assert all(slots.acquire(str(n), "2026") for n in range(100))


def test_writes_of_numbers_are_rate_limited() -> None:
    now = [1000.0]
    budget = StatusBudget(lambda: now[0])
    written: list[float] = []
    for _ in range(1000):
        if not budget.take(None):
            written.append(now[0])
        now[0] += 0.01
    assert 50 <= len(written) <= 56, "5 a second, and the few of the first moment"
    assert budget.take(now[0] - 9.9) == 10, "this Ferry wrote 9.9 s ago"
