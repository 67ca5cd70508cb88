"""Whether a run came out as its cell says. Everything is asked of the servers, the process and the application.

Nothing of the engine is used: rows and definitions by ``tests/support/compare.py``, one row's counter by the number of
acknowledged updates, the time of the lock by the application's clock.
"""

import contextlib
import time
import urllib.error

from tests.faults.scene import DEADLINE_SECONDS, Scene
from tests.support.ferry_cli import LONG_SECONDS, Ended

_STARTS = 8
"""An exit code 75 may be met with a new start so many times, as the operator would."""
_BUSY_SECONDS = 10.0


def exact(scene: Scene, *, restarts: bool) -> None:
    """The run completes, approved whenever it is ready. ``restarts``: it may end with 75 and be started again."""
    end = time.monotonic() + 2 * LONG_SECONDS
    while not _completed(scene):
        assert time.monotonic() < end, f"not completed: {scene.ferry.status()}\n{scene.ferry.tail()}"
        if scene.ended and not _completed(scene):  # it may have ended since it was asked
            _start_again(scene, restarts=restarts)
        elif scene.ferry.status().get("stage") == "ReadyForCutover":
            with contextlib.suppress(OSError, urllib.error.URLError):
                scene.ferry.post("cutover")
        time.sleep(0.2)
    equal(scene)


def _completed(scene: Scene) -> bool:
    return scene.ended and scene.ferry.process is not None and scene.ferry.process.returncode == 0


def _start_again(scene: Scene, *, restarts: bool) -> None:
    code = scene.ferry.wait_end()
    assert restarts, f"it ended with {code}, and should have gone on\n{scene.ferry.tail()}"
    assert code == 75, f"it ended with {code}, which is never retried\n{scene.ferry.tail()}"
    assert scene.ferry.starts < _STARTS, f"{code} again and again\n{scene.ferry.tail()}"
    scene.ferry.start()


def equal(scene: Scene) -> None:
    """The hand-over is recorded, and the target holds what the source acknowledged."""
    scene.clock.stop()
    scene.application.stop()
    assert scene.phase() == "Completed"
    scene.equal()
    counted(scene)
    not_blocked_for_long(scene)


def counted(scene: Scene) -> None:
    """The target's counter is the number of acknowledged updates, give or take those whose answer was lost."""
    found = int(scene.pair.target.value(f"SELECT n FROM `{scene.schema}`.clock WHERE id = 1"))
    clock = scene.clock
    assert clock.acknowledged <= found <= clock.acknowledged + clock.unknown, (found, vars(clock))


def not_blocked_for_long(scene: Scene) -> None:
    longest = scene.clock.longest_block
    print(f"the application was refused for {longest:.1f} s at most")
    assert longest <= DEADLINE_SECONDS + 1 + _BUSY_SECONDS, f"writes were blocked for {longest:.1f} s"


def stops(scene: Scene, reason: str, codes: tuple[int, ...] = (64, 65)) -> Ended:
    """It ends for good with one line of this reason, the source accepts writes, and no cutover is recorded."""
    end = time.monotonic() + LONG_SECONDS
    while not scene.ended:
        assert time.monotonic() < end, f"it goes on: {scene.ferry.status()}\n{scene.ferry.tail()}"
        if scene.ferry.status().get("stage") == "ReadyForCutover":
            with contextlib.suppress(OSError, urllib.error.URLError):
                scene.ferry.post("cutover")
        time.sleep(0.2)
    code = scene.ferry.wait_end()
    text = scene.ferry.log.read_text(errors="replace")
    ended = Ended(code, "", text[text.rindex("--- start") :])
    shown = f"exit {code}\n{scene.ferry.tail()}"
    assert code in codes, shown
    assert "Traceback" not in text, shown
    assert any(line.startswith(f"ferry: {reason}: ") for line in ended.failures), shown
    assert not _handed_over(scene), f"the cutover is recorded\n{shown}"
    scene.writable()
    not_blocked_for_long(scene)
    return ended


def _handed_over(scene: Scene) -> bool:
    """Without a lease, or its table, nothing is recorded."""
    target = scene.pair.target
    if not target.query(
        "SELECT 1 FROM information_schema.TABLES WHERE (TABLE_SCHEMA, TABLE_NAME) = ('mysql_ferry', 'lease')"
    ):
        return False
    found = target.query("SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = %s", (scene.uid,))
    return any(phase == "Completed" for (phase,) in found)
