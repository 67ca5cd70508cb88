"""Who may run at once, and how often numbers are written."""

from ferry_operator.budget import Budget
from ferry_operator.fleet import Fleet


def test_first_come_first_served() -> None:
    woken: list[str] = []
    fleet = Fleet(2, woken.append)
    assert fleet.ask("c", "2026-01-03")
    assert fleet.ask("a", "2026-01-01")
    assert not fleet.ask("d", "2026-01-04")
    assert not fleet.ask("b", "2026-01-02")
    fleet.leave("c")
    assert woken == ["b"]
    assert not fleet.ask("d", "2026-01-04"), "the older one waits for this place"
    assert fleet.ask("b", "2026-01-02")
    assert fleet.ask("b", "2026-01-02"), "asking again is harmless"


def test_one_that_runs_already_keeps_its_place_even_over_the_limit() -> None:
    fleet = Fleet(1, lambda _: None)
    fleet.hold("a")
    fleet.hold("b")
    assert fleet.ask("a", "2026-01-01")
    fleet.leave("a")
    assert not fleet.ask("c", "2026-01-01")


def test_after_a_restart_those_that_run_are_known_before_anybody_asks() -> None:
    """The operator finds all Pods first, then tends Ferries in any order."""
    fleet = Fleet(1, lambda _: None)
    fleet.hold("runs")
    assert not fleet.ask("queued", "2026-01-01")


def test_no_limit() -> None:
    fleet = Fleet(0, lambda _: None)
    assert all(fleet.ask(str(n), "2026") for n in range(100))


def test_numbers_are_written_seldom() -> None:
    now = [1000.0]
    budget = Budget(lambda: now[0])
    written: list[float] = []
    for _ in range(1000):
        if not budget.wait(None):
            written.append(now[0])
        now[0] += 0.01
    assert 50 <= len(written) <= 56, "5 a second, and the few of the first moment"
    assert budget.wait(now[0] - 9.9) == 10, "this Ferry wrote 9.9 s ago"
