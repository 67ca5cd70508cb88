"""The words in which ``decide`` answers: a status to write and actions to take. Carried out by ``act``."""

from dataclasses import dataclass

from ferry_operator.names import Object, Role
from ferry_operator.observe import PodView

REST_SECONDS = 120.0
"""A look without cause, should a wake-up have been lost."""
SOON_SECONDS = 2.0
"""A look after an action, should the watch not tell what came of it; it mostly does within a second."""
SHORTEST_BACKOFF = 10.0
"""Before what was refused is tried again: whoever mends the cause looks for so long, and no API server minds."""
LONGEST_BACKOFF = 300.0
"""Of a copier whose configuration is wrong, as the kubelet's own longest pause: each try connects to both databases."""
SILENCE_SECONDS = 15.0
"""A copier that has not answered for so long is not known to be well."""


@dataclass(frozen=True)
class CreatePod:
    """Make the Pod of this role, and its Secret."""

    role: Role


@dataclass(frozen=True)
class EnsureSecret:
    """Make the Secret of a Pod that has not started: its maker may have been killed in between."""

    pod: PodView


@dataclass(frozen=True)
class DeletePod:
    """Ask this very Pod to end."""

    pod: PodView


@dataclass(frozen=True)
class SendDirective:
    """Tell the copier what the spec says now."""

    withdrawn: int | None = None
    """A generation without permission to cut over that it has missed: of that one it is told first."""


@dataclass(frozen=True)
class DeleteFerry:
    """Its time to live is over."""


@dataclass(frozen=True)
class HoldFerry:
    """Put our finalizer on it. kopf would too, but only in a moment in which nobody else changes the object."""


Action = CreatePod | EnsureSecret | DeletePod | SendDirective | DeleteFerry | HoldFerry


@dataclass(frozen=True)
class Plan:
    """``status`` None: leave it as it is."""

    status: Object | None = None
    actions: tuple[Action, ...] = ()
    next_look: float = REST_SECONDS
    released: bool = False
    """Nothing is left to do for a deleted Ferry: its finalizer may go."""
    urgent: bool = False
    """What the user asked for, and what needs no record: done also where the status cannot be written."""
