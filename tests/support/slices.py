"""Which cells of the slow tests ``make test`` runs. Called by ``tests/conftest.py`` after collection.

Slow are the tests of complete moves (tests/e2e), 5 to 60 s each, and those marked so. The cells of a parametrised slow
test (server families, stages of a run, both servers) are divided into slices. One slice is run, chosen by the commit,
so that successive commits cover all cells, and ``make test`` fits its 45 minutes on two cores.

- A complete move is in turn: each of its cells, also a single one, is in one slice.
- Those marked ``always`` guard rows (kills, resumes, fences, races): each slice has at least one cell of them.
- The slow tests of one module of tests/hack, tests/chart and tests/image, which share a cluster, an operator or an
  image, are in one slice together.
- Of any other slow test each slice has at least one cell. What is not slow is in each.
- Of the cases of tests/faults a slice has a tenth, and all that are marked ``always``; none that is marked ``seldom``.
"""

import subprocess
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SLICES = 6
SLICES_OF_FAULTS = 10
FAULTS = Path(__file__).resolve().parents[1] / "faults"
COMPLETE_MOVES = Path(__file__).resolve().parents[1] / "e2e"
MODULES = {Path(__file__).resolve().parents[1] / folder for folder in ("hack", "chart", "image")}


@dataclass(frozen=True)
class Slice:
    """The slice ``number`` of ``of``, counted from 1. Written ``1/6``."""

    number: int
    of: int
    turn: int | None = None
    """Which tenth of the cases of tests/faults; by default ``number`` says it, too."""

    @classmethod
    def parse(cls, text: str) -> "Slice | None":
        """``None`` for ``all``. Raises ValueError for anything but ``all``, ``commit`` and ``number/of``."""
        if text == "all":
            return None
        if text == "commit":
            commit = commit_number()
            return cls(commit % SLICES + 1, SLICES, commit % SLICES_OF_FAULTS)
        number, _, of = text.partition("/")
        chosen = cls(int(number), int(of))
        if not 1 <= chosen.number <= chosen.of:
            raise ValueError(f"--slice {text}: there is no such slice; give all, commit, or one, for example 1/6")
        return chosen

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def left_out(self, items: Sequence[pytest.Item]) -> set[pytest.Item]:
        """Cells of slow tests that belong to another slice."""
        faults = [item for item in items if FAULTS in item.path.parents]
        modules = [item for item in items if not MODULES.isdisjoint(item.path.parents)]
        others = [item for item in items if item not in {*faults, *modules}]
        return (
            self._cells_left_out(others)
            | {item for item in faults if _has_cells(item) and not self._has_fault(item)}
            | {item for item in modules if _is_slow(item) and not self._has_module(item.path)}
        )

    def _has_module(self, path: Path) -> bool:
        return (_first_place(path.name) - self.number + 1) % self.of == 0

    def _has_fault(self, item: pytest.Item) -> bool:
        turn = self.number - 1 if self.turn is None else self.turn
        if item.get_closest_marker("always") is not None:
            return True
        seldom = item.get_closest_marker("seldom") is not None
        return not seldom and (_first_place(item.nodeid) - turn) % SLICES_OF_FAULTS == 0

    def _cells_left_out(self, items: Sequence[pytest.Item]) -> set[pytest.Item]:
        cells: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in items:
            if _is_slow(item) or COMPLETE_MOVES in item.path.parents:
                cells[item.nodeid.partition("[")[0]].append(item)
        return {
            item
            for name, of_one_test in cells.items()
            for place, item in enumerate(of_one_test, start=_first_place(name))
            if place % (slices := self._slices(of_one_test)) != (self.number - 1) % slices
        }

    def _slices(self, cells: Sequence[pytest.Item]) -> int:
        """Over how many slices the cells of one test are divided."""
        return self.of if _in_turn(cells[0]) else min(self.of, len(cells))


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def _in_turn(item: pytest.Item) -> bool:
    return COMPLETE_MOVES in item.path.parents and item.get_closest_marker("always") is None


def _has_cells(item: pytest.Item) -> bool:
    return "[" in item.name


def _first_place(name: str) -> int:
    """Derived from the test's name, so that a slice contains cells of both families."""
    return zlib.crc32(name.encode())


def commit_number() -> int:
    """The commit's hash; unlike the number of commits it works in a shallow clone too. 0 outside of a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return int(found.stdout, 16) if found.returncode == 0 else 0
