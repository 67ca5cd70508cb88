"""What clients without a token can do to an HTTP server by opening connections and sending nothing, or nonsense."""

import contextlib
import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from ferry_core import http_limits
from ferry_core.control.listen import Address
from ferry_core.control.server import ControlServer
from tests.support.control import TOKEN, Run, serving
from tests.support.waits import wait_until


@pytest.fixture
def server() -> Iterator[ControlServer]:
    with serving(Run()) as server:
        yield server


def connect(server: ControlServer) -> socket.socket:
    assert isinstance(server.address, Address)
    return socket.create_connection((server.address.host, server.address.port), timeout=60)


def ask(server: ControlServer, request: bytes) -> tuple[int, bytes]:
    """Status and body of one answer; the server closes the connection."""
    with connect(server) as link:
        link.sendall(request)
        return answered(link)


def answered(link: socket.socket) -> tuple[int, bytes]:
    whole = b"".join(iter(lambda: link.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def closed(link: socket.socket) -> bool:
    """Whether the server has ended the connection. Reads what it sent."""
    link.setblocking(False)
    try:
        return link.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def test_idle_connections_leave_room_for_others(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 600.0)
    with contextlib.ExitStack() as links:
        idle = [links.enter_context(connect(server)) for _ in range(http_limits.MOST_CONNECTIONS + 60)]
        assert ask(server, HEALTH)[0] == 200
        wait_until(lambda: sum(closed(link) for link in idle) >= 60, "the oldest are closed")
        assert not closed(idle[-1])


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_without_a_complete_head_is_closed(
    server: ControlServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.5)
    with connect(server) as link:
        link.sendall(sent)
        wait_until(lambda: closed(link), "it is closed")


def test_a_connection_that_sends_no_further_request_is_closed(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "IDLE_SECONDS", 0.5)
    with connect(server) as link:
        link.sendall(HEALTH.replace(b"Connection: close\r\n", b""))
        wait_until(lambda: closed(link), "it is closed")


def test_a_request_whose_body_does_not_arrive_is_refused(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "BODY_SECONDS", 0.5)
    authorization = b"Authorization: Bearer " + TOKEN.encode()
    head = b"POST /api/v1/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 100\r\n"
    status, body = ask(server, head + authorization + b"\r\n\r\n{")
    assert (status, json.loads(body)["reason"]) == (408, "BadRequest")


def test_a_long_poll_is_not_idle(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.3)
    authorization = b"Authorization: Bearer " + TOKEN.encode()
    path = b"GET /api/v1/status?wait=2s&since=1000000 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    began = time.monotonic()
    assert ask(server, path + authorization + b"\r\n\r\n")[0] == 200
    assert time.monotonic() - began >= 1.5


NONSENSE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no method": b" / HTTP/1.1\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "bad chunk": b"POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "host": b"GET /api/v1/status HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n",
    "origin": HEALTH.replace(b"\r\n\r\n", b"\r\nOrigin: http://[\r\n\r\n"),
}


@pytest.mark.parametrize("request_", NONSENSE.values(), ids=NONSENSE)
def test_a_malformed_request_is_refused_without_a_traceback(
    server: ControlServer, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        status, _ = ask(server, request_)
    assert 400 <= status < 500
    assert [record for record in caplog.records if record.exc_info] == []


def test_deeply_nested_json_is_a_bad_request(server: ControlServer, caplog: pytest.LogCaptureFixture) -> None:
    authorization = b"\r\nAuthorization: Bearer " + TOKEN.encode()
    body = b"[" * 200_000
    for path in (b"POST /api/v1/pause", b"PUT /api/v1/directive"):
        head = path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %d" % len(body)
        assert ask(server, head + authorization + b"\r\n\r\n" + body)[0] == 400
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_lack_of_file_descriptors_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    others: list[object] = []
    handler = http_limits._AcceptErrors(lambda _, context: others.append(context["message"]))
    error = OSError(24, "Too many open files")
    for _ in range(50):
        handler(None, {"message": "socket.accept() out of system resource", "exception": error})  # type: ignore[arg-type]
    handler(None, {"message": "something else", "exception": error})  # type: ignore[arg-type]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert others == ["something else"]
