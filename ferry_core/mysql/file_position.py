"""A stream position on a MySQL source whose transactions need not have GTIDs: a place in its binlog.

It orders transactions of one server only, so another server never takes over. The form of its text differs from that of
every GTID set. Used wherever a ``gtid.Position`` is.
"""

import re
from typing import NamedTuple

DUMPABLE = 1 << 32
"""Offsets below this can be requested: the command for a dump from a place has four bytes for the offset.

Files are longer only after one huge transaction, with which they end, and those of the same group commit.
"""
_FORM = re.compile(r"(.+\.[0-9]{6,}):([0-9]+)", re.DOTALL)


class FilePosition(NamedTuple):
    """Everything before ``offset`` in ``file``, and in all files before it."""

    file: str
    offset: int

    @classmethod
    def of(cls, text: str) -> "FilePosition | None":
        """Parse the text from ``str``. None for the text of another kind of position."""
        match = _FORM.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"

    def dumpable(self) -> "FilePosition | None":
        """This position; None if no dump can be requested from it."""
        return self if self.offset < DUMPABLE else None

    def contains(self, other: object) -> bool:
        """Whether ``other`` is this position, or before it."""
        if not isinstance(other, FilePosition):
            raise TypeError(f"a place in a binlog cannot contain {other!r}")
        return (numbered(self.file), self.offset) >= (numbered(other.file), other.offset)


def numbered(file: str) -> tuple[str, int, str]:
    """Base name of a binlog file, and its number, which orders files with that base name."""
    base, _, number = file.rpartition(".")
    return base, len(number), number
