"""Which cells of the slow tests a run of ``make test`` does. Called by ``tests/conftest.py`` after collection.

A slow test that is parametrised (over the two server families, the stages of a run, both ends) has its cells dealt into
slices; one slice is run, chosen by the commit, so that successive commits cover all cells. ``make test`` then fits its
45 minutes on two cores. A test with one cell is always run, and so is everything that is not slow.
"""

import subprocess
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

SLICES = 2


@dataclass(frozen=True)
class Slice:
    """The slice ``number`` of ``of``, counted from 1. Written ``1/2``."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Slice | None":
        """``None`` for ``all``. Raises ValueError for anything but ``all``, ``commit`` and ``number/of``."""
        if text == "all":
            return None
        if text == "commit":
            return cls(_commit() % SLICES + 1, SLICES)
        number, _, of = text.partition("/")
        chosen = cls(int(number), int(of))
        if not 1 <= chosen.number <= chosen.of:
            raise ValueError(f"--slice {text}: there is no such slice; give all, commit, or 1/2 to 2/2")
        return chosen

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def left_out(self, items: Sequence[pytest.Item]) -> set[pytest.Item]:
        """Cells of slow tests that belong to another slice."""
        cells: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            if item.get_closest_marker("slow") is not None:
                cells[item.nodeid.partition("[")[0]].append(item)
        return {
            item
            for name, of_one_test in cells.items()
            if len(of_one_test) > 1
            for place, item in enumerate(of_one_test, start=_first_place(name))
            if place % self.of != self.number - 1
        }


def _first_place(name: str) -> int:
    """From the test's name: of tests that have a cell for each family, a slice is to hold some of either."""
    return zlib.crc32(name.encode())


def _commit() -> int:
    """The commit's hash: unlike a count of commits it differs in a shallow clone, too. 0 outside of a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return int(found.stdout, 16) if found.returncode == 0 else 0
