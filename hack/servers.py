"""Throwaway database servers: any number, on free ports, with chosen flags, stopped by recorded process id.

A module for the tests, the demo and the bench, and a small program:

    python hack/servers.py install mysql mariadb     make both families ready to start
    python hack/servers.py start mysql NAME [flag=value ...]
    python hack/servers.py list
    python hack/servers.py stop NAME ...             (or --all: those of this list)

Standard library only, so that it runs before ``make setup``.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hack.families import PASSWORD, Family, Flags, Release, default_flags
from hack.installing import Unavailable, cache_folder, locked
from hack.releases import command, install, template

__all__ = [
    "PASSWORD",
    "Family",
    "Flags",
    "Instance",
    "Release",
    "Unavailable",
    "create",
    "install",
    "instances",
    "sweep",
]

_PORTS = range(27000, 32000)  # below the kernel's range for outgoing connections: a port stays ours over a restart
_START_SECONDS = 180
_STOP_SECONDS = 180
_GREETING_PAUSE = 0.03


def _started_at(pid: int) -> str | None:
    """The kernel's start time of a live process, which distinguishes it from a later process with the same id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class ProcessId:
    """A process, recorded so that another process with a reused id is never mistaken for it."""

    pid: int
    started_at: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        started_at = _started_at(pid)
        return cls(pid, started_at) if started_at else None

    @property
    def alive(self) -> bool:
        return _started_at(self.pid) == self.started_at

    def end(self, signal_number: signal.Signals, seconds: float) -> bool:
        """Send a signal and wait. True when the process has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive:
                return True
            signal.pidfd_send_signal(handle, signal_number)
            readable, _, _ = select.select([handle], [], [], seconds)
            return bool(readable)
        finally:
            os.close(handle)


@dataclass
class Instance:
    """One server with its own folder. Created stopped; ``start`` returns when it accepts connections."""

    release: Release
    name: str
    folder: Path
    port: int
    flags: dict[str, str | int | bool | None]
    owner: ProcessId | None = None  # the process that ends it; None: it runs until ``stop`` is called for it
    process: ProcessId | None = None
    user: str = "root"
    password: str = PASSWORD
    through: tuple[str, ...] = ()
    """A command that runs the server's command line, for example to give it another host name."""
    _child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def family(self) -> Family:
        return self.release.family

    @property
    def host(self) -> str:
        """Where it listens: loopback, unless a flag gives an address that Pods can reach."""
        return str(self.flags["bind_address"])

    @property
    def error_log(self) -> Path:
        return self.folder / "error.log"

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def running(self) -> bool:
        self._reap(0)
        return self.process is not None and self.process.alive

    def start(self) -> None:
        if self.running:
            return
        # A killed MySQL leaves it with its process id, and refuses to start if another process has that one by now.
        self.socket.with_name("socket.lock").unlink(missing_ok=True)
        line = [*self.through, *command(self.release, self.folder, self.port, self.flags)]
        with (self.folder / "output.log").open("ab") as output:
            # In its own session; otherwise a Ctrl-C meant for the tests would reach it.
            self._child = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
            )
        self.process = ProcessId.of(self._child.pid)
        self._record()
        self._await_greeting()

    def stop(self) -> None:
        """An orderly shutdown. The server is killed if it takes longer than three minutes."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Like a power cut: SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.kill()
        if os.path.ismount(self.folder / "data"):
            subprocess.run(["umount", "--lazy", str(self.folder / "data")], check=True)
        shutil.rmtree(self.folder)

    def log_tail(self, lines: int = 25) -> str:
        """The end of the server's log."""
        texts = [
            path.read_text(errors="replace") for path in (self.folder / "output.log", self.error_log) if path.exists()
        ]
        return "\n".join("".join(texts).splitlines()[-lines:])

    def _end(self, signal_number: signal.Signals) -> None:
        if self.process is not None and not self.process.end(signal_number, _STOP_SECONDS):
            self.process.end(signal.SIGKILL, _STOP_SECONDS)
        self._reap(_STOP_SECONDS)
        self.process = None
        self._record()

    def _reap(self, seconds: float) -> None:
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
                self._child = None

    def _await_greeting(self) -> None:
        """Wait until the server sends a greeting on connect, which means that it accepts logins."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if not self.running:
                raise Unavailable(f"{self.release} {self.name} ended while starting:\n{self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=5) as probe:
                if probe.recv(5)[4:] == b"\x0a":
                    return
            time.sleep(_GREETING_PAUSE)
        self.kill()
        raise Unavailable(f"{self.release} {self.name} took no connection for {_START_SECONDS} s:\n{self.log_tail()}")

    def _record(self) -> None:
        state = {
            "family": self.family,  # for older checkouts, which share this folder
            "release": self.release,
            "port": self.port,
            "flags": self.flags,
            "owner": self.owner and [self.owner.pid, self.owner.started_at],
            "process": self.process and [self.process.pid, self.process.started_at],
        }
        path = self.folder / "instance.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(state))
        partial.replace(path)


def _instances_folder() -> Path:
    folder = cache_folder() / "instances"
    folder.mkdir(exist_ok=True)
    return folder


def _recorded(folder: Path) -> Instance | None:
    try:
        state = json.loads((folder / "instance.json").read_text())
    except FileNotFoundError:
        return None
    owner, process = ((ProcessId(*state[key]) if state[key] else None) for key in ("owner", "process"))
    release = Release(state["release"]) if "release" in state else Release.of(Family(state["family"]))
    return Instance(release, folder.name, folder, state["port"], state["flags"], owner, process)


def instances() -> Iterator[Instance]:
    """Every instance on this machine, whoever started it."""
    for folder in sorted(_instances_folder().iterdir()):
        instance = _recorded(folder)
        if instance is not None:
            yield instance


def _free_port(taken: set[int]) -> int:
    for port in _PORTS:
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable(f"no free port in {_PORTS}")


def sweep() -> None:
    """End and remove instances whose owner was killed."""
    with locked("instances"):
        _sweep()


def _sweep() -> None:
    for instance in instances():
        if instance.owner is not None and not instance.owner.alive:
            instance.remove()


def create(
    what: Family | Release,
    name: str | None = None,
    flags: Flags | None = None,
    *,
    owned: bool = True,
    disk_megabytes: int | None = None,
) -> Instance:
    """A new stopped instance with a port of its own. ``owned``: it ends soon after this process.

    ``disk_megabytes`` gives it a disk of that size, for tests of full disks (at least 400).
    """
    release = what if isinstance(what, Release) else Release.of(what)
    source = template(release)
    with locked("instances"):
        _sweep()
        others = list(instances())
        name = name or f"{release}-{uuid.uuid4().hex[:8]}"
        folder = _instances_folder() / name
        if any(other.name == name for other in others):
            raise Unavailable(f"there is an instance {name} already; stop it first")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        port = _free_port({other.port for other in others})
        merged = default_flags(release, server_id=port) | dict(flags or {})
        owner = ProcessId.of(os.getpid()) if owned else None
        instance = Instance(release, name, folder, port, merged, owner)
        instance._record()  # noqa: SLF001 - takes the port before the lock is let go
    data = folder / "data"
    data.mkdir()
    if disk_megabytes is not None:
        disk = ["mount", "-t", "tmpfs", "-o", f"size={disk_megabytes}M", "ferry-test-disk", str(data)]
        subprocess.run(disk, check=True)
    subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", str(data)], check=True)
    return instance


def _parse_flags(words: list[str]) -> dict[str, str]:
    flags = {}
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        flags[name.replace("-", "_")] = value
    return flags


def _describe(instance: Instance) -> str:
    state = "running" if instance.running else "stopped"
    login = f"{instance.user}:{instance.password}@{instance.host}:{instance.port}"
    return f"{instance.name}  {instance.release}  {state}  {login}  log {instance.error_log}"


_CHOICES = f"{', '.join(Release)}; mysql and mariadb are those that most tests use"


def _release(word: str) -> Release:
    try:
        return Release.of(Family(word)) if word in list(Family) else Release(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r} is not one of {_CHOICES}") from error


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hack/servers.py", description="Throwaway MySQL and MariaDB servers.")
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install", help="install releases and make their templates")
    installing.add_argument("releases", nargs="+", type=_release, metavar="RELEASE", help=_CHOICES)
    starting = commands.add_parser("start", help="start an instance; it runs until stopped")
    starting.add_argument("release", type=_release, metavar="RELEASE", help=_CHOICES)
    starting.add_argument("name")
    starting.add_argument("flags", nargs="*", help="for example binlog_row_image=MINIMAL")
    commands.add_parser("list", help="every instance on this machine")
    stopping = commands.add_parser("stop", help="stop and remove instances")
    stopping.add_argument("names", nargs="*")
    stopping.add_argument("--all", action="store_true", help="all that were started by this program")
    options = parser.parse_args(arguments)
    try:
        return _act(options)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1


def _act(options: argparse.Namespace) -> int:
    if options.command == "install":
        for release in options.releases:
            template(release)
            print(f"{release.family} {install(release)}")
    elif options.command == "start":
        instance = create(options.release, options.name, _parse_flags(options.flags), owned=False)
        instance.start()
        print(_describe(instance))
    elif options.command == "list":
        for instance in instances():
            print(_describe(instance))
    else:
        chosen = [each for each in instances() if each.name in options.names or (options.all and each.owner is None)]
        for instance in chosen:
            instance.remove()
            print(f"{instance.name} stopped")
        return 0 if options.all or len(chosen) == len(set(options.names)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
