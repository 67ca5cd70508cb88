"""Explores a model: every interleaving, breadth first, so that what it finds is as short as can be; or at random.

A model has ``begins`` (its first states), ``steps`` (label and next state of everything that may happen), ``wrong``
(what is wrong with a state, empty if nothing) and ``may_end`` (whether nothing more needs to happen). A state is a
value that can be hashed. Only 64-bit hashes of states are kept.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Label = tuple[object, ...]
S = TypeVar("S")


class Model(Protocol[S]):
    def begins(self) -> Iterable[tuple[Label, S]]: ...
    def steps(self, state: S, /) -> Iterable[tuple[Label, S]]: ...
    def wrong(self, state: S, /) -> str: ...
    def may_end(self, state: S, /) -> bool: ...


@dataclass(frozen=True)
class Found:
    """``wrong`` is empty if nothing was found; ``complete``: there is nothing else to look at."""

    wrong: str
    complete: bool
    states: int
    seconds: float
    trace: tuple[Label, ...] = ()

    def __str__(self) -> str:
        verdict = self.wrong or ("nothing found" if self.complete else "nothing found so far")
        lines = [f"{verdict}; {self.states:,} states, {self.seconds:.0f} s"]
        return "\n".join(lines + ["    " + " ".join(map(str, label)) for label in self.trace])


def explore(model: Model[S], seconds: float, *, traced: bool = False, most_states: int = 14_000_000) -> Found:
    """Until something wrong is found, everything was seen, or time is up. ``traced`` costs three times the memory."""
    return _Exploration(model, traced=traced).run(seconds, most_states)


class _Exploration(Generic[S]):
    def __init__(self, model: Model[S], *, traced: bool) -> None:
        self._model = model
        self._began = time.monotonic()
        self._seen: set[int] = set()
        self._queue: deque[S] = deque()
        self._came_from: dict[int, tuple[int, Label]] | None = {} if traced else None

    def run(self, seconds: float, most_states: int) -> Found:
        self._reach(self._model.begins(), 0)
        while self._queue:
            state = self._queue.popleft()
            if wrong := self._wrong(state):
                return self._found(wrong, hash(state))
            if len(self._seen) > most_states or (not len(self._queue) & 255 and self._seconds > seconds):
                return self._found("")
        return self._found("", complete=True)

    def _wrong(self, state: S) -> str:
        """What is wrong with a state; goes on to those behind it."""
        if wrong := self._model.wrong(state):
            return wrong
        if not self._reach(self._model.steps(state), hash(state)) and not self._model.may_end(state):
            return "nothing can happen any more"
        return ""

    def _reach(self, steps: Iterable[tuple[Label, S]], before: int) -> bool:
        """Whether there was a step."""
        any_step = False
        for label, state in steps:
            any_step = True
            ident = hash(state)
            if ident not in self._seen:
                self._seen.add(ident)
                self._queue.append(state)
                if self._came_from is not None:
                    self._came_from[ident] = before, label
        return any_step

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _found(self, wrong: str, ident: int = 0, *, complete: bool = False) -> Found:
        labels = []
        while self._came_from and ident in self._came_from:
            ident, label = self._came_from[ident]
            labels.append(label)
        return Found(wrong, complete, len(self._seen), self._seconds, tuple(reversed(labels)))


def walk(model: Model[S], seconds: float, seed: str, rare: tuple[str, ...] = ()) -> Found:
    """At random, from a start to an end, again and again. Labels that begin with one of ``rare`` are left out of many
    walks. ``states`` counts walks.
    """
    chance = random.Random(seed)
    begins = list(model.begins())
    began, walks = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        label, state = chance.choice(begins)
        path = [label]
        bias = chance.random()
        while steps := list(model.steps(state)):
            if chance.random() < bias:
                steps = [step for step in steps if not str(step[0][0]).startswith(rare)] or steps
            label, state = chance.choice(steps)
            path.append(label)
            if wrong := model.wrong(state):
                return Found(wrong, complete=False, states=walks, seconds=time.monotonic() - began, trace=tuple(path))
        walks += 1
    return Found("", complete=False, states=walks, seconds=time.monotonic() - began)
