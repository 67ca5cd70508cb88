"""Whether a round came out well. Everything is asked of the servers, the process and the application.

Nothing of the engine decides: rows and definitions are compared by ``tests/support/compare.py``, one row's counter with
the number of acknowledged updates, the time of the lock by the application's clock.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pymysql

from tests.faults.judge import counted, not_blocked_for_long
from tests.support.compare import assert_equal_tables
from tests.support.ferry_under_load import ASIDE
from tests.support.servers import Server

if TYPE_CHECKING:
    from tests.torture.round import Round

END_SECONDS = 480.0
"""From the last fault to the end of the run, on a machine that does more than this."""
_LOOK_SECONDS = 0.5
_SHOWN_LINES = 400


class Failed(AssertionError):
    """``kind`` is the same for the same failure of a smaller plan."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def ends(scene: "Round") -> None:
    """It must, within the bound, now that nothing fails any more."""
    end = time.monotonic() + END_SECONDS
    while not scene.keeper.over.wait(_LOOK_SECONDS):
        scene.ask("throttle", {"maxRowsPerSecond": None})  # each start begins with that of its manifest
        scene.not_paused(scene.ferry.status())
        scene.application.check()
        if time.monotonic() > end:
            raise Failed("no end", f"within {END_SECONDS:g} s\n{_shown(scene)}")


def judge(scene: "Round") -> None:
    """After its end."""
    scene.counters["longest time without writes, ms"] = round(1000 * scene.clock.longest_block)
    if scene.keeper.code == 0:
        _success(scene)
        scene.counters["runs completed"] += 1
        if scene.tail_lost:
            scene.counters["runs completed after a lost tail"] += 1
    else:
        refused(scene)


def refused(scene: "Round") -> None:
    """It has ended for good by a reason that fits what has happened, and the source accepts writes."""
    code = scene.keeper.code
    text = scene.ferry.log.read_text(errors="replace")
    found = [line for line in text[text.rindex("--- start") :].splitlines() if line.startswith("ferry: ")]
    named = [reason for reason in scene.reasons if any(line.startswith(f"ferry: {reason}: ") for line in found)]
    if code not in (64, 65) or not named or "Traceback" in text:
        raise Failed(f"ended with {code}", f"and not by one of {sorted(scene.reasons)}\n{_shown(scene)}")
    scene.front.accept()
    _checked("the source stays locked", scene.writable)
    _checked("writes were blocked for too long", lambda: not_blocked_for_long(scene))
    if scene.completed():
        raise Failed("a success that was none", _shown(scene))
    scene.counters["runs refused"] += 1
    scene.counters[f"runs refused: {named[0]}"] += 1


def _success(scene: "Round") -> None:
    scene.clock.stop()
    scene.application.stop()
    if not scene.completed():
        raise Failed("a success that is not recorded", _shown(scene))
    if "Traceback" in scene.ferry.log.read_text(errors="replace"):
        raise Failed("a traceback", _shown(scene))
    _checked("the target differs", lambda: _equal(scene))
    if not scene.tail_lost:  # what the source lost with it is no longer acknowledged
        _checked("updates were lost or doubled", lambda: counted(scene))
    _checked("writes were blocked for too long", lambda: not_blocked_for_long(scene))


def _equal(scene: "Round") -> None:
    """The target has the selected tables and no others, each with the selected rows."""
    source, target, schema = scene.pair.source, scene.pair.target, scene.schema
    expected = {name for name in _tables(source, schema) if not name.startswith(ASIDE)}
    found = _tables(target, schema)
    assert expected == found, f"missing: {sorted(expected - found)}; only on the target: {sorted(found - expected)}"
    filters = {shape.kind: shape.where or None for shape in scene.plan.tables}
    for name in sorted(expected):
        assert_equal_tables(source, target, (schema, name), where=filters.get(name))


def _tables(server: Server, schema: str) -> set[str]:
    return {name for (name,) in server.query(f"SHOW TABLES FROM `{schema}`")}


def _checked(kind: str, check: Callable[[], None]) -> None:
    try:
        check()
    except AssertionError as error:
        raise Failed(kind, str(error)) from error


def _shown(scene: "Round") -> str:
    status = scene.ferry.status()
    gates = [
        f"  {one['type']}: {one['status']} {one['reason']}: {one['message']}" for one in status.get("conditions", ())
    ]
    said = [f"stage {status.get('stage')}: {status.get('message')}", *gates]
    return "\n".join([*said, *_sessions(scene), scene.ferry.tail(_SHOWN_LINES)])


def _sessions(scene: "Round") -> list[str]:
    """Of both servers, with what they wait for."""
    found = []
    for server in (scene.pair.source, scene.pair.target):
        try:
            rows = server.query("SHOW FULL PROCESSLIST") + server.query("XA RECOVER")
        except (pymysql.MySQLError, OSError) as error:
            rows = [(str(error),)]
        found += [f"  {server}: {row}" for row in rows]
    return found
