"""Where a server is and how to log in to it: made from a Ferry's spec and Secrets, the input of every session."""

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Endpoint:
    """One server. ``tls`` is None for Disabled; ``tls_required`` False means Preferred."""

    role: str  # "source", "target" or "replica": said in every message
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_required: bool = False
    accepted: bool = False
    """Whether this run was let in there before, perhaps with another password."""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"
