"""One JSON POST to an address of the user: a webhook of the cutover, a notification.

With the standard library's HTTP: aiohttp takes half a second to import. No redirect is followed and no proxy is used,
so a token reaches the named address only. The answer's body is read for the message of a failure, and no further.
"""

import re
import socket
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

MOST_BODY_BYTES = 4096
_SHOWN_CHARACTERS = 200
_LATER = (408, 425, 429)
"""Answers of the 4xx class that may be others later."""
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?(?=[/?#]|\Z)", re.IGNORECASE)


class PostFailed(Exception):
    """``may_pass`` tells whether the same request can succeed later. The answer may be lost and the work be done."""

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.message = message
        self.may_pass = may_pass


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
    """Returns after any 2xx answer; raises PostFailed after another one, or none within ``timeout`` seconds in all."""
    parts, over = urlsplit(url), threading.Event()
    connection = _connection(parts, timeout)
    timer = threading.Timer(timeout, _break_off, (connection, over))
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        if over.is_set():  # the search for the name, or the handshake, took too long: nothing is sent
            raise TimeoutError
        status, text = _exchange(connection, parts, body, headers)
    except ssl.SSLCertVerificationError as error:
        raise PostFailed(f"its certificate is not accepted: {error.verify_message}", may_pass=False) from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: the timer closed the socket
        late = over.is_set() or isinstance(error, TimeoutError)
        problem = f"no answer within {timeout:g} s" if late else _problem(error)
        raise PostFailed(problem, may_pass=True) from error
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        shown = " ".join(text.split())[:_SHOWN_CHARACTERS]
        raise PostFailed(f"HTTP {status}{': ' if shown else ''}{shown}", may_pass=status >= 500 or status in _LATER)


def without_secrets(url: str) -> str:
    """Scheme, host and port of an address, for messages: the path of many webhooks is a secret, as a query may be.

    An ``@`` may end a password, wherever it is: then nothing is shown.
    """
    origin = _ORIGIN.match(url)
    return "(not shown)" if origin is None or "@" in url else origin.group()


def _problem(error: Exception) -> str:
    if isinstance(error, ValueError):  # its text may repeat a header, and so a token
        return "the request could not be written: its token or host name has characters that HTTP forbids"
    return str(error) or type(error).__name__


def _connection(parts: SplitResult, timeout: float) -> HTTPConnection:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout)


def _exchange(
    connection: HTTPConnection, parts: SplitResult, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str]:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("POST", path, body, {"Content-Type": "application/json", "Accept": "*/*", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read(MOST_BODY_BYTES).decode("utf-8", "replace")


def _break_off(connection: HTTPConnection, over: threading.Event) -> None:
    """A server that sends a byte now and then would prolong the timeout of the socket for ever."""
    over.set()
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended meanwhile
