"""Checks the time zone of ``throttle.activeHours``, which no pattern of a schema can. Used by ``spec``.

kube-apiserver accepts any name: an unknown one is refused by the copier.
"""

from pydantic_core import PydanticCustomError


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
