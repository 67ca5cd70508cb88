"""The epochs of one process. It starts a run again after most faults, and takes another epoch for each start.

A start may fail after it has taken its epoch, or lose the answer to the COMMIT that takes it. The next start must not
mistake that epoch for a newer run's, to which it would leave the target.
"""

from typing import Protocol

from ferry_core.errors import Fenced
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason


class Taken(Protocol):
    """The required part of a lease row. ``updated_at`` is the target's clock when that epoch was taken: whoever takes
    the same one after us, because our COMMIT was rolled back, does so later.
    """

    @property
    def epoch(self) -> int: ...

    @property
    def updated_at(self) -> str: ...


class Epochs:
    """Those taken so far. None yet: whatever the lease says was before us."""

    def __init__(self, newest: int | None = None) -> None:
        self.newest = newest
        self._tried: tuple[int, str] | None = None

    def tries(self, lease: Taken) -> None:
        """Before the COMMIT."""
        self._tried = lease.epoch, lease.updated_at

    def took(self, epoch: int) -> None:
        self.newest = epoch

    def include(self, lease: Taken) -> bool:
        """False: a newer run's."""
        known = self.newest is None or lease.epoch <= self.newest
        return known or (lease.epoch, lease.updated_at) == self._tried


def newer_run(session: Session, epoch: int, ours: int) -> Fenced:
    return Fenced(
        Reason.NEWER_RUN,
        f"a newer run of this Ferry took over {session.endpoint.address} (epoch {epoch}, this one has {ours}); this "
        "run stops and leaves everything to the newer one",
    )
