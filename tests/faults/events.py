"""What may happen, each made for real: servers killed and stopped, connections cut, tables altered.

``EVENTS[name](scene)`` makes it happen and, if it has an end, ends it. A case calls it while its moment is held.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

import pymysql

from tests.faults.scene import Scene
from tests.support.ferry_cli import STREAMING
from tests.support.proxy import Direction, Proxy
from tests.support.server_faults import BinlogEnd, DurableDisk, binlog_end, lose_tail
from tests.support.servers import Server
from tests.support.waits import wait_until

_SILENCE_SECONDS = 3.0
_BYTES = 6000
"""Enough for a login and some statements, too little for a chunk."""

Event = Callable[[Scene], None]


def _server(scene: Scene, end: str) -> Server:
    return scene.pair.source if end == "source" else scene.pair.target


def _proxy(scene: Scene, end: str) -> Proxy:
    return scene.source_proxy if end == "source" else scene.proxy


def _killed(scene: Scene, end: str) -> None:
    server = _server(scene, end)
    server.kill()
    _let_go(scene)
    server.start()


def _restarted(scene: Scene, end: str) -> None:
    server = _server(scene, end)
    server.stop()
    _let_go(scene)
    server.start()


def _let_go(scene: Scene) -> None:
    """The statement that a moment holds back goes on its way while the fault lasts."""
    scene.proxy.release()
    scene.source_proxy.release()


@contextlib.contextmanager
def suspended(server: Server) -> Iterator[None]:
    """While entered, it answers nobody, and no connection breaks."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _hangs(scene: Scene, end: str) -> None:
    with suspended(_server(scene, end)):
        _let_go(scene)
        time.sleep(_SILENCE_SECONDS)  # duration of the fault


def _silent(scene: Scene, end: str) -> None:
    proxy = _proxy(scene, end)
    proxy.pause()
    _let_go(scene)
    time.sleep(_SILENCE_SECONDS)  # duration of the fault
    proxy.resume()


def _cut(scene: Scene, end: str) -> None:
    _proxy(scene, end).cut()


def _cut_often(scene: Scene, end: str) -> None:
    """Each connection breaks after so many bytes, wherever it is then."""
    proxy = _proxy(scene, end)
    proxy.cut_after(_BYTES, Direction.TO_SERVER)
    proxy.cut_after(2 * _BYTES, Direction.TO_CLIENT)
    _let_go(scene)
    time.sleep(_SILENCE_SECONDS)  # duration of the fault
    proxy.cut_no_more()


def _slow(scene: Scene, end: str) -> None:
    """Everything arrives, in short pieces of time."""
    proxy = _proxy(scene, end)
    _let_go(scene)
    over = time.monotonic() + _SILENCE_SECONDS
    while time.monotonic() < over:
        proxy.pause()
        time.sleep(0.2)  # duration of the fault
        proxy.resume()
        time.sleep(0.02)


def _no_more_connections(scene: Scene, end: str) -> None:
    """All are taken by others, once ours have been ended."""
    server = _server(scene, end)
    server.execute("SET GLOBAL max_connections = 10")
    server.kill_connections()
    with contextlib.ExitStack() as taken, contextlib.closing(server.connect()) as admin:
        with contextlib.suppress(pymysql.MySQLError):
            while True:
                taken.enter_context(contextlib.closing(server.connect()))
        _let_go(scene)
        time.sleep(_SILENCE_SECONDS)  # duration of the fault
        admin.cursor().execute("SET GLOBAL max_connections = DEFAULT")


def _answer_lost(scene: Scene, end: str) -> None:
    """The server executes what it gets, and no answer arrives."""
    proxy = _proxy(scene, end)
    proxy.cut_clients()
    proxy.release()


def _sessions_killed(scene: Scene, end: str) -> None:
    _server(scene, end).kill_connections()


def copier_killed(scene: Scene) -> None:
    scene.ferry.kill()


