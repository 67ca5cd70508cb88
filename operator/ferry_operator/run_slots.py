"""Limits how many Ferries run at once (``maxRunning``): first come, first served, by creation time.

Called by ``reconciler`` and ``handlers``.
"""

from collections.abc import Callable


class RunSlots:
    """The slots, by uid of the Ferry that has one. One event loop uses them, so there is no lock."""

    def __init__(self, most: int, wake: Callable[[str], None]) -> None:
        self._most = most
        self._wake = wake
        self._running: set[str] = set()
        self._waiting: dict[str, str] = {}

    def acquire(self, uid: str, created: str) -> bool:
        """Take a slot if one is free and no older Ferry waits for it; else wait in the queue."""
        if self._most == 0 or uid in self._running:
            self._running.add(uid)
            return True
        self._waiting[uid] = created
        if uid not in self._next():
            return False
        self.adopt(uid)
        return True

    def adopt(self, uid: str) -> None:
        """Record that it runs, over the limit too: a restarted operator finds its copier running."""
        self._waiting.pop(uid, None)
        self._running.add(uid)

    def release(self, uid: str) -> None:
        """Return the slot, or leave the queue."""
        self._waiting.pop(uid, None)
        if uid in self._running:
            self._running.discard(uid)
            for each in self._next():
                self._wake(each)

    def _next(self) -> list[str]:
        free = max(0, self._most - len(self._running))
        return sorted(self._waiting, key=lambda uid: (self._waiting[uid], uid))[:free]
