"""When attempts may start: before, in and after the window, by moments with any offset."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ferry_core.api.cutover import Cutover
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.cutover.window import outside_window, refuse_outside


def gate(now: str, **cutover: Any) -> tuple[str, str] | None:
    found = outside_window(Cutover.model_validate(cutover), datetime.fromisoformat(now).timestamp())
    return None if found is None else (found.reason.value, found.message)


def reason(now: str, **cutover: Any) -> str | None:
    found = gate(now, **cutover)
    return None if found is None else found[0]


BOTH = {"notBefore": "2026-12-01T02:00:00Z", "notAfter": "2026-12-01T04:00:00Z"}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-12-01T01:59:59Z", "OutsideWindow"),
        ("2026-12-01T02:00:00Z", None),
        ("2026-12-01T04:00:00Z", None),
        ("2026-12-01T04:00:01Z", "WindowMissed"),
    ],
)
def test_both_ends_belong_to_the_window(now: str, expected: str | None) -> None:
    assert reason(now, **BOTH) == expected


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00Z"])
def test_the_first_and_the_last_moment_are_shown(moment: str) -> None:
    before, after = gate("2026-12-01T02:00:00Z", notBefore=moment), gate("2026-12-01T02:00:00Z", notAfter=moment)
    assert (before is None) == (after is not None)


def test_without_a_window_attempts_may_always_start() -> None:
    assert reason("2026-12-01T02:00:00Z") is None


def test_the_gate_says_until_when_in_utc_and_as_it_was_written() -> None:
    early, late = (
        gate("2026-11-30T00:00:00Z", notBefore="2026-12-01T02:00:00+01:00"),
        gate("2026-12-02T00:00:00Z", notAfter="2026-12-01T04:00:00Z"),
    )
    assert early is not None
    assert late is not None
    assert "2026-12-01 02:00:00+0100, 2026-12-01 01:00:00 UTC" in early[1]
    assert "(2026-12-01 04:00:00 UTC) has passed" in late[1]
    assert "later spec.cutover.notAfter" in late[1]


@pytest.mark.parametrize(("offset", "expected"), [("+02:00", None), ("+01:00", "OutsideWindow")])
def test_an_hour_that_a_clock_shows_twice_is_told_apart_by_its_offset(offset: str, expected: str | None) -> None:
    """In Berlin 02:30 exists twice on 25 October 2026."""
    assert reason("2026-10-25T00:45:00Z", notBefore=f"2026-10-25T02:30:00{offset}") == expected


def test_an_attempt_looks_once_more_before_it_stops_writes() -> None:
    refuse_outside(Cutover.model_validate({"notBefore": "2020-01-01T00:00:00Z"}))
    with pytest.raises(AttemptFailed) as caught:
        refuse_outside(Cutover.model_validate({"notAfter": f"{datetime.now(UTC).year - 1}-01-01T00:00:00Z"}))
    assert caught.value.reason == "WindowMissed"
