"""What a server may do in its own time: commits that hang between the binlog and InnoDB, and power cuts.

Semi-synchronous replication with the wait point AFTER_SYNC stalls a commit: its events can be read, its rows not yet.
The server waits there for a replica's acknowledgement, and the replica here registers and never sends one.

SIGKILL alone loses nothing that the operating system has taken over; a power cut loses what was not synced:

    end = binlog_end(server)                 # what a sync has made durable
    ... the server commits, and a run reads ...
    lose_tail(server, end)                   # the server is up again, without those transactions in its binlog

    disk = DurableDisk(server, folder)       # what a sync has made durable
    disk.cut_power()                         # the server is up again, as it was then

A disk may also not answer for a while:

    with StalledLog(server, folder) as log, log.stalled():
"""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pymysql

from ferry_core.mysql.flavor import Flavor
from tests.support.servers import Server
from tests.support.waits import wait_until

if TYPE_CHECKING:
    from pymysql.connections import Connection

_SERVER_ID = 990_001
_DUMP = 0x12
_FOREVER_MILLISECONDS = 600_000
_UUID = "00000000-0000-0000-0000-00000000dead"


class StalledCommits:
    """``with StalledCommits(server): ...`` every commit inside the block stalls until ``release`` or its end.

    ``committed``: after InnoDB's commit, when its GTID is executed, instead of before; the statement is not over then.
    """

    def __init__(self, server: Server, *, committed: bool = False) -> None:
        self._server = server
        self._point = "AFTER_COMMIT" if committed else "AFTER_SYNC"
        self._side = "source" if server.flavor is Flavor.MYSQL else "master"
        self._replica: Connection[Any] | None = None

    def __enter__(self) -> Self:
        if self._server.flavor is Flavor.MYSQL and not self._has_plugin():
            self._server.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
        self._set("timeout", str(_FOREVER_MILLISECONDS))
        self._set("wait_point", f"'{self._point}'")
        self._set("enabled", "1")
        self._register()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.release()
        if self._replica is not None:
            # Not close(): it would wait for the reading thread.
            with contextlib.suppress(OSError):
                self._replica._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    def release(self) -> None:
        """Let everything stalled continue, and stall nothing any more."""
        self._set("enabled", "0")

    def _set(self, name: str, value: str) -> None:
        self._server.execute(f"SET GLOBAL rpl_semi_sync_{self._side}_{name} = {value}")

    def _has_plugin(self) -> bool:
        return bool(self._server.query("SHOW VARIABLES LIKE 'rpl_semi_sync_source_enabled'"))

    def _register(self) -> None:
        """Register as a semi-synchronous replica that reads everything from now on and acknowledges nothing."""
        connection = self._server.connect(read_timeout=None)
        with connection.cursor() as cursor:
            names = ("rpl_semi_sync_slave", "rpl_semi_sync_replica")
            settings = [*(f"@{name} = 1" for name in names), "@mariadb_slave_capability = 4"]
            settings += [f"@{name} = 'NONE'" for name in ("master_binlog_checksum", "source_binlog_checksum")]
            settings += [f"@{name} = '{_UUID}'" for name in ("slave_uuid", "replica_uuid")]
            cursor.execute(f"SET {', '.join(settings)}")
            cursor.execute("SHOW BINARY LOGS")
            file, size = cursor.fetchall()[-1][:2]
        command = struct.pack("<IHI", size, 0, _SERVER_ID) + file.encode()
        connection._execute_command(_DUMP, command)  # type: ignore[attr-defined]
        self._replica = connection
        threading.Thread(target=self._drain, args=(connection,), daemon=True).start()
        status = f"SHOW STATUS LIKE 'Rpl_semi_sync_{self._side}_clients'"
        wait_until(lambda: int(self._server.query(status)[0][1]) >= 1, "the replica is registered")

    @staticmethod
    def _drain(connection: "Connection[Any]") -> None:
        with contextlib.suppress(pymysql.MySQLError, OSError, AttributeError, ValueError):
            while True:
                connection._read_bytes(1)  # type: ignore[attr-defined]


class BinlogEnd(NamedTuple):
    file: str
    size: int


def binlog_end(server: Server) -> BinlogEnd:
    """Where the server's binlog ends now."""
    file, size, *_ = server.query("SHOW BINARY LOGS")[-1]
    return BinlogEnd(file, int(size))


def cut_tail(server: Server, end: BinlogEnd) -> None:
    """Kill it, and remove everything after ``end`` from its binlog; ``end`` must be in its last file."""
    assert binlog_end(server).file == end.file, "the binlog was rotated meanwhile"
    server.kill()
    assert server.instance is not None
    os.truncate(server.instance.folder / "data" / end.file, end.size)


def lose_tail(server: Server, end: BinlogEnd) -> None:
    cut_tail(server, end)
    server.start()


class DurableDisk:
    """The data folder of a server as it is now. Nothing written later survives ``cut_power``."""

    def __init__(self, server: Server, folder: Path) -> None:
        assert server.instance is not None
        self._server = server
        self._data = server.instance.folder / "data"
        self._kept = folder
        os.kill(server.pid, signal.SIGSTOP)
        try:
            shutil.copytree(self._data, folder, ignore=shutil.ignore_patterns("*.sock*"))
        finally:
            os.kill(server.pid, signal.SIGCONT)

    def cut_power(self, survives: str = "") -> None:
        """Any number of times. Files whose names begin with ``survives`` were synced and stay as they are."""
        self._server.kill()
        for path in self._data.iterdir():
            if survives and path.name.startswith(survives):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        ignored = shutil.ignore_patterns(f"{survives}*") if survives else None
        shutil.copytree(self._kept, self._data, dirs_exist_ok=True, ignore=ignored)
        self._server.start()


class StalledLog:
    """A disk of its own for InnoDB's log, which stops answering: binlog and data are elsewhere and go on.

    ``folder`` gets the disk, an ext4 file system in a file. Within ``stalled()`` whoever flushes the log waits.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._mounted = server, folder / "log"

    def __enter__(self) -> Self:
        server, disk = self._server, self._mounted.with_suffix(".img")
        assert server.instance is not None
        server.stop()
        self._mounted.mkdir()
        with disk.open("wb") as file:
            file.truncate(200 << 20)
        subprocess.run(["mkfs.ext4", "-q", disk], check=True)
        subprocess.run(["mount", "-o", "loop", disk, self._mounted], check=True)
        for log in (server.instance.folder / "data").glob("ib_logfile*"):
            moved = self._mounted / log.name
            shutil.move(log, moved)
            log.symlink_to(moved)
        server.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.kill()
        subprocess.run(["umount", self._mounted], check=True)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        subprocess.run(["fsfreeze", "--freeze", self._mounted], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", self._mounted], check=True)
