"""``kubectl ferry ui``: the copier's status page on a port of this machine. Called by ``main``.

A browser knows neither the copier's certificate nor its token, so this small proxy adds them. It passes on reads, and
the page's commands, which the copier refuses with the kubectl line to use instead; never the operator's directive. It
listens on loopback, and refuses what a foreign web page could make a browser send.
"""

import http.client
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubectl_ferry.copier import Copier, forwarded
from kubectl_ferry.kubectl import CommandFailed, Kubectl

_PASSED_ON = ("Content-Type", "Content-Security-Policy", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy")
_PART = 65536
_IDLE_SECONDS = 120.0
"""Longer than a long poll, or the pause between two live events."""


def ui(kubectl: Kubectl, name: str, port: int, *, browser: bool) -> int:
    """Until it is interrupted."""
    with forwarded(kubectl, kubectl.ferry(name)) as copier:
        try:
            server = Proxy(copier, port)
        except OSError as error:
            raise CommandFailed(f"127.0.0.1:{port}: {error.strerror}; give another --port") from error
        with server:
            url = f"http://127.0.0.1:{server.server_port}/"
            print(f"{name}: {url}  (Ctrl-C ends it)", flush=True)
            if browser:
                webbrowser.open(url)
            server.serve_forever()
    return 0


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, copier: Copier, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.copier = copier


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if self.path == "/api/v1/directive" or not (length.isascii() and length.isdigit() and int(length) <= _PART):
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        self._pass_on(self.rfile.read(int(length)))

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def _foreign(self) -> bool:
        """Whether a web page of another site may have caused the request. An image's has no Origin."""
        host = self.headers.get("Host", "")
        return (
            host not in {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
            or self.headers.get("Origin", f"http://{host}") != f"http://{host}"
            or (self.path != "/" and self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"))
        )

    def _pass_on(self, body: bytes | None) -> None:
        if self._foreign():
            self.send_error(HTTPStatus.FORBIDDEN, "another host")
            return
        try:
            answer = self.server.copier.request(
                self.path, self.headers.get("Accept", "*/*"), _IDLE_SECONDS, method=self.command, body=body
            )
        except (OSError, http.client.HTTPException) as error:
            self.send_error(
                HTTPStatus.BAD_GATEWAY, "the copier does not answer", f"{error}; start kubectl ferry ui again"
            )
            return
        self.send_response(answer.status)
        for header in _PASSED_ON:
            if (value := answer.headers.get(header)) is not None:
                self.send_header(header, value)
        self.end_headers()
        try:
            while part := answer.read1(_PART):
                self.wfile.write(part)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            return  # the browser has closed the page, or the copier has ended
        finally:
            answer.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """No line for each request."""
