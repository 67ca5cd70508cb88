"""The tools that ferry is compared with, used as their documentation says, and how child processes are measured.

Called by ``bench/run.py``. Every tool gets the same source and an empty target, both with the same flags and with
binlogs enabled.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.dataset import SCHEMA, TABLE
from hack.installing import apt_install
from hack.servers import Instance

THREADS = 4
PACKAGES = {"mysqldump": "mariadb-client", "mysql": "mariadb-client", "mydumper": "mydumper", "myloader": "mydumper"}


class ToolFailed(Exception):
    """A tool ended with an error, so there is nothing to compare."""


@dataclass(frozen=True)
class Measured:
    """The cost of one way of copying. ``cpu_seconds`` and ``peak_bytes`` are the tools', not the servers'."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    servers_cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """What the kernel reports about an ended child process."""

    cpu_seconds: float
    peak_bytes: int


def install() -> None:
    """Install the Debian packages of missing tools."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    if missing:
        apt_install(*sorted(missing))


def reap(child: "subprocess.Popen[bytes]", log: Path) -> Ended:
    """Wait for a child process. Returns its resource usage, or raises ToolFailed with the end of its log."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise ToolFailed(f"{child.args!r} ended with {child.returncode}:\n{tail}")
    return Ended(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _login(server: Instance) -> list[str]:
    return [f"--host={server.host}", f"--port={server.port}", f"--user={server.user}", f"--password={server.password}"]


def mysqldump_pipe(source: Instance, target: Instance, folder: Path) -> Measured:
    """``mysqldump | mysql``: one connection to each server."""
    dump = ["mysqldump", "--no-defaults", *_login(source), "--single-transaction", "--quick", SCHEMA, TABLE]
    load = ["mysql", "--no-defaults", *_login(target), "--max-allowed-packet=64M", SCHEMA]
    _make_schema(target, folder)
    log = folder / "mysqldump.log"
    started = time.monotonic()
    with log.open("wb") as errors:
        reader = subprocess.Popen(dump, stdout=subprocess.PIPE, stderr=errors)
        writer = subprocess.Popen(load, stdin=reader.stdout, stderr=errors)
        assert reader.stdout is not None
        reader.stdout.close()  # only the writer keeps this end open: it ends when the reader ends
        ended = [reap(reader, log), reap(writer, log)]
    return _measured("mysqldump | mysql", started, ended)


def mydumper_myloader(source: Instance, target: Instance, folder: Path) -> Measured:
    """``mydumper`` to files, then ``myloader``, each with 4 threads and the table split into chunks."""
    dump = folder / "dump"
    shutil.rmtree(dump, ignore_errors=True)
    started = time.monotonic()
    out = ["mydumper", *_login(source), f"--threads={THREADS}", "--rows=100000", f"--outputdir={dump}"]
    ended = [_run([*out, f"--database={SCHEMA}", "--trx-consistency-only"], folder)]
    back = ["myloader", *_login(target), f"--threads={THREADS}", f"--directory={dump}", "--enable-binlog"]
    ended.append(_run(back, folder))
    measured = _measured("mydumper, myloader -t 4", started, ended)
    shutil.rmtree(dump)
    return measured


def _make_schema(target: Instance, folder: Path) -> None:
    _run(["mysql", "--no-defaults", *_login(target), "-e", f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4"], folder)


def _run(command: Sequence[str], folder: Path) -> Ended:
    log = folder / f"{command[0]}.log"
    with log.open("wb") as output:
        return reap(subprocess.Popen(command, stdout=output, stderr=output), log)


def _measured(name: str, started: float, ended: Sequence[Ended]) -> Measured:
    seconds = time.monotonic() - started
    return Measured(name, seconds, sum(each.cpu_seconds for each in ended), max(each.peak_bytes for each in ended))
