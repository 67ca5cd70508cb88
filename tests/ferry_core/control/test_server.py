"""Access to the ControlServer: token, TLS, addresses, foreign web pages."""

import asyncio
import concurrent.futures
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from ferry_core.control.listen import Address, tls_context
from ferry_core.control.server import ControlServer
from ferry_core.errors import ConfigError
from tests.support.control import TOKEN, Run, ask, client, refused, serving


def test_stopping_does_not_wait_for_polls(run: Run) -> None:
    known = run.progress.report().revision
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with serving(run) as server:
            waiting = pool.submit(ask, server, "GET", f"/api/v1/status?wait=60s&since={known}")
            assert not concurrent.futures.wait([waiting], 0.3).done
            started = time.monotonic()
        assert time.monotonic() - started < 40
        assert waiting.result(60)[0] == 200


def test_the_page_is_self_contained_and_holds_no_secret(run: Run) -> None:
    async def fetch(server: ControlServer) -> tuple[str, str]:
        async with client(server) as session, session.get("/") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            return await answer.text(), answer.headers["Content-Security-Policy"]

    with serving(run, token=TOKEN) as server:
        page, policy = asyncio.run(fetch(server))
    assert "innerHTML" not in page
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert TOKEN not in page


def test_the_token(run: Run) -> None:
    with serving(run, token=TOKEN) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
            for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/abort"), ("GET", "/metrics")):
                refused(ask(server, method, path, headers=headers), 401, "Unauthorized")
        refused(ask(server, "GET", "/nothing"), 401, "Unauthorized")
        assert run.asked == []
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "POST", "/api/v1/pause", headers=headers)[0] == 200
        assert ask(server, "GET", "/healthz")[0] == 200
        assert ask(server, "GET", "/readyz")[0] == 200


def test_requests_from_foreign_web_pages_are_refused(server: ControlServer, run: Run) -> None:
    refused(ask(server, "POST", "/api/v1/cutover", headers={"Origin": "https://evil.example"}), 403, "ForeignOrigin")
    refused(ask(server, "POST", "/api/v1/cutover", headers={"Origin": "null"}), 403, "ForeignOrigin")
    refused(ask(server, "GET", "/api/v1/status", headers={"Host": "evil.example:8080"}), 403, "ForeignHost")
    for site in ("cross-site", "same-site"):  # an image or a link: no Origin
        refused(ask(server, "GET", "/api/v1/events", headers={"Sec-Fetch-Site": site}), 403, "ForeignOrigin")
        assert ask(server, "GET", "/", headers={"Sec-Fetch-Site": site})[0] == 200
    assert run.asked == []
    for site in ("same-origin", "none"):
        assert ask(server, "GET", "/api/v1/status", headers={"Sec-Fetch-Site": site})[0] == 200
    assert ask(server, "POST", "/api/v1/pause", headers={"Origin": server.url})[0] == 200
    assert isinstance(server.address, Address)
    assert ask(server, "GET", "/api/v1/status", headers={"Host": f"localhost:{server.address.port}"})[0] == 200


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.com:80", "192.0.2.1:80"])
def test_off_loopback_needs_a_token(run: Run, listen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ControlServer(run, listen)
    assert caught.value.reason == "TokenRequired"
    with pytest.raises(ConfigError):
        ControlServer(run, listen, tokens={"ops": ""})


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "1.2.3.4"])
def test_listen_must_be_an_address(run: Run, listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        ControlServer(run, listen, tokens={"ops": TOKEN})


def test_a_port_in_use_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{port}.*--listen") as caught:
            ControlServer(run, f"127.0.0.1:{port}").start()
    assert caught.value.reason == "PortInUse"


def test_an_address_of_another_machine(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"--listen 192\.0\.2\.1:1"):
        ControlServer(run, "192.0.2.1:1", tokens={"ops": TOKEN}).start()


def test_the_port_is_free_again_at_once(run: Run) -> None:
    with serving(run) as server:
        listen = str(server.address)
        ask(server, "GET", "/healthz")
    with serving(run, listen) as server:
        assert ask(server, "GET", "/healthz")[0] == 200


def test_tls(run: Run, tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"], check=True)
    context = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    with serving(run, token=TOKEN, tls_dir=tmp_path) as server:
        assert server.url.startswith("https://")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "GET", "/api/v1/status", headers=headers, ssl=context)[0] == 200
    served = tls_context(tmp_path)
    assert served is not None
    assert served.num_tickets == 0


def test_invalid_tls_material(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls\.crt") as caught:
        ControlServer(run, "127.0.0.1:0", tls_dir=tmp_path).start()
    assert caught.value.reason == "TlsMaterialInvalid"
    (tmp_path / "tls.crt").write_text("nonsense")
    (tmp_path / "tls.key").write_text("nonsense")
    with pytest.raises(ConfigError):
        ControlServer(run, "127.0.0.1:0", tls_dir=tmp_path).start()
