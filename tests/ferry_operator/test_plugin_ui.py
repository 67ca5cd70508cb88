"""``kubectl ferry ui``: the status page of a copier in a cluster, in a browser without its token and certificate."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ferry_core.api.report import Stage
from ferry_core.control.listen import Address
from ferry_core.control.managed import Managed
from kubectl_ferry import ui
from kubectl_ferry.copier import Copier
from kubectl_ferry.ui import Proxy
from tests.support.browser import chromium
from tests.support.control import Run, serving
from tests.support.waits import PATIENCE_SECONDS, wait_until

UID = "0a0b0c0d-0000-0000-0000-000000000001"
BEARER = "a-token"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def url(run: Run, tmp_path: Path) -> Iterator[str]:
    """Of the proxy in front of a copier."""
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=DNS:{UID}"
    subprocess.run([*make.split(), "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"], check=True)
    tls = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    with serving(run, token=BEARER, tls_dir=tmp_path, managed=Managed("shop", "orders")) as server:
        assert isinstance(server.address, Address)
        with Proxy(Copier(server.address.port, UID, BEARER, tls), 0) as proxy:
            thread = threading.Thread(target=proxy.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{proxy.server_port}"
            finally:
                # A stream notices that the browser has gone when it sends; a connection left open would be a warning.
                wait_until(lambda: not _passing_on(run))
                proxy.shutdown()
                thread.join()


def _passing_on(run: Run) -> bool:
    run.progress.set_message(str(time.monotonic()))
    return any("process_request_thread" in each.name for each in threading.enumerate())


def test_the_page_is_live_and_its_buttons_show_the_kubectl_line(url: str, run: Run) -> None:
    with chromium() as browser:
        page = browser.new_page()
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        page.goto(f"{url}/")
        expect(page.locator("#phase")).to_have_text("Copying")
        run.progress.set_stage(Stage.STREAMING)
        expect(page.locator("#phase")).to_have_text("Streaming")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#ask-command")).to_contain_text("kubectl patch ferry orders -n shop")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_label("Workers").fill("2")
        page.locator("#settings button").click()
        expect(page.locator("#ask-command")).to_contain_text('"workers":2')
    assert run.asked == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/api/v1/directive", {}, 405),
        ("PUT", "/api/v1/directive?", {}, 405),
        ("PUT", "/api/v1/directive?a=1", {}, 405),
        ("PUT", "/api/v1/%64irective", {}, 405),
        ("PUT", "/api/v1/settings/../directive", {}, 405),
        ("PUT", "/api//v1/directive", {}, 405),
        ("PUT", "/api/v1/settings?x=/api/v1/directive", {}, 405),
        ("POST", "/api/v1/stop", {}, 405),
        ("GET", "/metrics", {}, 405),
        ("GET", "/api/v1/status?wait=1s&since=0", {}, 200),
        ("POST", "/api/v1/pause", {"Origin": "http://evil.example"}, 403),
        ("GET", "/api/v1/status", {"Host": "evil.example"}, 403),
        ("GET", "/api/v1/events", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/api/v1/pause", {}, 409),
        ("GET", "/", {"Sec-Fetch-Site": "cross-site"}, 200),
    ],
)
def test_it_passes_on_only_what_the_page_asks_for(
    url: str, run: Run, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = b'{"generation": 9, "aborted": true}' if method == "PUT" else None if method == "GET" else b"{}"
    request = urllib.request.Request(url + path, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status
    assert run.asked == []


def _closed(connection: socket.socket) -> bool:
    """Whether the proxy ends the connection without an answer."""
    connection.settimeout(PATIENCE_SECONDS)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_slow_request_is_cut_and_too_many_are_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "_REQUEST_SECONDS", 0.2)
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST /api/v1/pause HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 9\r\n"
    for sent in ("", head, f"{head}\r\n"):
        with socket.create_connection(address) as slow:
            slow.sendall(sent.encode())
            assert _closed(slow), sent
    monkeypatch.setattr(ui, "_REQUEST_SECONDS", 600.0)
    with contextlib.ExitStack() as stack:
        for _ in range(ui._MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(address))
        assert _closed(stack.enter_context(socket.create_connection(address)))
    wait_until(lambda: _answers(url))
