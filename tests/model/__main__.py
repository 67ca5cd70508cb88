"""``make model``: explores what takes too long for ``make test``, one case after another, and walks at random.

    python -m tests.model [all | big | safe | mutants | walks] [NAME ...] [--seconds N] [--seed TEXT]

A name selects the cases that contain it. At most 4 GiB are used; a case that needs more, or more time, is cut off.
"""

import argparse
import resource
import sys
from collections.abc import Iterator
from typing import Any

from tests.model import cases, cutover_cases, mutants
from tests.model.cutover import Cutover
from tests.model.explorer import Found, Model, explore, walk
from tests.model.replication import Replication

MEMORY = 4 << 30
STATES = 6_000_000
FAULTS = ("KILL", "CONNECTION", "RECOPY")

Cases = dict[str, Model[Any]]


def _cases(kind: str) -> Cases:
    if kind == "mutants":
        found: Cases = {name: Replication(mutant.config) for name, mutant in mutants.MUTANTS.items()}
        return found | {f"cutover: {name}": Cutover(one.config) for name, one in cutover_cases.MUTANTS.items()}
    replication, cutover = (cases.SAFE, cutover_cases.SAFE) if kind == "safe" else (cases.BIG, cutover_cases.BIG)
    found = {name: Replication(config) for name, config in replication.items()}
    return found | {f"cutover: {name}": Cutover(config) for name, config in cutover.items()}


def _explored(kind: str, seconds: float, names: list[str]) -> Iterator[tuple[str, Found]]:
    for name, model in _cases(kind).items():
        if not names or any(one in name for one in names):
            found = explore(model, seconds, most_states=STATES)
            yield name, explore(model, 3 * seconds, traced=True) if found.wrong else found


def _walked(seconds: float, seed: str, names: list[str]) -> Iterator[tuple[str, Found]]:
    for name, config in cases.WALKS.items():
        if not names or any(one in name for one in names):
            yield f"walks, {name}", walk(Replication(config), seconds, seed, FAULTS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Explore the model of the rules.")
    parser.add_argument("kind", nargs="?", default="all", choices=["all", "big", "safe", "mutants", "walks"])
    parser.add_argument("names", nargs="*", help="only cases that contain one of these")
    parser.add_argument("--seconds", type=float, default=600, help="for each case (default 600)")
    parser.add_argument("--seed", default="1", help="of the walks")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    unexpected = 0
    if asked.kind != "walks":
        kind = "big" if asked.kind == "all" else asked.kind
        for name, found in _explored(kind, asked.seconds, asked.names):
            print(f"{name}: {found}", flush=True)
            unexpected += bool(found.wrong) is not (kind == "mutants")
    if asked.kind in ("all", "walks"):
        for name, found in _walked(asked.seconds, asked.seed, asked.names):
            print(f"{name}: {found}", flush=True)
            unexpected += bool(found.wrong)
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
