"""The moments of a run, each forced: a proxy holds back the statement that the moment is about, or the run is stopped.

``MOMENTS[name]`` is a context. Entered, the run has reached the moment and stays there; on leaving it goes on.
"""

import contextlib
from collections.abc import Callable, Iterator

from ferry_core.api.report import Stage
from ferry_core.mysql.literals import string
from tests.faults.scene import Scene
from tests.support.ferry_under_load import RECORDS_COMPLETED
from tests.support.proxy import Proxy
from tests.support.waits import wait_until

_INTENT = f"phase = {string(Stage.CUTTING_OVER.value)}".encode()
_LOCKS = b"SET /* mysql-ferry source lock"
_HASHES = b"BIT_XOR("
_XA = b"XA RECOVER"

Moment = Callable[[Scene], contextlib.AbstractContextManager[None]]


def load_into(scene: Scene, table: str) -> bytes:
    """The beginning of the statement that writes rows of this table."""
    return f"LOAD DATA LOCAL INFILE 'ferry' REPLACE INTO TABLE `{scene.schema}`.`{table}`".encode()


@contextlib.contextmanager
def _held(scene: Scene, proxy: Proxy, pattern: bytes, skip: int = 0, *, approve: bool = False) -> Iterator[None]:
    proxy.hold(pattern, skip)
    if approve:
        scene.approve()
    elif scene.ended:
        scene.ferry.start()
    proxy.wait_held()
    yield
    proxy.release()


@contextlib.contextmanager
def validating(scene: Scene) -> Iterator[None]:
    with _held(scene, scene.source_proxy, _XA):
        yield


@contextlib.contextmanager
def creating(scene: Scene) -> Iterator[None]:
    """The first table of the target."""
    with _held(scene, scene.proxy, f"CREATE TABLE `{scene.schema}`".encode()):
        yield


@contextlib.contextmanager
def tracking_begins(scene: Scene) -> Iterator[None]:
    """The stream has its position; prepared transactions are about to be listed. Preflight has listed them before."""
    with _held(scene, scene.source_proxy, _XA, skip=1):
        yield


@contextlib.contextmanager
def copying(scene: Scene) -> Iterator[None]:
    """A chunk has been read and not written. Another table is copied: a run without any row would validate again."""
    with _held(scene, scene.proxy, load_into(scene, "bulk")):
        wait_until(lambda: f"table {scene.schema}.aim is copied" in scene.ferry.log.read_text(), "a table is copied")
        yield


@contextlib.contextmanager
def committing(scene: Scene) -> Iterator[None]:
    """A chunk is written, and its COMMIT does not reach the target."""
    with _held(scene, scene.proxy, load_into(scene, "bulk")):
        scene.proxy.release(then=b"COMMIT")
        scene.proxy.wait_held()
        yield


@contextlib.contextmanager
def streaming(scene: Scene) -> Iterator[None]:
    """Changed keys have been read and not written."""
    scene.ferry.start().wait_stage("ReadyForCutover")
    with _held(scene, scene.proxy, load_into(scene, "clock")):
        yield


@contextlib.contextmanager
def verifying(scene: Scene) -> Iterator[None]:
    """The full pass asks the source for its first hash."""
    with _held(scene, scene.source_proxy, _HASHES):
        yield


@contextlib.contextmanager
def ready(scene: Scene) -> Iterator[None]:
    scene.ferry.start().wait_stage("ReadyForCutover")
    yield


@contextlib.contextmanager
def intent(scene: Scene) -> Iterator[None]:
    """The attempt's start is about to be recorded."""
    with _held(scene, scene.proxy, _INTENT, approve=True):
        yield


@contextlib.contextmanager
def locking(scene: Scene) -> Iterator[None]:
    """The statement that stops writes does not reach the source."""
    with _held(scene, scene.source_proxy, _LOCKS, approve=True):
        yield


@contextlib.contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Writes are stopped; whether transactions are prepared is about to be asked."""
    with _held(scene, scene.source_proxy, _LOCKS, approve=True):
        scene.source_proxy.release()
        scene.source_proxy.hold(_XA)
        scene.source_proxy.wait_held()
        wait_until(lambda: scene.locked, "writes are stopped")
        yield


@contextlib.contextmanager
def draining(scene: Scene) -> Iterator[None]:
    """Writes are stopped, and a change of before cannot reach the target."""
    scene.ferry.start()
    with scene.held_in_drain():
        yield


@contextlib.contextmanager
def recording(scene: Scene) -> Iterator[None]:
    """Everything is proven; the statement that records the cutover does not reach the target."""
    with _held(scene, scene.proxy, RECORDS_COMPLETED, approve=True):
        yield


@contextlib.contextmanager
def watching(scene: Scene) -> Iterator[None]:
    scene.approve().wait_stage("Completed")
    yield


@contextlib.contextmanager
def stopped_copying(scene: Scene) -> Iterator[None]:
    """The copier was killed while it copied, and starts again afterwards."""
    with copying(scene):
        scene.ferry.kill()
    yield
    scene.ferry.start()


@contextlib.contextmanager
def stopped_streaming(scene: Scene) -> Iterator[None]:
    with streaming(scene):
        scene.ferry.kill()
    yield
    scene.ferry.start()


@contextlib.contextmanager
def stopped_locked(scene: Scene) -> Iterator[None]:
    """The copier was killed under the lock of its cutover."""
    with locked(scene):
        scene.ferry.kill()
    yield
    scene.ferry.start()


@contextlib.contextmanager
def resuming(scene: Scene) -> Iterator[None]:
    """The second start of a copier that was killed while it copied lists prepared transactions before it goes on."""
    with copying(scene):
        scene.ferry.kill()
    with _held(scene, scene.source_proxy, _XA, skip=1):
        yield


WATCH_SECONDS = {"watching": "15s"}
"""How long the run watches the source after the cutover, for moments that are then."""

MOMENTS: dict[str, tuple[str, Moment]] = {
    "validating": ("Validating", validating),
    "creating": ("Creating tables", creating),
    "tracking": ("Tracking begins", tracking_begins),
    "copying": ("Copying: a chunk is read, not written", copying),
    "committing": ("Copying: a chunk is written, not committed", committing),
    "streaming": ("Streaming: changed keys are read, not written", streaming),
    "verifying": ("Verifying", verifying),
    "ready": ("ReadyForCutover", ready),
    "intent": ("CuttingOver: before its start is recorded", intent),
    "locking": ("CuttingOver: before writes are stopped", locking),
    "locked": ("CuttingOver: writes are stopped", locked),
    "draining": ("CuttingOver: draining", draining),
    "recording": ("CuttingOver: before it is recorded", recording),
    "watching": ("Watching after the cutover", watching),
    "stopped copying": ("killed while copying", stopped_copying),
    "stopped streaming": ("killed while streaming", stopped_streaming),
    "stopped locked": ("killed with writes stopped", stopped_locked),
    "resuming": ("Resuming", resuming),
}

STARTING = ("validating", "creating", "tracking")
COPYING = ("copying", "committing")
FOLLOWING = ("streaming", "verifying", "ready")
ATTEMPT = ("intent", "locking", "locked", "draining", "recording")
BEFORE_CUTOVER = (*STARTING, *COPYING, *FOLLOWING, "resuming")
RUNNING = (*BEFORE_CUTOVER, *ATTEMPT, "watching")
"""A copier is there."""
DOWN = ("stopped copying", "stopped streaming", "stopped locked")
"""None is."""
