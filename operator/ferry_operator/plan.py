"""What ``decide`` returns and ``act`` carries out: a status to write and actions to take."""

from dataclasses import dataclass

from ferry_operator.names import Object, Role
from ferry_operator.observe import PodView

RESYNC_SECONDS = 120.0
"""Time between rounds that nothing has caused, in case an event was lost."""
SOON_SECONDS = 2.0
"""Time until the round after an action, in case the watch does not deliver its result; usually it does within a
second.
"""
SHORTEST_BACKOFF = 10.0
"""Pause before a refused action is retried: short enough for a person who has just fixed the cause."""
LONGEST_BACKOFF = 300.0
"""Pause for a copier whose configuration is wrong, because each try connects to both databases. Equals the kubelet's
own.
"""
SILENCE_SECONDS = 15.0
"""A copier that has not answered for so long counts as silent."""


@dataclass(frozen=True)
class CreatePod:
    """Create the Pod of this role, and its Secret."""

    role: Role


@dataclass(frozen=True)
class EnsureSecret:
    """Create the Secret of a Pod that has not started: the operator may have been killed before it did."""

    pod: PodView


@dataclass(frozen=True)
class DeletePod:
    """Delete this Pod, by uid."""

    pod: PodView


@dataclass(frozen=True)
class SendDirective:
    """Tell the copier what the spec says now."""

    withdrawn: int | None = None
    """A generation that withdrew the permission to cut over and that the copier has not been told: it is sent first."""


@dataclass(frozen=True)
class DeleteFerry:
    """ttlSecondsAfterFinished has passed."""


@dataclass(frozen=True)
class AddFinalizer:
    """Add our finalizer. kopf does it too, but fails whenever somebody else changes the object just before."""


@dataclass(frozen=True)
class PostEvent:
    """Report what no condition holds, once: of a Ferry that is about to vanish."""

    kind: str
    """Normal or Warning."""
    reason: str
    message: str


Action = CreatePod | EnsureSecret | DeletePod | SendDirective | DeleteFerry | AddFinalizer | PostEvent


@dataclass(frozen=True)
class Plan:
    """``status`` None: keep the present one."""

    status: Object | None = None
    actions: tuple[Action, ...] = ()
    next_look: float = RESYNC_SECONDS
    """Seconds until the next round, if nothing causes one before."""
    released: bool = False
    """Nothing is left to do for a deleted Ferry: the finalizer may be removed."""
    urgent: bool = False
    """The actions need no record, and the user waits for them: take them even if the status cannot be written."""
