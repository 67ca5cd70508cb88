"""``kubectl ferry ui``: the copier's status page on a port of this machine. Called by ``main``.

A browser knows neither the copier's certificate nor its token, so this small proxy adds them. Every login on this
machine can reach it, so it passes on a fixed list of requests: reads, and the page's commands, which the copier refuses
with the kubectl line to use instead; never the operator's directive. It listens on loopback, and refuses what a foreign
web page could make a browser send.
"""

import contextlib
import http.client
import re
import socket
import threading
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kubectl_ferry.copier import Copier, forwarded
from kubectl_ferry.kubectl import CommandFailed, Kubectl

_PASSED_ON = ("Content-Type", "Content-Security-Policy", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy")
_PART = 65536
_IDLE_SECONDS = 120.0
"""Longer than a long poll, or the pause between two live events."""
_REQUEST_SECONDS = 10.0
"""From the connection to the end of the request."""
_MOST_CONNECTIONS = 50
"""A browser opens six at once."""
# The path is compared as it was sent. One that is written in another way (%64, //, ..) is not on the list.
_ALLOWED = {
    "GET": re.compile(r"/|/web/[a-z]+\.[a-z]+|/api/v1/(status|tables|run|settings|history|events)|/openapi\.json"),
    "POST": re.compile(r"/api/v1/(pause|resume|withdraw|cutover|abort|verify|throttle)"),
    "PUT": re.compile(r"/api/v1/settings"),
}
_QUERY = re.compile(r"[a-z]+=[a-zA-Z0-9.]*(&[a-z]+=[a-zA-Z0-9.]*)*")


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
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more than the limit is closed at once."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    """One request: http.server closes the connection after it."""

    server: Proxy
    timeout = _IDLE_SECONDS  # of each write: a client that does not read

    def setup(self) -> None:
        super().setup()
        self._deadline = threading.Timer(_REQUEST_SECONDS, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):  # it has been closed meanwhile
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        if not self._refused():
            self._pass_on(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and int(length) <= _PART):
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif not self._refused():
            body = self.rfile.read(int(length))
            if len(body) == int(length):  # otherwise the client has gone
                self._pass_on(body)

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def _refused(self) -> bool:
        """Whether the request is not passed on; then it has been answered."""
        if self._foreign():
            self.send_error(HTTPStatus.FORBIDDEN, "another host")
            return True
        path, mark, query = self.path.partition("?")
        if not _ALLOWED[self.command].fullmatch(path) or (mark and not _QUERY.fullmatch(query)):
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            return True
        return False

    def _foreign(self) -> bool:
        """Whether a web page of another site may have caused the request. An image's has no Origin."""
        host = self.headers.get("Host", "")
        return (
            host not in {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
            or self.headers.get("Origin", f"http://{host}") != f"http://{host}"
            or (self.path != "/" and self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"))
        )

    def _pass_on(self, body: bytes | None) -> None:
        self._deadline.cancel()
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
