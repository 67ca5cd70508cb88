"""When tables that are proven are compared again: on request, and with ``verify.mode: Continuous`` all the time.

Used by ``background_verifier``, whose thread owns this.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ferry_core.api.choices import OnMismatch, VerifyMode
from ferry_core.cancellation import Cancellation
from ferry_core.intent.pass_requests import PassRequests
from ferry_core.moves.move import TableMove
from ferry_core.tables.table import ALL_ROWS_RAW, KeyLiterals
from ferry_core.verify.unproven import UnprovenKeys

SHORTEST_PAUSE_SECONDS = 30.0
PAUSE_FACTOR = 4.0
"""``Continuous`` waits this many times as long as the last pass took, so it compares a fifth of the time."""


@dataclass(frozen=True)
class Wanted:
    """What people want of the verification now; each is asked again and again."""

    mode: VerifyMode
    on_mismatch: Callable[[], OnMismatch]
    requests: Callable[[], PassRequests]
    paused: Callable[[], bool]
    hold: Callable[[Cancellation], object]
    """Returns when no signal throttles."""


@dataclass(frozen=True)
class Due:
    """A pass that is due now. ``request``: number of the newest request that it answers; 0 without one."""

    moves: Sequence[TableMove]
    request: int = 0
    complete: bool = True
    """Whether it covers all tables."""
    answered: int = 0
    """The newest request that was answered before it began."""


class Passes:
    """Knows which pass is due, and when the last one is decided."""

    def __init__(self, moves: Iterable[TableMove], unproven: UnprovenKeys, wanted: Wanted) -> None:
        self._moves = moves
        self._unproven = unproven
        self._wanted = wanted
        self._next = 0.0
        self._begun = wanted.requests().newest  # the first pass answers the requests before it
        self._suspects: dict[TableMove, Sequence[KeyLiterals]] = {}
        self._whole: dict[TableMove, int] = {}
        """Suspected tables that are copied whole, with the number of their newest event then."""

    @property
    def undecided(self) -> bool:
        """Whether rows that a pass has found are not known yet to be equal, copied again, or changed by the source."""
        for move, newest in list(self._whole.items()):
            now = self._unproven.newest(move, ALL_ROWS_RAW)
            if now != newest or not now:  # 0: it is proven
                del self._whole[move]
        for move, keys in list(self._suspects.items()):
            held = set(self._unproven.holds(move, keys))
            left = {key for key in keys if key in held}
            left -= self._unproven.named(move, left, by_events=True)
            if left:
                self._suspects[move] = tuple(left)
            else:
                del self._suspects[move]
        return bool(self._suspects or self._whole)

    def due(self) -> Due | None:
        """The pass to begin now, if any. Tables that are unproven as a whole get another one anyway."""
        requests = self._wanted.requests()
        moves = [*self._moves]
        compared = [move for move in moves if move.copied and not move.unproven.whole]
        if self._wanted.paused():
            return None
        if requests.newest > self._begun:
            asked = [move for move in moves if requests.names(move.id, self._begun)]
            if not set(asked) <= set(compared):
                return None
            return Due(asked, requests.newest, complete=len(asked) == len(moves), answered=self._begun)
        if self._wanted.mode is VerifyMode.CONTINUOUS and time.monotonic() >= self._next:
            return Due(compared)
        return None

    def hindered(self, due: Due) -> str:
        """Why a pass that runs has to end early; empty if nothing is in its way. Any thread."""
        if self._wanted.paused():
            return "the run is paused"
        if due.request:
            return ""
        if self._wanted.requests().newest > self._begun:
            return "a pass was asked for"
        return "a table needs a full pass" if self._unproven.whole_moves() else ""

    def began(self, due: Due) -> None:
        """Later requests need another pass."""
        self._begun = max(self._begun, due.request)

    def ended(self, seconds: float, suspects: Mapping[TableMove, Sequence[KeyLiterals]] | None = None) -> None:
        """A pass of that many seconds has ended, and found these rows."""
        self._next = time.monotonic() + max(SHORTEST_PAUSE_SECONDS, PAUSE_FACTOR * seconds)
        for move, keys in (suspects or {}).items():
            self.suspected(move, keys)

    def suspected(self, move: TableMove, keys: Sequence[KeyLiterals]) -> None:
        """These rows were found to differ, and are unproven. ``undecided`` until it is known what becomes of them."""
        if move.table.whole:
            self._whole[move] = self._unproven.newest(move, ALL_ROWS_RAW)
        else:
            self._suspects[move] = tuple(dict.fromkeys([*self._suspects.get(move, ()), *keys]))

    def interrupted(self, due: Due) -> None:
        """One that was asked for begins again as soon as it may, with all that was asked for since the last answer."""
        if due.request:
            self._begun = due.answered
        else:
            self._next = time.monotonic() + SHORTEST_PAUSE_SECONDS
