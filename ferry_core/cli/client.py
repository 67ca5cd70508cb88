"""The CLI's client for a ControlServer: one request, one answer, clear errors. Used by ``verbs``.

With the standard library's HTTP: aiohttp takes half a second to import, more than everything else that a verb does.
"""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from pydantic import JsonValue, TypeAdapter, ValidationError

from ferry_core.api.control import PassAsked, Settings
from ferry_core.api.report import Report, TableReport
from ferry_core.errors import ConfigError, ExitCode, FerryError
from ferry_core.reasons import Reason

TIMEOUT_SECONDS = 30.0

_TABLES = TypeAdapter(list[TableReport])


class Refused(FerryError):
    """The server refused the verb because it does not fit the run's current state."""

    exit_code = ExitCode.CONFIG


class _UnixConnection(HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class ControlClient:
    """One ControlServer; ``url`` without a path."""

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self._socket and not _is_address(self.url):
            raise ConfigError(Reason.USAGE, f"--server {self.url} is not a URL such as http://127.0.0.1:8080")

    @property
    def _socket(self) -> str:
        """Path of the Unix socket; empty if the server has an address."""
        return self.url.removeprefix("unix:") if self.url.startswith("unix:") else ""

    def status(self) -> Report:
        try:
            report = Report.model_validate_json(self._ask("GET", "status"), strict=False)
        except ValidationError as error:
            raise self._no_ferry() from error
        if not report.says_where_it_is:
            raise self._no_ferry()
        return report

    def tables(self) -> list[TableReport]:
        try:
            answer = json.loads(self._ask("GET", "tables"))
            return _TABLES.validate_python(answer.get("tables") if isinstance(answer, dict) else answer, strict=False)
        except (ValidationError, ValueError) as error:
            raise self._no_ferry() from error

    def act(self, verb: str, **arguments: JsonValue) -> str:
        """POST a verb; returns the server's message."""
        answer = self._ask("POST", verb, json.dumps(arguments).encode())
        return _message(answer)

    def ask_for_pass(self, tables: Sequence[str]) -> PassAsked:
        try:
            return PassAsked.model_validate_json(self._ask("POST", "verify", json.dumps({"tables": tables}).encode()))
        except ValidationError as error:
            raise self._no_ferry() from error

    def settings(self) -> Settings:
        try:
            return Settings.model_validate_json(self._ask("GET", "settings"))
        except ValidationError as error:
            raise self._no_ferry() from error

    def change_settings(self, settings: Settings) -> None:
        self._ask("PUT", "settings", settings.model_dump_json(by_alias=True).encode())

    def _ask(self, method: str, what: str, body: bytes | None = None) -> bytes:
        try:
            code, answer = self._exchange(method, what, body)
        except (HTTPException, OSError) as error:
            raise FerryError(
                Reason.SERVER_UNREACHABLE,
                f"no answer from {self.url}: {_problem(error)}; is ferry run active there, with this --listen?",
            ) from error
        if code >= 300:
            raise self._refused(code, _message(answer))
        return answer

    def _exchange(self, method: str, what: str, body: bytes | None) -> tuple[int, bytes]:
        """Follow no redirect and use no proxy: a token for a server on loopback must not leave this machine."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = self._connection()
        try:
            connection.request(method, f"/api/v1/{what}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self._socket:
            return _UnixConnection(self._socket)
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)

    def _refused(self, code: int, message: str) -> FerryError:
        if code in (401, 403):
            return ConfigError(
                Reason.SERVER_REFUSED,
                f"{self.url} wants {'another' if self.token else 'a'} token; give its file with --token-file",
            )
        if code < 400 or code == 404:
            return self._no_ferry()
        if code < 500:
            return Refused(Reason.SERVER_REFUSED, message or f"{self.url} refused (HTTP {code})")
        return FerryError(
            Reason.SERVER_UNREACHABLE, f"{self.url} failed (HTTP {code}): {message or 'see the log of ferry run'}"
        )

    def _no_ferry(self) -> ConfigError:
        return ConfigError(Reason.SERVER_REFUSED, f"{self.url} is not the ControlServer of a ferry; check --server")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.path in ("", "/") and parts.port != 0
        return known and bool(parts.hostname)
    except ValueError:  # a port that is no number, or a bracket without the other one
        return False


def _problem(error: Exception) -> str:
    """The operating system's message."""
    if isinstance(error, TimeoutError):
        return f"timed out after {TIMEOUT_SECONDS:g} s"
    number = getattr(error, "errno", None) or 0
    if number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _message(answer: bytes) -> str:
    """The message field of an answer, if there is one."""
    try:
        body = json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace").strip()[:400]
    if not isinstance(body, dict):
        return ""
    message = body.get("message") or body.get("error") or ""
    return message if isinstance(message, str) else ""
