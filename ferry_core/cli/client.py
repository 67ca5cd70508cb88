"""Speaks to a ControlServer as a person does: one request, one answer, clear errors. Called by ``verbs``."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

from pydantic import JsonValue, TypeAdapter, ValidationError

from ferry_core.api.report import Report, TableReport
from ferry_core.errors import ConfigError, ExitCode, FerryError
from ferry_core.reasons import Reason

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 << 20

_TABLES = TypeAdapter(list[TableReport])


class Refused(FerryError):
    """The server understood and said no: the verb does not fit the moment."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True)
class ControlClient:
    """One ControlServer; ``url`` without a path."""

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ConfigError(Reason.USAGE, f"--server {self.url} is no URL such as http://127.0.0.1:8080")

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
        """POST a verb; what the server says about it."""
        answer = self._ask("POST", verb, json.dumps(arguments).encode())
        return _message(answer)

    def _ask(self, method: str, what: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{self.url.rstrip('/')}/api/v1/{what}", data=body, method=method, headers={"Accept": "application/json"}
        )
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        # Proxies are for the web: a token for a server on loopback must not travel through one.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return bytes(answer.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, _message(error.read(1 << 16))) from error
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            problem = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            raise FerryError(
                Reason.SERVER_UNREACHABLE,
                f"no answer from {self.url}: {problem}; is ferry run going on there, and with this --listen?",
            ) from error

    def _refused(self, code: int, said: str) -> FerryError:
        if code in (401, 403):
            return ConfigError(
                Reason.SERVER_REFUSED,
                f"{self.url} wants {'another' if self.token else 'a'} token; give its file with --token-file",
            )
        if code == 404:
            return self._no_ferry()
        if code < 500:
            return Refused(Reason.SERVER_REFUSED, said or f"{self.url} refused (HTTP {code})")
        return FerryError(
            Reason.SERVER_UNREACHABLE, f"{self.url} failed (HTTP {code}): {said or 'see the log of ferry run'}"
        )

    def _no_ferry(self) -> ConfigError:
        return ConfigError(Reason.SERVER_REFUSED, f"{self.url} is not the ControlServer of a ferry; check --server")


def _message(answer: bytes) -> str:
    """The words for people in an answer, if there are any."""
    try:
        body = json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace").strip()[:400]
    if not isinstance(body, dict):
        return ""
    said = body.get("message") or body.get("error") or ""
    return said if isinstance(said, str) else ""
