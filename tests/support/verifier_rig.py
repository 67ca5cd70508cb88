"""A BackgroundVerifier without servers, which always sees a difference. Used by the tests of its waits and passes."""

import threading
from collections.abc import Callable
from functools import partial
from unittest.mock import Mock

from ferry_core.api.choices import OnMismatch, VerifyMode
from ferry_core.binlog.sink import StreamMark
from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.intent.pass_requests import PassRequests
from ferry_core.moves.move import MoveState
from ferry_core.verify.difference import Difference, DifferenceKind
from ferry_core.verify.unproven import Batch
from ferry_core.verify.verifier import Proof
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.explained import Explained
from ferry_core.workers.passes import Wanted
from ferry_core.workers.stream_waits import StreamWaits
from ferry_core.workers.surroundings import Surroundings
from tests.support.tables import decode, mark, move_of

MOVE = move_of()
DIFFERS = Difference(MOVE.table, ("1",), DifferenceKind.CHANGED)


def flush(buffer: ChangeBuffer) -> None:
    """As a flusher does."""
    generation = buffer.take(MOVE, 100)
    assert generation is not None
    buffer.committed(MOVE, generation)


class VerifierRig:
    """A BackgroundVerifier over a verifier that always sees a difference, with a stream that stands at 1."""

    def __init__(self, source_end: Callable[[], StreamMark], mode: VerifyMode = VerifyMode.FINAL) -> None:
        MOVE.unproven.whole = False
        MOVE.state = MoveState.FOLLOWING
        self.buffer = ChangeBuffer(mark(1))
        self.ending = Cancellation()
        self.verifier = Mock()
        self.verifier.unproven.whole_moves.return_value = []
        self.verifier.unproven.named.return_value = set()
        self.verifier.prove_some.return_value = Proof(found=[(Batch(MOVE, (b"1",), decode, 1), [DIFFERS])])
        self.verifier.steady.return_value = [DIFFERS]
        self.events = Mock()
        self.requests = PassRequests()
        self.on_mismatch = OnMismatch.FAIL
        self.paused = False
        self.waits = StreamWaits(self.buffer, self.ending, lambda: partial(self._reached, source_end()))
        wanted = Wanted(mode, lambda: self.on_mismatch, lambda: self.requests, lambda: self.paused, Mock())
        around = Surroundings(self.buffer, self.waits, self.events, wanted, self.ending, Explained(Mock(), self.ending))
        self.verification = BackgroundVerifier(self.verifier, [MOVE], around)

    def _reached(self, end: StreamMark) -> bool:
        return self.buffer.processed.contains(end)

    def in_thread(self, body: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread
