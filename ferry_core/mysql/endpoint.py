"""Where a server is and how to log in to it: made from a Ferry's spec and Secrets, the input of every session."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ferry_core.errors import ServerRole
from ferry_core.mysql.identity import KnownServer, ServerIdentity


@dataclass(frozen=True)
class Endpoint:
    """One server. ``tls`` is None for Disabled; ``tls_required`` False means Preferred."""

    role: ServerRole
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_required: bool = False
    accepted: bool = False
    """Whether this run was let in there before, perhaps with another password."""
    known: KnownServer | None = field(default=None, repr=False, compare=False)
    """The server that must answer there; None: any."""
    any_start: bool = False
    """Whether it may have been restarted meanwhile."""
    proof: Callable[["Endpoint"], bool] | None = field(default=None, repr=False, compare=False)
    """Tells whether a server of another name is the known one after all."""

    def check(self, found: ServerIdentity) -> None:
        """Asked by whoever has connected, before anything else is asked there; raises if it must not go on."""
        if self.known is not None:
            self.known.check(self.address, found, self._proven, any_start=self.any_start)

    def _proven(self) -> bool:
        return self.proof is not None and self.proof(replace(self, known=None, proof=None))

    @property
    def where(self) -> str:
        """The server in messages."""
        return f"{self.role} {self.address}"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"
