"""Makes a plan that fails smaller: halves of its faults, tables and kinds of writes, while it fails in the same way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.torture.plan import Plan

T = TypeVar("T")

Fails = Callable[[Plan], bool]
"""Plays it, some times if need be: whether it fails in the way that is looked for."""


def shrink(plan: Plan, fails: Fails, may_go_on: Callable[[], bool]) -> Plan:
    """The smallest plan found."""
    while smaller := next((one for one in _smaller(plan) if may_go_on() and fails(one)), None):
        plan = smaller
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    yield from _fewer_faults(plan)
    yield from (replace(plan, tables=tables) for tables in _parts(plan.tables))
    yield from (replace(plan, kinds=kinds) for kinds in _parts(plan.kinds) if kinds)
    plain = tuple(replace(shape, extras=(), partitions=0, row_format="") for shape in plan.tables)
    simpler = [replace(plan, threads=1), replace(plan, tables=plain), replace(plan, spec={}), replace(plan, options=())]
    yield from (one for one in simpler if one != plan)


def _fewer_faults(plan: Plan) -> Iterator[Plan]:
    yield from (plan.with_actions(actions) for actions in _parts(plan.actions))
    for number, action in enumerate(plan.actions):
        for faults in _parts(action.faults) if len(action.faults) > 1 else ():
            one = replace(action, faults=faults)
            yield replace(plan, actions=(*plan.actions[:number], one, *plan.actions[number + 1 :]))


def _parts(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Each half, then all but one quarter, and of a few all but one."""
    size = (len(items) + 1) // 2
    while items:
        for start in range(0, len(items), size):
            if size * 2 >= len(items):
                yield tuple(items[start : start + size]) if len(items) > 1 else ()
            else:
                yield (*items[:start], *items[start + size :])
        if size == 1:
            return
        size = (size + 1) // 2
