"""How the spec names a server: address, credentials, TLS. Used by ``spec``; ``manifest`` makes endpoints from it."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ferry_core.api.choices import TlsMode
from ferry_core.api.model import Model
from ferry_core.text import host_port


def with_a_host(url: str) -> str:
    """Refuse a URL that has no host, a port that is none, or a password, which messages would show."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # a port that is no number, or a bracket without the other one
        usable = False
    if not usable:
        raise PydanticCustomError(
            "url", "must be http:// or https:// with a host, perhaps a port, and no user: a token belongs in a Secret"
        )
    return url


SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\s/@]+$")]
Url = Annotated[
    str,
    Field(min_length=8, max_length=2048, pattern=r"^https?://[^\s]+$"),
    AfterValidator(with_a_host),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class CredentialsRef(Model):
    """A Secret in the Ferry's namespace with user name and password."""

    name: SecretName
    """Name of the Secret."""
    username_key: SecretKey = "username"
    """Key in the Secret that holds the user name."""
    password_key: SecretKey = "password"
    """Key in the Secret that holds the password."""


class TlsSecretRef(Model):
    """A Secret with ca.crt and, for a client certificate, tls.crt and tls.key."""

    name: SecretName
    """Name of the Secret. Each of its keys is optional, but tls.crt and tls.key must come together."""


class Tls(Model):
    """Encryption and server verification of connections."""

    mode: Annotated[TlsMode, Field(strict=False)] = TlsMode.PREFERRED
    """Disabled: never encrypt. Preferred: encrypt if the server offers it. Required: always encrypt, without
    verification. VerifyCA: the certificate must be signed by the CA. VerifyIdentity: it must also name the host.
    """
    secret_ref: TlsSecretRef | None = None
    """CA and client certificate; without it the system's trusted CAs apply."""


class Replica(Model):
    """A replica whose lag throttles the run. It is only asked for its lag."""

    host: Host
    """Host name or address."""
    port: Port = 3306
    """TCP port."""
    credentials_secret_ref: CredentialsRef | None = None
    """Secret with user name and password; without it those of its server are used."""
    tls: Tls | None = None
    """Encryption and verification of the connection; without it as for its server."""

    @property
    def address(self) -> str:
        """In messages."""
        return host_port(self.host, self.port)


class Primary(Model):
    """The server that applications write to, if the source is its replica. Rows and changes are read from the source;
    at the cutover writes stop here.
    """

    host: Host
    """Host name or address of the primary itself, not of a balancer."""
    port: Port = 3306
    """TCP port."""
    credentials_secret_ref: CredentialsRef | None = None
    """Secret with user name and password; without it those of the source are used."""
    tls: Tls | None = None
    """Encryption and verification of the connection; without it as for the source."""

    @property
    def address(self) -> str:
        """In messages."""
        return host_port(self.host, self.port)


class Server(Model):
    """One MySQL or MariaDB server."""

    host: Host
    """Host name or address. Immutable once validated."""
    port: Port = 3306
    """TCP port. Immutable once validated."""
    credentials_secret_ref: CredentialsRef
    """Secret with user name and password; a new reference restarts the copier."""
    tls: Tls = Tls()
    """Encryption and verification of the connection."""
    replicas: Annotated[list[Replica], Field(max_length=16)] = []
    """Replicas of this server whose lag throttle.maxReplicaLag limits."""

    @property
    def address(self) -> str:
        """In messages."""
        return host_port(self.host, self.port)


class Source(Server):
    """The server that holds the rows: the one that applications write to, or a replica of it."""

    primary: Primary | None = None
    """The primary of a source that is a replica. A change restarts the copier."""

    @property
    def written(self) -> "Server | Primary":
        """The server that applications write to."""
        return self.primary or self
