"""Active hours are those of a wall clock, also on the days on which clocks are changed."""

import zoneinfo
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle.active_hours import ActiveHours, Window
from ferry_core.throttle.signal import FREE

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


def shown_hours(window: Window, begin: datetime, hours: int) -> int:
    """Minutes of the window within that many hours."""
    return sum(window.contains(begin + timedelta(minutes=minute)) for minute in range(hours * 60))


@given(MINUTES, MINUTES, st.sampled_from(ZONES), MOMENTS)
def test_it_is_what_a_clock_on_the_wall_shows(start: time, end: time, zone: str, at: datetime) -> None:
    window = Window.parse(f"{start:%H:%M}-{end:%H:%M} {zone}")
    wall = at.astimezone(ZoneInfo(zone)).time()
    minutes = (wall.hour * 60 + wall.minute - start.hour * 60 - start.minute) % 1440
    length = (end.hour * 60 + end.minute - start.hour * 60 - start.minute) % 1440 or 1440
    assert window.contains(at) == (minutes < length)


@given(MINUTES, MINUTES, st.sampled_from(ZONES), MOMENTS)
def test_a_window_and_its_complement_never_overlap(start: time, end: time, zone: str, at: datetime) -> None:
    if start == end:
        return
    inside, outside = (Window.parse(f"{a:%H:%M}-{b:%H:%M} {zone}") for a, b in ((start, end), (end, start)))
    assert inside.contains(at) != outside.contains(at)


@pytest.mark.parametrize(
    ("day", "hours", "minutes"),
    [
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "20:00-06:00", 9 * 60),  # clocks go forward at 02:00
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "20:00-06:00", 11 * 60),  # and back at 03:00
        (datetime(2026, 6, 10, 12, tzinfo=UTC), "20:00-06:00", 10 * 60),
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "02:30-04:00", 60),  # 02:30 does not exist that night
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "02:10-02:50", 0),
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "02:00-03:00", 120),  # comes twice
        (datetime(2026, 6, 10, 12, tzinfo=UTC), "07:00-07:00", 24 * 60),
    ],
)
def test_nights_on_which_clocks_change(day: datetime, hours: str, minutes: int) -> None:
    assert shown_hours(Window.parse(f"{hours} Europe/Berlin"), day, 24) == minutes


def test_the_signal_follows_patches_and_names_the_time() -> None:
    at = datetime(2026, 7, 1, 10, 3, tzinfo=UTC)
    signal = ActiveHours(lambda: at)
    assert signal.verdict(0) == FREE
    signal.apply(Settings(active_hours="20:00-06:00 Europe/Berlin"))
    assert signal.verdict(0) == (True, "active-hours 12:03 outside 20:00-06:00 Europe/Berlin")
    signal.apply(Settings(active_hours="12:00-12:04 Europe/Berlin"))
    assert signal.verdict(0) == FREE
    signal.apply(Settings(active_hours="12:04-12:03 Europe/Berlin"))
    assert signal.verdict(0).holds
    signal.apply(Settings())
    assert signal.verdict(0) == FREE


@pytest.mark.parametrize(
    ("zone", "refusal"),
    [("Europe/Berlinn", "is not a known time zone"), ("Europe", "is not a known"), ("../../etc/passwd", "pattern")],
)
def test_an_unknown_zone_is_refused_by_name(zone: str, refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        Settings(active_hours=f"20:00-06:00 {zone}")


def test_time_zones_are_known_where_the_system_has_none() -> None:
    zoneinfo.reset_tzpath(to=[])
    try:
        assert ZoneInfo.no_cache("Europe/Berlin").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)  # noqa: DTZ001
    finally:
        zoneinfo.reset_tzpath()
