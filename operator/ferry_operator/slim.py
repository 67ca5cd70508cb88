"""Makes small what is kept of the cluster's objects: of each Ferry all that JSON gave, for as long as the Ferry lives.

Measured at 1,000 Ferries: 55 KiB each before, of which half is ``managedFields`` that nobody reads, and much of the
rest names and words that each object has a copy of. What is kept for seconds counts as well where a thousand start
together: Python does not give back what is free here and there. Called by ``handlers``, ``act`` and ``kube``.
"""

import sys
from typing import Any

from ferry_operator.names import Object

_SHORT = 40
"""Longer texts are hardly ever the same twice."""


def strip(metadata: Object) -> None:
    """In place, as soon as it comes: whole lists wait until all is indexed."""
    metadata.pop("managedFields", None)


def husk(pod: Object) -> None:
    """In place, once it is read: kopf keeps the newest one until its worker for that Pod ends."""
    for name in ("spec", "status"):
        pod.pop(name, None)


def slim(ferry: Object) -> Object:
    """In place, and given back."""
    strip(ferry["metadata"])
    for name in list(ferry):
        ferry[name] = _shared(ferry[name])
    return ferry


def _shared(value: Any) -> Any:
    """The same, of strings that all Ferries share."""
    match value:
        case str():
            return sys.intern(value) if len(value) <= _SHORT else value
        case dict():
            return {sys.intern(key): _shared(each) for key, each in value.items()}
        case list():
            return [_shared(each) for each in value]
    return value
