"""Attack the ferry until the time is over: ``python -m tests.torture --seconds 600 --seed 7``.

Each round has a seed, which is printed. ``--seed`` of a round replays it first; ``--plan FILE`` replays a shrunk one.
"""

import argparse
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from hack.servers import Family
from tests.torture import figures
from tests.torture.figures import Counters
from tests.torture.ground import Ground, plans
from tests.torture.judge import Failed
from tests.torture.plan import Plan
from tests.torture.round import MayGoOn, always
from tests.torture.shrink import shrink

_TRIES = 2
"""How often a smaller plan is played before it counts as one that does not fail."""


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Random faults under load, judged.")
    parser.add_argument("--seconds", type=float, default=600, help="no round begins after that time (default 600)")
    parser.add_argument("--seed", type=int, help="of the first round; by chance if it is left out")
    parser.add_argument("--family", choices=[family.value for family in Family], action="append")
    parser.add_argument("--plan", type=Path, help="replay the plan of this file until the time is over")
    parser.add_argument("--counters", type=Path, help="a JSON file to which the counters are added")
    parser.add_argument("--keep-going", action="store_true", help="play further rounds after one that failed")
    parser.add_argument("--shrink-seconds", type=float, default=900, help="how long a failure is made smaller")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 after a failure, shrunk."""
    options = _options(arguments)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    families = [Family(name) for name in options.family or list(Family)]
    grounds = {family: Ground(family) for family in families}
    total = Counters()
    end = time.monotonic() + options.seconds
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())  # the round under way is judged
    failures = 0

    def may_go_on() -> bool:
        return not stopping.is_set() and time.monotonic() < end

    try:
        for plan in _plans(options.plan, seed, families):
            if not may_go_on():
                break
            played: Counter[str] = Counter()
            failed = _round(grounds[plan.family], plan, played, may_go_on)
            total.add(plan.family, played)
            if options.counters:
                figures.add(options.counters, plan.family, played)
            if failed is not None:
                failures += 1
                _shrunk(grounds[plan.family], plan, failed, options.shrink_seconds)
                if not options.keep_going:
                    break
    finally:
        for ground in grounds.values():
            ground.__exit__()
        print(figures.shown(total))
    return min(failures, 1)


def _plans(path: Path | None, seed: int, families: list[Family]) -> Iterator[Plan]:
    if path is not None:
        plan = Plan.from_json(path.read_text())
        while plan.family in families:
            yield plan
    each = [plans(seed, family) for family in families]
    for one in cycle(each):
        yield next(one)


def _round(ground: Ground, plan: Plan, counters: Counter[str], may_go_on: MayGoOn = always) -> Failed | None:
    began = time.monotonic()
    print(
        f"--seed {plan.seed} --family {plan.family}: {len(plan.tables)} tables, {len(plan.actions)} steps", flush=True
    )
    failed = _played(ground, plan, counters, may_go_on)
    counters.update({"rounds": 1, "seconds": round(time.monotonic() - began)})
    if failed is not None:
        counters[f"failed: {failed.kind}"] += 1
        print(f"FAILED {failed}", flush=True)
    print(f"  {figures.line(counters)}", flush=True)
    return failed


def _played(ground: Ground, plan: Plan, counters: Counter[str], may_go_on: MayGoOn) -> Failed | None:
    try:
        ground.play(plan, counters, may_go_on)
    except Failed as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed is what is needed to look at it
        traceback.print_exc()
        return Failed(type(error).__name__, str(error))
    return None


def _shrunk(ground: Ground, plan: Plan, failed: Failed, seconds: float) -> None:
    end = time.monotonic() + seconds

    def fails(smaller: Plan) -> bool:
        for _ in range(_TRIES):
            again = _round(ground, smaller, Counter())
            if again is not None and again.kind == failed.kind:
                return True
        return False

    smallest = shrink(plan, fails, lambda: time.monotonic() < end)
    print(f"FAILED {failed}\nreplay with --seed {plan.seed} --family {plan.family}, or this plan with --plan FILE:")
    print(smallest.to_json(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
