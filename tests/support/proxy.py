"""A TCP proxy between the engine and a server, to break their connections where and how a test wants.

    with Proxy(server.host, server.port) as proxy:
        proxy.hold(b"COMMIT")            # the next COMMIT sent by a client stays in the proxy
        ... start the engine against proxy.host, proxy.port ...
        proxy.wait_held()
        proxy.cut_clients()              # the engine sees a lost connection; the server still sees a live one
        proxy.release()                  # and now the commit lands

Works on plain connections only: under TLS there is nothing to recognise.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from ferry_core.mysql.identity import COLUMNS
from ferry_core.mysql.session import NO_LIMITS
from tests.support.waits import PATIENCE_SECONDS

_COM_QUERY = 3
_COM_QUIT = 1
_HEADER = 5  # of a MySQL command packet: three bytes length, sequence number, command


class Direction(Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


@dataclass
class Counts:
    """Traffic so far."""

    connections: int = 0
    refused: int = 0
    held: int = 0
    ran_out: int = 0
    """Connections that ``cut_after`` has broken."""
    bytes: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))


@dataclass
class _Hold:
    pattern: bytes
    skip: int
    link: "_Link | None" = None  # None: any


@dataclass(eq=False)
class _Link:
    client: socket.socket
    server: socket.socket
    client_gone: bool = False
    holding: bool = False
    kept: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    budget: dict[Direction, int] = field(default_factory=dict)
    sent: bytearray | None = None
    """What the client sent, if it was led to another server."""

    def end(self) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):  # the other side was faster
                one.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens on ``host``:``port`` from construction until ``close``; controls affect live connections at once."""

    def __init__(self, server_host: str, server_port: int) -> None:
        self._home = self._upstream = (server_host, server_port)
        self._visits: Iterator[tuple[str, int]] = iter(())
        self._strays: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host, self.port = self._listener.getsockname()
        self.counts = Counts()
        self._state = threading.Condition()
        self._links: list[_Link] = []
        self._paused: set[Direction] = set()
        self._stuck: set[_Link] = set()
        self._refusing = False
        self._hold: _Hold | None = None
        self._cut_after: dict[Direction, int] = {}
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, name="proxy-accept", daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    # Controls

    def pause(self, *directions: Direction) -> None:
        """Forward nothing in that direction (default both) until ``resume``; connections stay open."""
        with self._state:
            self._paused.update(directions or Direction)

    def wait_stuck(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until ``pause`` holds back a request or an answer of every open connection."""
        with self._state:
            stuck = self._state.wait_for(lambda: self._links and self._stuck.issuperset(self._links), seconds)
        assert stuck, f"{len(self._stuck)} of {len(self._links)} connections ran into the pause within {seconds} s"

    @property
    def stuck(self) -> int:
        """Number of connections that have something to carry, which ``pause`` holds back."""
        with self._state:
            return len(self._stuck)

    def resume(self) -> None:
        with self._state:
            self._paused.clear()
            self._state.notify_all()

    def refuse(self) -> None:
        """Close every new connection at once; open ones continue."""
        self._refusing = True

    def accept(self) -> None:
        self._refusing = False

    def lead_to(self, server_host: str, server_port: int) -> None:
        """Lead new connections to another server; open ones stay where they are."""
        with self._state:
            self._upstream = (server_host, server_port)

    def lead_astray(self, server_host: str, server_port: int, gaps: Iterable[int]) -> None:
        """Lead single new connections to another server, with as many to the proxy's own before each as ``gaps`` says.
        None after the last gap.
        """
        with self._state:
            self._visits = (upstream for gap in gaps for upstream in [*[self._home] * gap, (server_host, server_port)])

    @property
    def led_astray(self) -> int:
        """Number of connections that were led to another server."""
        with self._state:
            return len(self._strays)

    def asked_elsewhere(self) -> list[str]:
        """Statements that clients sent to other servers than the proxy's own; any other command as <number>."""
        with self._state:
            return [command for sent in self._strays for command in _commands(bytes(sent))]

    def cut(self) -> int:
        """Break all open connections, both sides; returns how many."""
        with self._state:
            for link in self._links:
                link.end()
            self._state.notify_all()
            return len(self._links)

    def cut_clients(self) -> int:
        """Break only the clients' side: the server still executes what it received or receives by ``release``.
        Returns how many.
        """
        with self._state:
            for link in self._links:
                link.client_gone = True
                with contextlib.suppress(OSError):
                    link.client.shutdown(socket.SHUT_RDWR)
            return len(self._links)

    def cut_after(self, count: int, direction: Direction = Direction.TO_SERVER) -> None:
        """Break each connection, open or new, when it has moved ``count`` more bytes in that direction."""
        with self._state:
            self._cut_after[direction] = count
            for link in self._links:
                link.budget[direction] = count

    def cut_no_more(self) -> None:
        """Undo ``cut_after``."""
        with self._state:
            self._cut_after.clear()
            for link in self._links:
                link.budget.clear()

    def hold(self, pattern: bytes, skip: int = 0) -> None:
        """Hold back the first command (after ``skip`` others) with ``pattern``, and everything its connection sends
        afterwards.
        """
        with self._state:
            self._hold = _Hold(pattern, skip)
            for link in self._links:
                link.tail = b""  # bytes sent before are not the command

    def wait_held(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until ``hold`` has caught a command."""
        with self._state:
            caught = self._state.wait_for(lambda: any(link.holding for link in self._links), seconds)
        assert caught, f"no client sent the command to hold within {seconds} s"

    def release(self, then: bytes | None = None) -> None:
        """Send the held command to the server, even if the client is gone. ``then`` is held next on the same
        connection.
        """
        with self._state:
            self._hold = None
            for link in self._links:
                if link.holding:
                    with contextlib.suppress(OSError):  # the server has ended it meanwhile
                        link.server.sendall(link.kept)
                    link.kept.clear()
                    link.holding = False
                    link.tail = b""
                    if then is not None:
                        self._hold = _Hold(then, 0, link)

    def close(self) -> None:
        """Break everything and end all threads."""
        with self._state:
            self._closing = True
            self._paused.clear()
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        self._listener.close()

    @property
    def open_connections(self) -> int:
        with self._state:
            return len(self._links)

    # Threads

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            if self._refusing:
                self.counts.refused += 1
                client.close()
                continue
            upstream = self._next_upstream()
            try:
                server = socket.create_connection(upstream, timeout=PATIENCE_SECONDS)
            except OSError:
                self.counts.refused += 1
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(_Link(client, server, budget=dict(self._cut_after)), astray=upstream != self._home)

    def _next_upstream(self) -> tuple[str, int]:
        with self._state:
            return next(self._visits, self._upstream)

    def _serve(self, link: _Link, *, astray: bool) -> None:
        with self._state:
            self.counts.connections += 1
            self._links.append(link)
            if astray:
                link.sent = bytearray()
                self._strays.append(link.sent)
        thread = threading.Thread(target=self._carry, args=(link,), name="proxy-link", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _carry(self, link: _Link) -> None:
        to_client = threading.Thread(
            target=self._pump, args=(link, Direction.TO_CLIENT), name="proxy-to-client", daemon=True
        )
        to_client.start()
        self._pump(link, Direction.TO_SERVER)
        to_client.join()
        with self._state:
            self._links.remove(link)
        link.client.close()
        link.server.close()

    def _pump(self, link: _Link, direction: Direction) -> None:
        """Carry bytes in one direction until either side ends. A client that was cut does not close the server's
        side.
        """
        to_server = direction is Direction.TO_SERVER
        incoming = link.client if to_server else link.server
        while True:
            try:
                data = incoming.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            self._wait_while_paused(link, direction)
            if not self._forward(link, direction, data):
                break
        if to_server and link.client_gone:
            return
        link.end()

    def _wait_while_paused(self, link: _Link, direction: Direction) -> None:
        with self._state:
            if direction in self._paused:
                self._stuck.add(link)
                self._state.notify_all()
                self._state.wait_for(lambda: direction not in self._paused)
                self._stuck.discard(link)

    def _forward(self, link: _Link, direction: Direction, data: bytes) -> bool:
        """Pass it on as far as the test allows; False when that ended the connection."""
        with self._state:
            if direction is Direction.TO_SERVER:
                if link.sent is not None:
                    link.sent += data
                data = self._keep_back(link, data)
            budget = link.budget.get(direction)
            if budget is not None:
                data = data[:budget]
                link.budget[direction] = budget - len(data)
        outgoing = link.server if direction is Direction.TO_SERVER else link.client
        self.counts.bytes[direction] += len(data)
        try:
            outgoing.sendall(data)
        except OSError:
            # Replies to a client that was cut are read and dropped, so that the server does not block on them.
            return link.client_gone and direction is Direction.TO_CLIENT
        if link.budget.get(direction) == 0:
            self.counts.ran_out += 1
            return False
        return True

    def _keep_back(self, link: _Link, data: bytes) -> bytes:
        """Returns the part of ``data`` to pass on; the rest is kept for ``release``."""
        if link.holding:
            link.kept += data
            return b""
        if self._hold is None or self._hold.link not in (None, link):
            return data
        seen = link.tail + data
        at = seen.find(self._hold.pattern)
        link.tail = seen[-(len(self._hold.pattern) - 1) :] if len(self._hold.pattern) > 1 else b""
        if at < 0:
            return data
        link.tail = b""
        if self._hold.skip:
            self._hold.skip -= 1
            return data
        # All of it: the beginning of a command could reach the server after the rest, which ``release`` sends at once.
        # And a server with half of a packet gives up after net_read_timeout.
        link.kept += data
        link.holding = True
        self.counts.held += 1
        self._hold = None
        self._state.notify_all()
        return b""


def _commands(sent: bytes) -> list[str]:
    """Of everything that a client sent: the packets that begin a command, without the login and file contents."""
    found = []
    while len(sent) >= _HEADER:
        size, number = int.from_bytes(sent[:3], "little"), sent[3]
        command, text = sent[4], sent[_HEADER : 4 + size]
        if number == 0 and command != _COM_QUIT:
            found.append(text.decode("utf-8", "replace") if command == _COM_QUERY else f"<{command}>")
        sent = sent[4 + size :]
    return found


def is_closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the peer closes ``connection`` within the time."""
    readable, _, _ = select.select([connection], [], [], seconds)
    if not readable:
        return False
    try:
        return connection.recv(1) == b""
    except OSError:
        return True


_OF_ITS_OWN_SESSION = ("SET NAMES ", "SET AUTOCOMMIT ", f"SET {NO_LIMITS}", "SET @master_binlog_checksum = ")


def assert_not_used(proxy: Proxy) -> None:
    """Stray connections sent only what was needed to find out that they were stray. Visible only without TLS."""
    said = [one for one in proxy.asked_elsewhere() if COLUMNS not in one and not one.startswith(_OF_ITS_OWN_SESSION)]
    assert not said, said
