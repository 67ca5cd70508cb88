"""Formats numbers, times and columns for people. Used by ``screen`` and ``tables``."""

import textwrap
from collections.abc import Sequence
from datetime import datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: float) -> str:
    """``1,234,567``."""
    return f"{number:,.0f}"


def size(number: float) -> str:
    """``1.2 GiB``."""
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{number:.0f} B"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def moment(text: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def age(text: str, now: datetime) -> str:
    """Time since."""
    return span((now - moment(text)).total_seconds())


def printable(text: str) -> str:
    """Without characters that control a terminal: names of tables may contain any."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of a table; the columns in ``right`` are aligned to the right."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def labelled(label: str, text: str, width: int, indent: int = 10) -> list[str]:
    """A line that begins with ``label``, wrapped beside it."""
    hanging = " " * indent
    wrapped = textwrap.wrap(
        printable(text), max(width - indent, 20), break_on_hyphens=False, break_long_words=False
    ) or [""]
    return [label.ljust(indent) + wrapped[0], *(hanging + each for each in wrapped[1:])]
