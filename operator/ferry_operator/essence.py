"""What kopf remembers of a Ferry to tell later what was changed: nothing. Called by ``handlers``.

Its own way keeps the whole spec in an annotation, beside kubectl's own copy of it. All annotations together may have
256 KiB: with a spec of 140 KB each patch of kopf would be refused, the one that takes the finalizer away among them.
"""

from typing import Any

import kopf


class NoEssence(kopf.DiffBaseStorage):
    """Every Ferry looks the same, seen before and unchanged; deletion, finalizers and daemons need no more."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """Never asked to: nothing ever differs."""
