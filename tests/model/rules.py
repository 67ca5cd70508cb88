"""The rules of a model's config, as its fields: which of them no case switches off. For the tests of both models.

A rule is a field that is True, or one of several named ways, by default. Bounds and faults are numbers and False.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def never_off(default: Any, cases: Iterable[Any]) -> set[str]:
    """Rules of ``default`` that every case keeps; of several ways each that no case takes, as ``name=way``."""
    cases = list(cases)
    hints = get_type_hints(type(default))
    found: set[str] = set()
    for name in (field.name for field in fields(default)):
        taken = {getattr(case, name) for case in cases}
        if getattr(default, name) is True and taken <= {True}:
            found.add(name)
        if get_origin(hints[name]) is Literal:
            found |= {f"{name}={way}" for way in {*get_args(hints[name])} - {getattr(default, name)} - taken}
    return found
