"""``make model``: explores what takes too long for ``make test``, one case after another, and walks at random.

    python -m tests.model [big | safe | mutants | walks] [--seconds N] [--seed TEXT] [NAME ...]

A name selects the cases that contain it. At most 4 GiB are used; a case that needs more is cut off.
"""

import argparse
import resource
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.model.cases import BIG, SAFE, WALKS
from tests.model.explorer import Found, explore, walk
from tests.model.mutants import MUTANTS
from tests.model.replication import Replication

if TYPE_CHECKING:
    from tests.model.config import Config

MEMORY = 4 << 30
STATES = 6_000_000
FAULTS = ("KILL", "CONNECTION", "RECOPY")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("kind", nargs="?", default="all", choices=["all", "big", "safe", "mutants", "walks"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=600, help="for each case (default 600)")
    parser.add_argument("--seed", default="1", help="of the walks")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    wrong = 0
    for name, found, expected in _explored(asked.kind, asked.names, asked.seconds, asked.seed):
        print(f"{name}: {found}", flush=True)
        wrong += bool(found.wrong) is not expected
    return 1 if wrong else 0


def _explored(kind: str, names: list[str], seconds: float, seed: str) -> Iterator[tuple[str, Found, bool]]:
    def chosen(name: str) -> bool:
        return not names or any(one in name for one in names)

    cases: dict[str, Config] = {}
    if kind in ("all", "big"):
        cases |= BIG
    if kind == "safe":
        cases |= SAFE
    for name, config in cases.items():
        if chosen(name):
            found = explore(Replication(config), seconds, most_states=STATES)
            yield name, explore(Replication(config), seconds, traced=True) if found.wrong else found, False
    for name, mutant in MUTANTS.items() if kind == "mutants" else ():
        if chosen(name):
            yield name, explore(Replication(mutant.config), seconds, traced=True), True
    for name, config in WALKS.items() if kind in ("all", "walks") else ():
        if chosen(name):
            yield f"walks, {name}", walk(Replication(config), seconds / 4, seed, FAULTS), False


if __name__ == "__main__":
    sys.exit(main())
