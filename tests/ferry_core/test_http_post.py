"""One POST to a real HTTP server: which answers count, and what happens without one."""

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ferry_core import http_post
from ferry_core.http_post import PostFailed, post, without_secrets
from tests.support.hooks import DRIP, HANG, LOST, HookServer
from tests.support.kube_api import Authority


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_is_success(status: int) -> None:
    with HookServer() as server:
        server.answers["/a"] = [status]
        post(server.url("/a"), b'{"a": 1}', {"Idempotency-Key": "k"}, 30)
    (received,) = server.received
    assert received.body == {"a": 1}
    assert received.headers["Idempotency-Key"] == "k"
    assert received.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [(400, False), (401, False), (404, False), (409, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_other_answers_are_failures_that_may_pass_or_not(status: int, may_pass: bool) -> None:
    with HookServer() as server:
        server.answers["/a"] = [status]
        with pytest.raises(PostFailed, match=f"HTTP {status}: told to say {status}") as caught:
            post(server.url("/a"), b"{}", {}, 30)
    assert caught.value.may_pass is may_pass


def test_a_redirect_is_not_followed() -> None:
    with HookServer() as server:
        server.answers["/a"] = [307]
        with pytest.raises(PostFailed, match="HTTP 307") as caught:
            post(server.url("/a"), b"{}", {"Authorization": "Bearer t"}, 30)
        assert server.at("/elsewhere") == []
    assert not caught.value.may_pass


def test_a_lost_answer_may_pass() -> None:
    with HookServer() as server:
        server.answers["/a"] = [LOST]
        with pytest.raises(PostFailed) as caught:
            post(server.url("/a"), b"{}", {}, 30)
    assert caught.value.may_pass


@pytest.mark.parametrize("kind", [HANG, DRIP])
def test_the_timeout_is_for_the_whole_exchange(kind: int) -> None:
    with HookServer() as server:
        server.answers["/a"] = [kind]
        began = time.monotonic()
        with pytest.raises(PostFailed, match=r"no answer within 0\.5 s"):
            post(server.url("/a"), b"{}", {}, 0.5)
        assert time.monotonic() - began < 15


def test_nobody_listens() -> None:
    with HookServer() as server:
        url = server.url("/a")
    with pytest.raises(PostFailed, match="refused") as caught:
        post(url, b"{}", {}, 30)
    assert caught.value.may_pass


def test_a_certificate_must_be_signed_by_a_known_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    signed, chain, ca = authority.sign("localhost"), tmp_path / "chain.pem", tmp_path / "ca.pem"
    chain.write_bytes(signed.certificate + signed.key)
    ca.write_bytes(authority.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    with HookServer(tls=context) as server:
        url = server.url("/a", "localhost")
        with pytest.raises(PostFailed, match="certificate is not accepted") as caught:
            post(url, b"{}", {}, 30)
        assert not caught.value.may_pass
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        post(url, b"{}", {}, 30)
    assert len(server.received) == 1


@pytest.mark.parametrize("token", ["geheim\rgeheim", "geheim\u20acgeheim"])
def test_a_token_that_cannot_be_sent_is_not_shown(token: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        with pytest.raises(PostFailed, match="characters that HTTP forbids") as caught:
            post(url, b"{}", {"Authorization": f"Bearer {token}"}, 30)
    assert "geheim" not in str(caught.value)


def test_nothing_is_sent_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the search for the name takes too long."""
    found, late = socket.getaddrinfo, threading.Event()
    break_off = http_post._break_off

    def search(*args: Any, **named: Any) -> Any:
        assert late.wait(30)
        return found(*args, **named)

    def over(*args: Any) -> None:
        break_off(*args)
        late.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", search)
        monkeypatch.setattr(http_post, "_break_off", over)
        with pytest.raises(PostFailed, match=r"no answer within 0\.2 s"):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/a", b"{}", {}, 0.2)
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(1) == b""


@pytest.mark.parametrize(
    "url",
    [
        "https://gate:8443",
        "https://gate:8443/services/T/B/secret",
        "https://gate:8443?token=secret",
        "https://gate:8443#secret",
    ],
)
def test_an_address_in_a_message_has_no_path(url: str) -> None:
    assert without_secrets(url) == "https://gate:8443"


def test_the_address_of_a_host_by_its_number_is_shown() -> None:
    assert without_secrets("http://[fd00::1]:80/secret") == "http://[fd00::1]:80"


@pytest.mark.parametrize(
    "url",
    ["https://user:secret@gate/w", "https://u:sec?ret@gate", "https://sec/ret@gate", "https://u:secret", "secret"],
)
def test_an_address_that_may_have_a_password_is_not_shown(url: str) -> None:
    assert without_secrets(url) == "(not shown)"
