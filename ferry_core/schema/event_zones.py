"""Events whose time zone is SYSTEM: they run by the clock of the server's operating system, which the target may not
share. Used by preflight and by the run before it creates them.
"""

from collections.abc import Mapping

from ferry_core.errors import ConfigError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.schema.objects import Definition, Kind, Listed
from ferry_core.text import shortlist

SYSTEM = "SYSTEM"
SHOWN = 5
_WEEK = 7 * 86400
_WEEKS = 54
"""Long enough for both changes of a year's summer time."""


def other_zone(source: Session, target: Session, objects: Mapping[Listed, Definition]) -> str:
    """Describe the events that would run at other times on the target; empty if there are none."""
    events = [str(one) for one, it in objects.items() if one.kind is Kind.EVENT and it.time_zone == SYSTEM]
    if not events:
        return ""
    began = source.number("SELECT UNIX_TIMESTAMP()")
    here, there = _clock(source, began), _clock(target, began)
    if here == there:
        return ""
    zones = [session.text("SELECT @@system_time_zone") for session in (source, target)]
    return (
        f"these events have the time zone SYSTEM, which is {zones[0]} on the source and {zones[1]} on the target, so "
        f"they would run at other times there: {shortlist(events, SHOWN)}. On the source, give each a fixed zone (SET "
        "time_zone = 'Europe/Berlin', then ALTER EVENT with its ON SCHEDULE again), or leave them out with "
        "tables.exclude and create them by hand, or start the target with the source's zone"
    )


def refuse_other_zone(source: Session, target: Session, objects: Mapping[Listed, Definition]) -> None:
    """Raise ConfigError EventTimeZone."""
    if said := other_zone(source, target, objects):
        raise ConfigError(Reason.EVENT_TIME_ZONE, said)


def _clock(session: Session, began: int) -> str:
    """What the operating system's clock shows in each week of a year: names of zones are ambiguous."""
    before = session.text("SELECT @@SESSION.time_zone")
    session.execute(f"SET SESSION time_zone = '{SYSTEM}'")
    try:
        weeks = ", ".join(f"FROM_UNIXTIME({began + week * _WEEK})" for week in range(_WEEKS))
        return session.text(f"SELECT CONCAT_WS(',', {weeks})")
    finally:
        session.execute(f"SET SESSION time_zone = '{before}'")
