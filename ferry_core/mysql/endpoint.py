"""Address and login of a server. Made from a Ferry's spec and Secrets; every session is opened with one."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ferry_core.errors import ServerRole
from ferry_core.mysql.identity import KnownServer, ServerIdentity
from ferry_core.text import server_address


@dataclass(frozen=True)
class Endpoint:
    """One server. ``tls`` None means Disabled; ``tls_required`` False means Preferred."""

    role: ServerRole
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_required: bool = False
    accepted: bool = False
    """Whether the server accepted a login of this run before, perhaps with another password."""
    known: KnownServer | None = field(default=None, repr=False, compare=False)
    """The server that must answer at this address; None: any."""
    any_start: bool = False
    """Whether a restart of the server meanwhile is acceptable."""
    proof: Callable[["Endpoint"], bool] | None = field(default=None, repr=False, compare=False)
    """Tells whether a server with another name is the known one after all."""
    trusts_public_key: bool = False
    """Whether the password may be encrypted with a public key that the server has sent without TLS."""
    socket: str | None = None
    """Path of its Unix socket, used instead of host and port, and without TLS: nothing leaves the machine."""

    def check(self, found: ServerIdentity) -> None:
        """Called after connecting, before anything else is asked. Raises if the connection must not be used."""
        if self.known is not None:
            self.known.check(self.address, found, self._proven, any_start=self.any_start)

    def _proven(self) -> bool:
        return self.proof is not None and self.proof(replace(self, known=None, proof=None))

    @property
    def where(self) -> str:
        """The server's name in messages."""
        return f"{self.role} {self.address}"

    @property
    def login(self) -> dict[str, Any]:
        """Where to connect, and as whom, for ``UploadConnection``."""
        place = {"host": self.host, "port": self.port} if self.socket is None else {"unix_socket": self.socket}
        user = {"user": self.user, "password": self.password.encode()}
        return place | user | {"trusts_public_key": self.trusts_public_key}

    @property
    def fields(self) -> str:
        """What precedes the name of one of its fields of the spec in messages."""
        if self.role is ServerRole.REPLICA:
            return "the replica's "
        return "spec.source.primary." if self.role is ServerRole.PRIMARY else f"spec.{self.role}."

    @property
    def address(self) -> str:
        return server_address(self.host, self.port, self.socket)
