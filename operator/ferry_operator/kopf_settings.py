"""How kopf is configured. Called by ``handlers`` when kopf starts."""

import itertools
from collections.abc import Iterator
from typing import Any

import kopf

from ferry_core.api.crd import GROUP
from ferry_operator.names import FINALIZER, POD_SELECTOR

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Between kopf's retries. Most failures end at once; after a long outage every Ferry waits for the last of these."""


class _EndlessPauses:
    """kopf ends the process when its retries end, and an API server may be unavailable for an hour."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))


class NoEssence(kopf.DiffBaseStorage):
    """Stores nothing of a Ferry to compare it with later. kopf calls what it compares the essence.

    By default kopf keeps the whole spec in an annotation, next to kubectl's own copy. All annotations together are
    limited to 256 KiB: with a spec of 140 KB each of kopf's patches would be refused, including the one that removes
    the finalizer. Deletion, finalizers and daemons work without a comparison.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """Never called: nothing ever differs."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Set what differs from kopf's defaults."""
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NoEssence()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.label_selectors["pods"] = POD_SELECTOR
    settings.queueing.idle_timeout = 1  # until then kopf keeps the last object as it came
    settings.networking.request_timeout = 30  # like our own requests
    settings.networking.error_backoffs = _EndlessPauses()
    settings.background.cancellation_polling = 5  # a stopped reconciler ends with its round, mostly at once
    settings.execution.default_backoff = 15  # after a bug in one of our handlers
    settings.peering.standalone = True
