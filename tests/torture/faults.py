"""What may happen in a round. A run goes on after any of ``FAULTS``; after one of ``ENDING`` it may end for good.

Each is made for real, and is over when its function returns.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pymysql

from ferry_core.api.report import Stage
from ferry_core.mysql.literals import string
from ferry_core.reasons import Reason
from tests.faults.events import suspended
from tests.support.ferry_under_load import ASIDE, RECORDS_COMPLETED
from tests.support.proxy import Proxy
from tests.support.server_faults import binlog_end, cut_tail
from tests.support.servers import Server
from tests.support.waits import wait_until
from tests.support.writers import PASSWORD, USER

if TYPE_CHECKING:
    from tests.torture.round import Round

_SILENCE_SECONDS = 1.5
_PATIENCE_SECONDS = 60.0
"""For a definition that transactions keep from being changed."""
_READ_SHARE = 0.7
_READ_SECONDS = 5.0
_DONE_BEFORE = (1050, 1051, 1060, 1061, 1091, 1146)  # a table, column or index is there already, or is gone
_BUSY = (1205, 1213, 1412, 1684, 3024, 1290, 1836, 1062)
"""Locks, a definition in change, read-only. An ALTER that writers go on beside may find a value twice for a moment."""
_GONE = (0, 1053, 1317, 1927, 2003, 2006, 2013)

Happens = Callable[["Round"], object]
"""Gives False if it could not happen."""
AtEnd = Callable[["Round", str], object]

HOLDS: dict[str, tuple[str, bytes]] = {
    "create": ("target", b"CREATE TABLE `"),
    "load": ("target", b"LOAD DATA LOCAL INFILE"),
    "commit": ("target", b"\x03COMMIT"),
    "delete": ("target", b"DELETE FROM"),
    "xa": ("source", b"XA RECOVER"),
    "source hash": ("source", b"BIT_XOR("),
    "target hash": ("target", b"BIT_XOR("),
    "intent": ("target", f"phase = {string(Stage.CUTTING_OVER.value)}".encode()),
    "lock": ("source", b"SET /* mysql-ferry source lock"),
    "record": ("target", RECORDS_COMPLETED),
    "record's commit": ("target", RECORDS_COMPLETED),
}
"""Statements that a proxy holds back: before which server, and how each is recognised."""
HOLDS_IN = {
    "": tuple(HOLDS)[:7],
    "Copying": ("create", "load", "load", "commit", "source hash"),
    "Streaming": ("commit", "delete", "xa", "source hash", "target hash"),
    "ReadyForCutover": ("commit", "delete", "xa"),
    "CuttingOver": ("intent", "lock", "record", "record's commit"),
}
"""Those that come at a stage."""


@dataclass(frozen=True)
class Fault:
    """``actor`` does one thing at a time. ``reasons``: how a run may end for good after it."""

    counter: str
    actor: str
    happens: Happens
    weight: float = 1.0
    reasons: frozenset[Reason] = frozenset()


def _server(scene: "Round", end: str) -> Server:
    return scene.pair.source if end == "source" else scene.pair.target


def _proxy(scene: "Round", end: str) -> Proxy:
    return scene.source_proxy if end == "source" else scene.proxy


def _killed(scene: "Round", end: str) -> None:
    _server(scene, end).kill()
    _back(scene, end)


def _restarted(scene: "Round", end: str) -> None:
    _server(scene, end).stop()
    _back(scene, end)


def _back(scene: "Round", end: str) -> None:
    scene.let_go()
    if end == "source":
        scene.start_source()
    else:
        scene.pair.target.start()


def _hangs(scene: "Round", end: str) -> None:
    with suspended(_server(scene, end)):
        scene.let_go()
        time.sleep(_SILENCE_SECONDS)  # duration of the fault


def _silent(scene: "Round", end: str) -> bool:
    proxy = _proxy(scene, end)
    proxy.pause()
    scene.let_go()
    time.sleep(_SILENCE_SECONDS)  # duration of the fault
    stuck = proxy.stuck
    proxy.resume()
    return stuck > 0


def _cut(scene: "Round", end: str) -> bool:
    return _proxy(scene, end).cut() > 0


def _cut_in_the_middle(scene: "Round", end: str) -> bool:
    """Of packets: each connection ends after some more bytes."""
    proxy = _proxy(scene, end)
    before = proxy.counts.ran_out
    proxy.cut_after(scene.rng.randrange(1, 8_000))
    scene.let_go()
    time.sleep(_SILENCE_SECONDS)  # duration of the fault
    proxy.cut_no_more()
    return proxy.counts.ran_out > before


def _refused(scene: "Round", end: str) -> bool:
    proxy = _proxy(scene, end)
    before = proxy.counts.refused
    proxy.refuse()
    broken = proxy.cut()
    scene.let_go()
    time.sleep(_SILENCE_SECONDS)  # duration of the fault
    proxy.accept()
    return broken > 0 or proxy.counts.refused > before


def _answer_lost(scene: "Round", end: str) -> bool:
    """The server executes what it gets, and no answer arrives."""
    proxy = _proxy(scene, end)
    broken = proxy.cut_clients()
    proxy.release()
    return broken > 0


def _sessions_killed(scene: "Round", end: str) -> bool:
    try:
        _server(scene, end).kill_connections()
    except (pymysql.MySQLError, OSError):  # the server is down just now
        return False
    return True


def _copier_frozen(scene: "Round") -> bool:
    if scene.ended:
        return False
    with scene.ferry.frozen():
        scene.let_go()
        time.sleep(_SILENCE_SECONDS)  # duration of the fault
    return True


def _copier_replaced(scene: "Round") -> bool:
    """A second one takes over, and the first wakes: only possible where both find the state on the target."""
    if scene.ferry.arguments:
        return False
    code = scene.keeper.replace(2 * _SILENCE_SECONDS)
    assert code != 0, "a copier whose successor has taken over ends with 0"
    return code is not None


def _spec_edited(scene: "Round") -> bool:
    """While the copier is down."""

    def change(documents: list[dict[str, Any]]) -> None:
        spec = documents[0]["spec"]
        spec.setdefault("copy", {})["workers"] = scene.rng.randint(1, 8)
        spec.setdefault("verify", {})["mode"] = scene.rng.choice(("Final", "Continuous"))

    return scene.kill_copier(lambda: scene.ferry.edit(change))


def _asked(verb: str, body: dict[str, object] | None, scene: "Round") -> bool:
    return scene.ask(verb, body)


def _paused(scene: "Round") -> bool:
    if not scene.ask("pause"):
        return False
    scene.let_go()
    time.sleep(_SILENCE_SECONDS)  # duration of the pause
    return True


def people(server: Server, *statements: str, over: Callable[[], bool] = lambda: False) -> bool:
    """As somebody would: again, until the server has done it. False if it refuses, and the run is ``over``."""
    return all(wait_for(partial(_executed, server, statement, over)) for statement in statements)


def wait_for(asked: Callable[[], bool | None]) -> bool:
    """Ask until there is an answer."""
    answers: list[bool] = []

    def answered() -> bool:
        answer = asked()
        if answer is not None:
            answers.append(answer)
        return answer is not None

    wait_until(answered, "somebody has executed a statement")
    return answers[0]


def _executed(server: Server, statement: str, over: Callable[[], bool]) -> bool | None:
    """None: not yet."""
    try:
        server.execute(statement)
    except (pymysql.MySQLError, OSError) as error:
        code = error.args[0] if error.args else 0
        if code in _DONE_BEFORE:
            return True
        if code not in (*_BUSY, *_GONE) and not isinstance(error, OSError | pymysql.InterfaceError):
            raise
        return False if over() else None
    return True


def _on_source(scene: "Round", *statements: str) -> bool:
    """By people whom read_only stops; what needs more is done by root."""
    front = scene.front
    owner = Server(scene.pair.family, front.host, front.port, USER, PASSWORD)
    texts = [statement.format(s=f"`{scene.schema}`") for statement in statements]
    ours = any(scene.schema in text for text in texts)
    end = time.monotonic() + _PATIENCE_SECONDS

    def over() -> bool:
        return scene.keeper.over.is_set() or time.monotonic() > end

    return people(owner if ours else scene.pair.source, *texts, over=over)


def _ddl(*statements: str) -> Happens:
    def happens(scene: "Round") -> bool:
        return _on_source(scene, *statements)

    return happens


def _settings(scene: "Round") -> None:
    """Global settings that new sessions take over, and all sessions end. ``Round`` restores them."""
    for end in ("source", "target"):
        people(
            _server(scene, end),
            "SET GLOBAL sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
            "SET GLOBAL time_zone = '+05:30'",
            "SET GLOBAL net_write_timeout = 5",
        )
        _sessions_killed(scene, end)


def settings_restored(server: Server) -> None:
    people(server, *(f"SET GLOBAL {name} = DEFAULT" for name in ("sql_mode", "time_zone", "net_write_timeout")))


def _read_only_for_a_moment(scene: "Round") -> bool:
    if scene.keeper.approving.is_set():
        return False  # to allow writes then may undo a cutover
    people(scene.pair.source, "SET GLOBAL read_only = ON")
    scene.let_go()
    time.sleep(0.5)  # duration of the fault
    return people(scene.pair.source, *scene.pair.source._writable_again())


def _loses_tail(scene: "Round") -> bool:
    """The newest transactions leave its binlog, and others get their numbers."""
    source = scene.pair.source
    end = binlog_end(source)
    written = scene.clock.acknowledged + scene.rng.randrange(1, 20)
    wait_until(lambda: scene.clock.acknowledged > written or scene.keeper.over.is_set(), "the application writes")
    if scene.rng.random() < _READ_SHARE:
        _until_read(scene, scene.clock.acknowledged)
    if scene.keeper.over.is_set() or binlog_end(source).file != end.file:
        return False
    scene.tail_lost = True
    cut_tail(source, end)
    _back(scene, "source")
    return True


def _until_read(scene: "Round", count: int) -> None:
    """The run has written that much, if it does within some seconds: so it has read what will be lost."""
    end = time.monotonic() + _READ_SECONDS
    while time.monotonic() < end and not scene.keeper.over.is_set():
        with contextlib.suppress(pymysql.MySQLError, OSError, LookupError):  # no table or row, or the target is down
            if int(scene.pair.target.value(f"SELECT n FROM `{scene.schema}`.clock WHERE id = 1")) >= count:
                return
        time.sleep(0.2)


def _both(name: str, counter: str, happens: AtEnd, weight: float) -> Iterator[tuple[str, Fault]]:
    """The same for either server, or for the network to it."""
    for end in ("source", "target"):
        actor = f"{end} network" if counter == _NETWORK else end
        yield f"{end} {name}", Fault(counter, actor, _at(end, happens), weight)


def _at(end: str, happens: AtEnd) -> Happens:
    return lambda scene: happens(scene, end)


_KILLS, _NETWORK, _RESTARTS, _TAILS = "kills", "network faults", "server restarts", "lost tails"
_DDLS, _OTHERS = "DDLs", "others"
COUNTED = (_KILLS, _NETWORK, _RESTARTS, _TAILS, _DDLS, _OTHERS)
_NEW = f"{{s}}.{ASIDE}_new"
_ALTER_ASIDE = f"ALTER TABLE {{s}}.{ASIDE}"

_BY_PEOPLE: dict[str, tuple[str, float, Happens]] = {
    "paused": (_OTHERS, 0.6, _paused),
    "throttled": (_OTHERS, 0.3, partial(_asked, "throttle", {"maxRowsPerSecond": 200})),
    "verified": (_OTHERS, 0.4, partial(_asked, "verify", None)),
    "binlog rotated": (_OTHERS, 0.4, _ddl("FLUSH BINARY LOGS")),
    "settings changed": (_OTHERS, 0.3, _settings),
    "checksums changed": (_OTHERS, 0.3, _ddl(*(f"SET GLOBAL binlog_checksum = {one}" for one in ("NONE", "CRC32")))),
    "unselected created": (_DDLS, 1.0, _ddl(f"CREATE TABLE {_NEW} (id INT)", f"DROP TABLE {_NEW}")),
    "unselected altered": (_DDLS, 1.0, _ddl(f"{_ALTER_ASIDE} ADD COLUMN c INT", f"{_ALTER_ASIDE} DROP COLUMN c")),
    "index made": (_DDLS, 1.0, _ddl("ALTER TABLE {s}.bulk ADD INDEX tmp (n)", "ALTER TABLE {s}.bulk DROP INDEX tmp")),
    "table rebuilt": (_DDLS, 1.0, _ddl("ALTER TABLE {s}.bulk FORCE")),
    "table optimized": (_DDLS, 0.6, _ddl("OPTIMIZE TABLE {s}.bulk")),
}

_READ_ONLY = frozenset({Reason.SOURCE_READ_ONLY})
"""If it starts at that moment."""

FAULTS: dict[str, Fault] = dict(
    [
        *_both("cut", _NETWORK, _cut, 1.5),
        *_both("silent", _NETWORK, _silent, 0.8),
        *_both("refused", _NETWORK, _refused, 0.8),
        *_both("answer lost", _NETWORK, _answer_lost, 1.0),
        *_both("cut in packets", _NETWORK, _cut_in_the_middle, 1.0),
        *_both("killed", _RESTARTS, _killed, 1.0),
        *_both("restarted", _RESTARTS, _restarted, 0.5),
        *_both("hangs", _OTHERS, _hangs, 0.4),
        *_both("sessions killed", _OTHERS, _sessions_killed, 0.5),
        ("copier killed", Fault(_KILLS, "copier", lambda scene: scene.kill_copier(), 9.0)),
        ("copier terminated", Fault(_OTHERS, "copier", lambda scene: scene.end_copier(), 0.5)),
        ("spec edited", Fault(_KILLS, "copier", _spec_edited, 0.6)),
        ("copier replaced", Fault(_OTHERS, "copier", _copier_replaced, 0.6)),
        ("copier frozen", Fault(_OTHERS, "copier", _copier_frozen, 0.5)),
        ("source read-only", Fault(_OTHERS, "people", _read_only_for_a_moment, 0.3, _READ_ONLY)),
        *((name, Fault(counter, "people", happens, weight)) for name, (counter, weight, happens) in _BY_PEOPLE.items()),
    ]
)

_CHANGED = frozenset({Reason.SCHEMA_CHANGED, Reason.TARGET_TABLE_DIFFERS})

_LOST = frozenset({Reason.SOURCE_HISTORY_LOST, Reason.ROWS_DIFFER})

ENDING: dict[str, Fault] = {
    "source loses its tail": Fault(_TAILS, "source", _loses_tail, 10.0, _LOST),
    "table altered": Fault(_DDLS, "people", _ddl("ALTER TABLE {s}.bulk ADD COLUMN added INT"), reasons=_CHANGED),
    "table truncated": Fault(_DDLS, "people", _ddl("TRUNCATE TABLE {s}.aim"), reasons=_CHANGED),
    "table renamed": Fault(_DDLS, "people", _ddl("RENAME TABLE {s}.aim TO {s}.aside_aim"), reasons=_CHANGED),
    "table dropped": Fault(_DDLS, "people", _ddl("DROP TABLE {s}.aim"), reasons=_CHANGED),
}
"""After one of these a run may end for good."""
ALL = FAULTS | ENDING
COPIED_AGAIN = [ENDING[name] for name in ("table altered", "table truncated")]
"""With ``schema.onChange: Recopy`` the run goes on after these."""
MAY_LOSE_ROWS = [ALL[f"source {name}"] for name in ("killed", "restarted", "loses its tail")]
MAY_LOSE_ROWS += [ALL[f"table {name}"] for name in ("rebuilt", "optimized")]
"""After these the target may have the only copy of a row: the run ends once before it copies a table again."""
