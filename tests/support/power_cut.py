"""Power cuts that lose what was not synced: SIGKILL alone loses nothing that the operating system has taken over.

end = binlog_end(server)                 # what a sync has made durable
... the server commits, and a run reads ...
lose_tail(server, end)                   # the server is up again, without those transactions in its binlog

    disk = DurableDisk(server, folder)       # what a sync has made durable
    disk.cut_power()                         # the server is up again, as it was then
"""

import os
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import Server


class BinlogEnd(NamedTuple):
    file: str
    size: int


def binlog_end(server: Server) -> BinlogEnd:
    """Where the server's binlog ends now."""
    file, size, *_ = server.query("SHOW BINARY LOGS")[-1]
    return BinlogEnd(file, int(size))


def cut_tail(server: Server, end: BinlogEnd) -> None:
    """Kill it, and take away all that its binlog holds behind ``end``; in its last file."""
    assert binlog_end(server).file == end.file, "the binlog was rotated meanwhile"
    server.kill()
    assert server.instance is not None
    os.truncate(server.instance.folder / "data" / end.file, end.size)


def lose_tail(server: Server, end: BinlogEnd) -> None:
    cut_tail(server, end)
    server.start()


class DurableDisk:
    """The data folder of a server as it is now; nothing that is written later survives ``cut_power``."""

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

    def cut_power(self) -> None:
        """Any number of times."""
        self._server.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._kept, self._data)
        self._server.start()
