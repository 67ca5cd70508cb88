"""A server may choose the login method: one that sends the password itself must first prove who it is."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ferry_core.binlog.handshake import connect_dump
from ferry_core.errors import ConfigError, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session

PASSWORD = "not for everybody"
_CAPABILITIES = 0x00000001 | 0x00000200 | 0x00008000 | 0x00080000  # long password, 4.1, secure connection, plugins


class RogueServer:
    """Greets as MySQL does, without TLS, and answers each login by asking for another method."""

    def __init__(self, method: bytes) -> None:
        self._method = method
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        link, _ = self._listener.accept()
        with link:
            link.settimeout(60)
            low, high = struct.pack("<H", _CAPABILITIES & 0xFFFF), struct.pack("<H", _CAPABILITIES >> 16)
            greeting = b"\x0a9.7.0\0" + struct.pack("<I", 1) + b"12345678\0" + low + b"\x2d\x02\0" + high
            greeting += b"\x15" + bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
            self._send(link, 0, greeting)
            self._receive(link)
            self._send(link, 2, b"\xfe" + self._method + b"\0" + b"\x04Password: ")
            self._receive(link)

    @staticmethod
    def _send(link: socket.socket, number: int, packet: bytes) -> None:
        link.sendall(struct.pack("<I", len(packet))[:3] + bytes([number]) + packet)

    def _receive(self, link: socket.socket) -> None:
        self.received.append(link.recv(65536))

    def end(self) -> None:
        self._listener.close()
        self._thread.join(60)


@contextmanager
def asking(method: bytes) -> Iterator[RogueServer]:
    server = RogueServer(method)
    try:
        yield server
    finally:
        server.end()


@pytest.mark.parametrize("method", [b"mysql_clear_password", b"dialog"])
@pytest.mark.parametrize(
    "connect", [lambda endpoint: Session(endpoint, Purpose.CONTROL), connect_dump], ids=["session", "stream"]
)
def test_the_password_is_not_sent_in_clear(method: bytes, connect: Callable[[Endpoint], object]) -> None:
    with asking(method) as server:
        endpoint = Endpoint(ServerRole.SOURCE, "127.0.0.1", server.port, "ferry", PASSWORD)
        with pytest.raises(ConfigError) as refused:
            connect(endpoint)
    assert refused.value.reason == "PasswordInClear"
    assert f"127.0.0.1:{server.port} asks for the password of ferry in clear" in refused.value.message
    assert not any(PASSWORD.encode() in packet for packet in server.received)
