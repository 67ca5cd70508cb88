"""What happened in rounds, counted: added up over runs in a file, and shown.

``python -m tests.torture.figures FILE ...`` adds up what several runs have written.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from hack.servers import Family
from tests.torture.faults import COUNTED

WHOLE = ("rounds", "seconds", *COUNTED, "runs completed", "runs refused", "runs started over", "statements held back")
"""What a round's line shows. Other counters are parts of these, failures, and milliseconds."""


_LONGEST = "longest "
"""How names of milliseconds begin that are not added up."""


class Counters(defaultdict[Family, Counter[str]]):
    """By family."""

    def __init__(self) -> None:
        super().__init__(Counter)

    def add(self, family: Family, counted: Counter[str]) -> None:
        mine = self[family]
        for name, number in counted.items():
            mine[name] = max(mine[name], number) if name.startswith(_LONGEST) else mine[name] + number


def add(path: Path, family: Family, counted: Counter[str]) -> None:
    """To what is in the file. One process at a time may."""
    total = read(path) if path.exists() else Counters()
    total.add(family, counted)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({one: dict(sorted(found.items())) for one, found in total.items()}, indent=1))
    partial.replace(path)


def read(*paths: Path) -> Counters:
    total = Counters()
    for path in paths:
        for family, counted in json.loads(path.read_text()).items():
            total.add(Family(family), Counter(counted))
    return total


def line(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {counted[name]}" for name in WHOLE if counted[name])


def shown(total: Counters) -> str:
    """Each family: what happened, its parts, and last where the time went."""
    lines = []
    for family, counted in total.items():
        lines.append(f"{family}:")
        order = sorted(counted, key=lambda name: (name.startswith("ms of "), name not in WHOLE, name))
        lines += [f"  {name:50} {counted[name]:8}" for name in order]
    return "\n".join(lines)


if __name__ == "__main__":
    print(shown(read(*map(Path, sys.argv[1:]))))
