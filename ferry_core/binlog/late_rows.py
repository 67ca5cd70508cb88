"""Which row changes since an attempt to cut over began can only be of rows that a row filter does not select.

Other tenants may go on writing to a table of which only one tenant's rows move. The stream notes of each event what its
images show of the filter's columns; whether that is selected, the source says later (``run.late_writes``).
"""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Generic, NamedTuple

from ferry_core.binlog.followed import M
from ferry_core.tables.table import KeyLiterals

MOST_KEYS = 200_000
"""What comes later counts without being looked at."""


class _Event(NamedTuple, Generic[M]):
    at: int
    followed: M
    keys: Collection[bytes]
    values: Collection[KeyLiterals]


class LateRows(Generic[M]):
    """``saw`` and ``settled`` are called by the stream's thread, everything else by the coordinator's."""

    def __init__(self) -> None:
        self.listening = False
        self._lock = threading.Lock()
        self._changes: Callable[[], int] = int
        self._seen = 0
        self._keys = 0
        self._events: list[_Event[M]] = []
        self._others: dict[M, set[bytes]] = {}

    def listen(self, changes: Callable[[], int]) -> None:
        """From now on. ``changes`` is the number of all row changes so far."""
        with self._lock:
            self._changes, self._seen, self._keys = changes, changes(), 0
            self._events, self._others = [], {}
            self.listening = True

    def stop(self) -> None:
        self.listening = False

    def saw(self, followed: M, keys: Sequence[bytes], values: Collection[KeyLiterals] | None) -> None:
        """An event that the sink has taken in. ``values`` None: the images do not show them."""
        with self._lock:
            before, self._seen = self._seen, self._changes()
            if values is None or self._seen - before != len(keys) or self._keys > MOST_KEYS:
                self._others.setdefault(followed, set()).update(keys)
                return
            self._keys += len(keys)
            self._events.append(_Event(self._seen, followed, keys, values))

    def settled(self) -> None:
        """A transaction has ended."""
        with self._lock:
            self._seen = self._changes()

    def count(self, since: int, selected: Callable[[M, KeyLiterals], bool]) -> int:
        """Changes since that number, without those of rows that are not selected."""
        with self._lock:
            events, seen = list(self._events), self._seen
        late = [event for event in events if event.at > since]
        return seen - since - sum(len(event.keys) for event in late if not _any_selected(event, selected))

    def ruled_out(self, followed: M, selected: Callable[[M, KeyLiterals], bool]) -> set[bytes]:
        """Keys that only rows which are not selected have had."""
        with self._lock:
            events, others = list(self._events), self._others.get(followed, set()).copy()
        mine = [event for event in events if event.followed is followed]
        ours = others.union(*(event.keys for event in mine if _any_selected(event, selected)))
        return set[bytes]().union(*(event.keys for event in mine)) - ours


def _any_selected(event: _Event[M], selected: Callable[[M, KeyLiterals], bool]) -> bool:
    return any(selected(event.followed, values) for values in event.values)
