"""Formats numbers for people. Used by the progress view and the tables of ``ferry status``."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: float) -> str:
    """``1,234,567``."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """``1.2 GiB``."""
    power = 0
    while number >= 1024 and power < len(UNITS) - 1:
        number /= 1024
        power += 1
    return f"{number:.1f} {UNITS[power]}" if power else f"{number:.0f} B"


def span(seconds: float) -> str:
    """``42s``, ``3m 07s``, ``5h 02m``, ``3d 04h``: at most two units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def lag(seconds: float | None) -> str:
    """The lag; unknown is not shown as 0."""
    if seconds is None:
        return "lag unknown"
    return f"lag {seconds:.1f}s" if seconds < 60 else f"lag {span(seconds)}"
