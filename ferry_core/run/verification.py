"""Makes the background verification of one start of a run. Called by ``startup``."""

from collections.abc import Callable
from functools import partial

from ferry_core.api.choices import VerifyMode
from ferry_core.intent.intent import Intent
from ferry_core.throttle import Throttle
from ferry_core.verify.verifier import Verifier
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.connections import Connections
from ferry_core.workers.engine import Engine
from ferry_core.workers.passes import Wanted
from ferry_core.workers.stream_waits import StreamWaits
from ferry_core.workers.surroundings import Surroundings, VerificationEvents


def wanted_of(mode: VerifyMode, intent: Intent, throttle: Throttle) -> Wanted:
    """What people want of the verification. Its mode needs another start, the rest is followed at once."""
    return Wanted(
        mode=mode,
        on_mismatch=lambda: intent.now.directive.verify.on_mismatch,
        requests=lambda: intent.now.passes,
        paused=lambda: throttle.pause.paused,
        hold=throttle.hold,
    )


def background(
    verifier: Verifier,
    engine: Engine,
    connections: Connections,
    events: VerificationEvents,
    wanted: Wanted,
) -> BackgroundVerifier:
    def reached_source_end() -> Callable[[], bool]:
        return partial(engine.streamer.reached, connections.source_end())

    waits = StreamWaits(engine.buffer, engine.ending, reached_source_end)
    around = Surroundings(engine.buffer, waits, events, wanted, engine.ending, engine.explained)
    return BackgroundVerifier(verifier, engine.moves, around)
