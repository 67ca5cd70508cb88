"""Reaches the copier of a Ferry: a port-forward to its Pod, and HTTPS through it. Used by ``tables``, ``ui`` and
``report``.

kube-apiserver's own proxy would remove the token. The token and the copier's certificate are in the Secret of its Pod;
no other certificate is trusted.
"""

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kubectl_ferry.kubectl import CommandFailed, Kubectl, Object, end

_SECRET = "mysqlferry.io/secret"  # noqa: S105 - the Pod's annotation that names it
_PORT = 8443
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_SECONDS = 60.0


@dataclass(frozen=True)
class Copier:
    """One copier behind a port on this machine."""

    port: int
    uid: str
    """The Ferry's, which is the only name in the certificate."""
    token: str = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)

    def request(
        self,
        path: str,
        accept: str = "*/*",
        seconds: float = _SECONDS,
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> http.client.HTTPResponse:
        """The caller reads the answer, which may have no end."""
        connection = _Connection(self, seconds)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept, "Connection": "close"}
        connection.request(method, path, body=body, headers=headers)
        return connection.getresponse()

    def json(self, path: str) -> Any:
        return self._asked("GET", path)

    def post(self, path: str) -> Any:
        """A command without arguments."""
        return self._asked("POST", path)

    def _asked(self, method: str, path: str) -> Any:
        try:
            answer = self.request(path, method=method)
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(f"the copier does not answer: {error}", 75) from error
        if answer.status != http.HTTPStatus.OK:
            raise CommandFailed(f"the copier refuses {path}: HTTP {answer.status} {_message(raw)}".strip())
        return json.loads(raw)


def _message(raw: bytes) -> str:
    """The refusal's own words, if there are any."""
    try:
        return str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


class _Connection(http.client.HTTPSConnection):
    """To the port of the port-forward, where the server's name is the Ferry's uid."""

    def __init__(self, copier: Copier, seconds: float) -> None:
        super().__init__(copier.uid, context=copier.tls, timeout=seconds)
        self._copier = copier

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self._copier.port), self.timeout)
        self.sock = self._copier.tls.wrap_socket(plain, server_hostname=self._copier.uid)


@contextlib.contextmanager
def forwarded(kubectl: Kubectl, ferry: Object) -> Iterator[Copier]:
    """The Ferry's copier, within the block."""
    name, namespace = ferry["metadata"]["name"], ferry["metadata"]["namespace"]
    pod_name = ferry.get("status", {}).get("copier", {}).get("podName")
    if not pod_name:
        raise CommandFailed(f"{name} has no copier now ({ferry.get('status', {}).get('phase', 'Pending')})", 75)
    pod = kubectl.get("pod", pod_name, f"--namespace={namespace}")
    held = kubectl.get("secret", pod["metadata"]["annotations"][_SECRET], f"--namespace={namespace}")["data"]
    token, certificate = (base64.b64decode(held[key]).decode() for key in ("token", "tls.crt"))
    process = kubectl.start("port-forward", f"--namespace={namespace}", f"pod/{pod_name}", f":{_PORT}")
    try:
        assert process.stdout is not None
        found = _FORWARDING.match(process.stdout.readline())
        if found is None:
            _, problem = process.communicate()
            raise CommandFailed(f"the port-forward to {pod_name} ended: {problem.strip()}", 75)
        yield Copier(int(found[1]), ferry["metadata"]["uid"], token, _only(certificate))
    finally:
        end(process)


def _only(certificate: str) -> ssl.SSLContext:
    """Trusts this certificate and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