def copier_terminated(scene: Scene) -> None:
    assert scene.ferry.process is not None
    scene.ferry.process.terminate()
    code = scene.ferry.wait_end()
    if code != 0 or scene.phase() != "Completed":  # the latter after the cutover
        assert code in (143, -signal.SIGTERM), f"exit code {code}\n{scene.ferry.tail()}"  # the latter as it begins


def copier_frozen(scene: Scene) -> None:
    with scene.ferry.frozen():
        _let_go(scene)
        time.sleep(_SILENCE_SECONDS)  # duration of the fault


def selection_changes(scene: Scene) -> None:
    scene.ferry.edit(lambda documents: documents[0]["spec"]["tables"]["exclude"].append(f"{scene.schema}.bulk"))


# -- what people do on the source ------------------------------------------------------------------------------------


def _statement(scene: Scene, end: str, statement: str) -> None:
    _server(scene, end).execute(f"USE `{scene.schema}`", statement)


def binlog_rotated(scene: Scene) -> None:
    scene.pair.source.execute("FLUSH BINARY LOGS")


def settings_change(scene: Scene) -> None:
    """Global settings that new sessions take over, on both ends, back again at the end of the case."""
    for server in (scene.pair.source, scene.pair.target):
        server.execute(
            "SET GLOBAL sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
            "SET GLOBAL time_zone = '+05:30'",
            "SET GLOBAL autocommit = 0",
            "SET GLOBAL net_write_timeout = 5",
        )
        server.kill_connections()


def settings_restored(scene: Scene) -> None:
    for server in (scene.pair.source, scene.pair.target):
        server.execute(
            "SET GLOBAL sql_mode = DEFAULT",
            "SET GLOBAL time_zone = DEFAULT",
            "SET GLOBAL autocommit = 1",
            "SET GLOBAL net_write_timeout = DEFAULT",
        )


def row_images_change(scene: Scene) -> None:
    """New sessions of the application log less of each row. Back again at the end of the case."""
    scene.pair.source.execute("SET GLOBAL binlog_row_image = MINIMAL")
    scene.pair.source.kill_connections()


def row_images_restored(scene: Scene) -> None:
    scene.pair.source.execute("SET GLOBAL binlog_row_image = DEFAULT")


def checksums_off(scene: Scene) -> None:
    source = scene.pair.source
    source.execute("SET GLOBAL binlog_checksum = NONE")
    source.execute("SET GLOBAL binlog_checksum = CRC32")


def read_only_for_a_moment(scene: Scene) -> None:
    """Somebody sets read_only on the source and takes it back."""
    source = scene.pair.source
    source.execute("SET GLOBAL read_only = ON")
    _let_go(scene)
    time.sleep(1)  # duration of the fault
    source.execute(*source._writable_again())


def xa_left_open(scene: Scene) -> None:
    """A prepared transaction of a client that is gone, decided a while later."""
    source = scene.pair.source
    xid = f"'{scene.schema[-12:]}'"
    with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"USE `{scene.schema}`")
        cursor.execute(f"XA START {xid}")
        cursor.execute("UPDATE aim SET v = v + 100 WHERE id = 2")
        cursor.execute(f"XA END {xid}")
        cursor.execute(f"XA PREPARE {xid}")
    _let_go(scene)
    time.sleep(1)  # duration of the fault
    source.decide_xa(f"XA COMMIT {xid}")


# -- what people do on the target ------------------------------------------------------------------------------------


def lease_removed(scene: Scene) -> None:
    scene.proxy.release()  # a transaction that writes rows holds the lease
    scene.pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{scene.uid}'")


def lease_taken(scene: Scene) -> None:
    """As by another run that begins, without its copying."""
    scene.proxy.release()
    scene.pair.target.execute(f"UPDATE mysql_ferry.lease SET epoch = epoch + 1 WHERE ferry_uid = '{scene.uid}'")


def helper_tables_dropped(scene: Scene) -> None:
    scene.proxy.release()
    scene.pair.target.execute("DROP DATABASE mysql_ferry")


