"""The servers of a family for round after round: the source restarted with each plan's flags, new after a lost tail."""

import contextlib
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from hack.servers import Family
from tests.support.servers import Pair, ServerPool
from tests.torture.plan import Plan, make_plan
from tests.torture.round import MayGoOn, Round, always

_CHARSETS = ("utf8mb4", "latin1", "utf8mb4 COLLATE utf8mb4_bin")


class Ground:
    """``with Ground(family) as ground: ground.play(plan)``."""

    def __init__(self, family: Family, pool: ServerPool | None = None) -> None:
        self.family = family
        self._pool = pool or ServerPool()
        self._pair: Pair | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def play(self, plan: Plan, counters: Counter[str], may_go_on: MayGoOn = always) -> None:
        """Carry it out, and count what really happened; no fault once it ``may_go_on`` no longer. Raises Failed."""
        began = time.monotonic()
        pair = self._ready(plan)
        schema = f"torture_{plan.seed}_{next(self._numbers)}"
        charset = random.Random(plan.seed).choice(_CHARSETS)
        pair.source.execute(f"CREATE DATABASE `{schema}` CHARACTER SET {charset}")
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            played = Round(plan, pair, schema, Path(folder), counters, may_go_on)
            counters["ms of preparing"] += round(1000 * (time.monotonic() - began))
            try:
                played.run()
            finally:
                began = time.monotonic()
                self._cleaned(played)
                counters["ms of cleaning"] += round(1000 * (time.monotonic() - began))

    def _ready(self, plan: Plan) -> Pair:
        if self._pair is None:
            source = self._pool.start(self.family, dict(plan.flags))
            self._pair = Pair(source, self._pool.start(self.family, {}))
        source = self._pair.source
        assert source.instance is not None
        if source.instance.flags != source.instance.flags | plan.flags:
            source.restart(**plan.flags)
        return self._pair

    def _cleaned(self, played: Round) -> None:
        """New servers after a lost tail, or if these are no longer of use."""
        if played.tail_lost or not self._dropped():
            self._end()

    def _dropped(self) -> bool:
        assert self._pair is not None
        with contextlib.suppress(Exception):
            for server in (self._pair.source, self._pair.target):
                server.start()
                server.drop_schemas("torture_")
            return True
        return False

    def _end(self) -> None:
        if self._pair is not None:
            self._pool.end(self._pair.source)
            self._pool.end(self._pair.target)
            self._pair = None


def plans(seed: int, family: Family) -> Iterator[Plan]:
    """Without an end: the first has this seed, and each next one another that follows from it."""
    rng = random.Random(seed)
    while True:
        yield make_plan(seed, family)
        seed = rng.randrange(10**9)
