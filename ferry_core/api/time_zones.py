"""Checks the times of the spec as no pattern of a schema can. Used by ``spec`` and ``cutover``.

kube-apiserver accepts any name of a time zone: an unknown one is refused by the copier.
"""

import re
from datetime import UTC, datetime

from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def written(moment: object) -> object:
    """Refuse a time that kube-apiserver would refuse: without an offset, without seconds, or as a number."""
    if isinstance(moment, datetime) or (isinstance(moment, str) and _RFC_3339.fullmatch(moment)):
        return moment
    raise PydanticCustomError("moment", "must be a time with its zone, for example 2026-12-01T02:00:00Z")


def within_the_calendar(moment: datetime) -> datetime:
    """Refuse a time whose offset moves it before the year 1 or after the year 9999: in UTC it does not exist."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "must be in the years 1 to 9999 in UTC, too") from None
    return moment


def in_a_known_zone(hours: str) -> str:
    """Return ``hours`` if the zone at its end is known."""
    from zoneinfo import ZoneInfo  # only manifests with activeHours pay for its import

    _, _, name = hours.partition(" ")
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise PydanticCustomError(
            "time_zone",
            "{name} is not a known time zone: use a name of the IANA database, for example Europe/Berlin or UTC",
            {"name": name},
        ) from None
    return hours
