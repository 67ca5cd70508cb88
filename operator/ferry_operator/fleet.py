"""How many Ferries run at once: first come, first served, by the time of their creation. Called by ``tender``."""

from collections.abc import Callable


class Fleet:
    """Places of running Ferries, by uid. All in one event loop, so nothing here needs a lock."""

    def __init__(self, most: int, wake: Callable[[str], None]) -> None:
        self._most = most
        self._wake = wake
        self._running: set[str] = set()
        self._waiting: dict[str, str] = {}

    def ask(self, uid: str, created: str) -> bool:
        """Take a place if there is one and nobody older waits for it."""
        if self._most == 0 or uid in self._running:
            self._running.add(uid)
            return True
        self._waiting[uid] = created
        if uid not in self._next():
            return False
        self.hold(uid)
        return True

    def hold(self, uid: str) -> None:
        """It runs, whoever allowed it: an operator that was restarted finds it so."""
        self._waiting.pop(uid, None)
        self._running.add(uid)

    def leave(self, uid: str) -> None:
        """Give the place back."""
        self._waiting.pop(uid, None)
        if uid in self._running:
            self._running.discard(uid)
            for each in self._next():
                self._wake(each)

    def _next(self) -> list[str]:
        free = max(0, self._most - len(self._running))
        return sorted(self._waiting, key=lambda uid: (self._waiting[uid], uid))[:free]
