"""A server that speaks just enough of the MySQL protocol to be believed, and then does what a test wants.

    with rogue(lambda link, statement: link.send(1, b"\xfb/etc/passwd")) as server:
        Session(server.endpoint(), ...).query(...)

Everything that its clients send is in ``received``.
"""

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint

PASSWORD = "not for everybody"
_PLAIN = 0x00000001 | 0x00000200 | 0x00008000 | 0x00080000  # long password, 4.1, secure connection, plugins
_TLS = 0x00000800
OK = b"\0\0\0\x02\0\0\0"
EOF = b"\xfe\0\0\x02\0"
REFUSED = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied"


def text(value: bytes) -> bytes:
    """A length-encoded text of at most 250 bytes."""
    return bytes([len(value)]) + value


def column(name: bytes = b"c") -> bytes:
    """The description of a column of VARCHAR."""
    return b"\x03def\0\0\0" + text(name) + b"\0" + b"\x0c\x3f\0\xff\0\0\0\xfd\0\0\0\0\0"


class Link:
    """One connection of a client."""

    def __init__(self, sock: socket.socket, received: list[bytes]) -> None:
        self.sock = sock
        self._received = received

    def send(self, number: int, packet: bytes) -> None:
        self.sock.sendall(struct.pack("<I", len(packet))[:3] + bytes([number & 0xFF]) + packet)

    def receive(self) -> bytes:
        """The next packet; empty at the end."""
        header = self._exactly(4)
        packet = self._exactly(int.from_bytes(header[:3], "little"))
        self._received.append(packet)
        return packet

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self.sock.recv(size - len(found))):
            found += piece
        return found

    def rows(self, *rows: tuple[bytes, ...]) -> None:
        """An honest answer."""
        packets = [bytes([len(rows[0])]), *[column()] * len(rows[0]), EOF]
        packets += [b"".join(map(text, row)) for row in rows]
        for number, packet in enumerate([*packets, EOF], 1):
            self.send(number, packet)


Answer = Callable[[Link, bytes], None]


class RogueServer:
    """``login`` follows the greeting; ``answer`` is called with each statement that does not open a session."""

    def __init__(self, answer: Answer, login: Callable[[Link], None], greeting: bytes) -> None:
        self.received: list[bytes] = []
        self._answer, self._login, self._greeting = answer, login, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def endpoint(self, role: ServerRole = ServerRole.SOURCE, tls: ssl.SSLContext | None = None) -> Endpoint:
        return Endpoint(role, "127.0.0.1", self.port, "ferry", PASSWORD, tls, tls_required=tls is not None)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(60)
                self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        link = Link(sock, self.received)
        with contextlib.suppress(OSError):
            link.send(0, self._greeting)
            self._login(link)
            while statement := link.receive()[1:]:
                if statement.startswith(b"SET"):
                    link.send(1, OK)
                elif statement.startswith(b"SELECT CONNECTION_ID()"):
                    link.rows((b"1", b"9.7.0", b"a-name", b"a-start"))
                else:
                    self._answer(link, statement)
        link.sock.close()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(90)

    @property
    def learnt_the_password(self) -> bool:
        return any(re.search(re.escape(PASSWORD.encode()), packet) for packet in self.received)


def greeting(*, tls: bool = False, method: bytes = b"mysql_native_password") -> bytes:
    """As MySQL sends it."""
    capabilities = struct.pack("<I", _PLAIN | (_TLS if tls else 0))
    start = b"\x0a9.7.0\0" + struct.pack("<I", 1) + b"12345678\0" + capabilities[:2] + b"\x2d\x02\0"
    return start + capabilities[2:] + b"\x15" + bytes(10) + b"123456789012\0" + method + b"\0"


def accept(link: Link) -> None:
    """Let anybody in."""
    link.receive()
    link.send(2, OK)


def switch_to(method: bytes) -> Callable[[Link], None]:
    """A login that asks for another method."""

    def login(link: Link) -> None:
        link.receive()
        link.send(2, b"\xfe" + method + b"\0" + b"\x04Password: ")
        link.receive()

    return login


def with_own_key(method: bytes, key: bytes) -> Callable[[Link], None]:
    """A login that asks for the password encrypted with a key of the server's own."""

    def login(link: Link) -> None:
        link.receive()
        link.send(2, b"\xfe" + method + b"\0" + b"12345678901234567890\0")
        link.receive()
        number = 4
        if method == b"caching_sha2_password":
            link.send(number, b"\x01\x04")
            link.receive()
            number += 2
        link.send(number, b"\x01" + key)
        link.receive()

    return login


def nothing(_link: Link, _statement: bytes) -> None:
    """An answer that never comes."""


@contextmanager
def rogue(
    answer: Answer = nothing, *, login: Callable[[Link], None] = accept, hello: bytes | None = None
) -> Iterator[RogueServer]:
    server = RogueServer(answer, login, greeting() if hello is None else hello)
    try:
        yield server
    finally:
        server.end()