# -- what a power cut takes away ---------------------------------------------------------------------------------------


def target_loses_commits(scene: Scene) -> None:
    """Rows, marks and epochs of the last seconds are gone. The run's state file has them."""
    disk = DurableDisk(scene.pair.target, scene.folder / "disk")
    with _newest(scene):
        disk.cut_power()
    _let_go(scene)


def loses_tail(scene: Scene) -> None:
    """The end of its binlog is gone, and new transactions get the same numbers. The run has read what is lost."""
    source = scene.pair.source
    with _newest(scene) as end:
        lose_tail(source, end)
    _let_go(scene)


def loses_rows(scene: Scene) -> None:
    """The newest transactions are in its binlog, and not in its tables."""
    disk = DurableDisk(scene.pair.source, scene.folder / "disk")
    with _newest(scene):
        disk.cut_power(survives="binlog")
    _let_go(scene)


@contextlib.contextmanager
def _newest(scene: Scene) -> Iterator[BinlogEnd]:
    """Inside, three changes of ``aim`` are behind the end that it gives; a run that streams has written them."""
    source, target = scene.pair.source, scene.pair.target
    end = binlog_end(source)
    changes = [f"UPDATE `{scene.schema}`.aim SET v = v + 1000 WHERE id = 1"] * 3
    source.execute("SET GLOBAL read_only = OFF", *changes)
    if not scene.ended and scene.ferry.status().get("stage") in STREAMING:
        arrived = f"SELECT v >= 3000 FROM `{scene.schema}`.aim WHERE id = 1"
        wait_until(lambda: target.value(arrived), "the changes are on the target")
        _next_checkpoint(scene)
        _next_checkpoint(scene)  # the first may have been under way
    yield end


def _next_checkpoint(scene: Scene) -> None:
    before = scene.state()["position"]
    wait_until(lambda: scene.state()["position"] != before, "a checkpoint with a newer position")


EVENTS: dict[str, Event] = {
    **{
        f"{end} {name}": partial(happens, end=end)
        for end in ("source", "target")
        for name, happens in (
            ("killed", _killed),
            ("restarted", _restarted),
            ("hangs", _hangs),
            ("silent", _silent),
            ("cut", _cut),
            ("cut often", _cut_often),
            ("slow", _slow),
            ("connections taken", _no_more_connections),
            ("answer lost", _answer_lost),
            ("sessions killed", _sessions_killed),
        )
    },
    "copier killed": copier_killed,
    "copier terminated": copier_terminated,
    "copier frozen": copier_frozen,
    "selection changes": selection_changes,
    "source loses tail": loses_tail,
    "source loses rows": loses_rows,
    "target loses commits": target_loses_commits,
    "lease removed": lease_removed,
    "lease taken": lease_taken,
    "helper tables dropped": helper_tables_dropped,
    "binlog rotated": binlog_rotated,
    "settings change": settings_change,
    "checksums change": checksums_off,
    "row images change": row_images_change,
    "source read-only": read_only_for_a_moment,
    "xa left open": xa_left_open,
    "table altered": partial(_statement, end="source", statement="ALTER TABLE bulk ADD COLUMN added INT"),
    "table truncated": partial(_statement, end="source", statement="TRUNCATE TABLE bulk"),
    "table renamed": partial(_statement, end="source", statement="RENAME TABLE bulk TO bulk_old"),
    "table dropped": partial(_statement, end="source", statement="DROP TABLE bulk"),
}
"""By name."""

OWN_SOURCE = {"source loses tail", "source loses rows"}
"""These need a source of their own: other tests could not use it any more."""
OWN_TARGET = {"target loses commits"}

ENDED_BY_ITSELF = {"copier killed", "copier terminated"}
"""After these the copier is started again, as the operator or a person would."""
UNDONE: dict[str, Event] = {"settings change": settings_restored, "row images change": row_images_restored}
"""What is to be done after the case, whatever came of it."""
