"""The signal active-hours: rows move only during certain hours of a time zone's wall clock. No server is asked.

Hours are compared as a clock on the wall shows them. So when clocks are set forward over the start of the window, it
starts at the first minute that exists; when they are set back, a repeated hour belongs to the window both times. A
window whose ends are equal lasts the whole day.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle.signal import FREE, Verdict

ACTIVE_HOURS = "active-hours"


@dataclass(frozen=True)
class Window:
    """From ``start`` until before ``end``, over midnight if ``end`` is earlier."""

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Parse ``20:00-06:00 Europe/Berlin``, as the model of the spec has checked it."""
        hours, zone = text.split(" ")
        start, end = (time.fromisoformat(part) for part in hours.split("-"))
        return cls(start, end, ZoneInfo(zone))

    def local(self, at: datetime) -> time:
        return at.astimezone(self.zone).time()

    def contains(self, at: datetime) -> bool:
        now = self.local(at)
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


def _now() -> datetime:
    return datetime.now(UTC)


class ActiveHours:
    """A ``Signal``."""

    name = ACTIVE_HOURS

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._text: str | None = None
        self._window: Window | None = None

    def apply(self, settings: Settings) -> None:
        if settings.active_hours != self._text:
            self._text = settings.active_hours
            self._window = None if self._text is None else Window.parse(self._text)

    def verdict(self, now: float) -> Verdict:  # noqa: ARG002 - the wall clock decides
        at = self._clock()
        if self._window is None or self._window.contains(at):
            return FREE
        return Verdict(True, f"{ACTIVE_HOURS} {self._window.local(at):%H:%M} outside {self._text}")

    def close(self) -> None:
        """Nothing is open."""
