"""How the spec names a server: address, credentials, TLS. Used by ``spec``; ``manifest`` makes endpoints from it."""

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ferry_core.api.choices import TlsMode
from ferry_core.api.model import Model, Rule
from ferry_core.text import server_address


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


def without_a_port(host: str) -> str:
    """Refuse a text with colons that is not an IPv6 address."""
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError:
            raise PydanticCustomError("host", "must be an IPv6 address if it has colons") from None
    return host


SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^([^\s/@:]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[^\s/@:]+)?)$",
    ),
    AfterValidator(without_a_port),
]
Url = Annotated[
    str,
    Field(max_length=2048, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s]+$"),
    AfterValidator(with_a_host),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Socket = Annotated[str, Field(max_length=107, pattern=r"^/[^\x00-\x1f\x7f]+$")]


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
    allow_public_key_retrieval: bool = False
    """Whether a login without TLS may encrypt the password with a key that the server sends (caching_sha2_password,
    sha256_password). Whoever answers in the server's place then learns the password.
    """


def _without(field: str) -> Callable[["Replica | Primary | Server"], bool]:
    """Tells whether no socket comes with this field."""
    return lambda server: server.socket is None or field not in server.model_fields_set


# In a cluster there are no sockets: crd has the rules of kube-apiserver.
_HOST_OR_SOCKET = (
    Rule(
        None,
        "host is required, or socket for a server on this machine; add one",
        lambda server: server.host is not None or server.socket is not None,
    ),
    Rule(
        None,
        "host and socket exclude each other: keep host, or keep socket for a server on this machine",
        lambda server: server.host is None or server.socket is None,
    ),
    Rule(None, "a socket has no port: remove port, or give host instead of socket", _without("port")),
    Rule(
        None,
        "a socket needs no TLS, because nothing leaves the machine: remove tls, or give host instead of socket",
        _without("tls"),
    ),
)


class Replica(Model):
    """A replica whose lag throttles the run. It is only asked for its lag."""

    host: Host | None = None
    """Host name or address. Either this or socket is required."""
    port: Port = 3306
    """TCP port."""
    socket: Socket | None = None
    """Path of its Unix socket, instead of host and port. Only outside Kubernetes."""
    credentials_secret_ref: CredentialsRef | None = None
    """Secret with user name and password; without it those of its server are used."""
    tls: Tls | None = None
    """Encryption and verification of the connection; without it as for its server."""

    RULES = _HOST_OR_SOCKET

    @property
    def address(self) -> str:
        """In messages."""
        return server_address(self.host, self.port, self.socket)


class Primary(Model):
    """The server that applications write to, if the source is its replica. Rows and changes are read from the source;
    at the cutover writes stop here.
    """

    host: Host | None = None
    """Host name or address of the primary itself, not of a balancer. Either this or socket is required."""
    port: Port = 3306
    """TCP port."""
    socket: Socket | None = None
    """Path of its Unix socket, instead of host and port. Only outside Kubernetes."""
    credentials_secret_ref: CredentialsRef | None = None
    """Secret with user name and password; without it those of the source are used."""
    tls: Tls | None = None
    """Encryption and verification of the connection; without it as for the source."""

    RULES = _HOST_OR_SOCKET

    @property
    def address(self) -> str:
        """In messages."""
        return server_address(self.host, self.port, self.socket)


class Server(Model):
    """One MySQL or MariaDB server."""

    host: Host | None = None
    """Host name or address. Immutable once validated. Either this or socket is required."""
    port: Port = 3306
    """TCP port. Immutable once validated."""
    socket: Socket | None = None
    """Path of the server's Unix socket on this machine, instead of host, port and tls. Only outside Kubernetes."""
    credentials_secret_ref: CredentialsRef
    """Secret with user name and password; a new reference restarts the copier."""
    tls: Tls = Tls()
    """Encryption and verification of the connection."""
    replicas: Annotated[list[Replica], Field(max_length=16)] = []
    """Replicas of this server whose lag throttle.maxReplicaLag limits."""

    RULES = _HOST_OR_SOCKET

    @property
    def address(self) -> str:
        """In messages."""
        return server_address(self.host, self.port, self.socket)


class Source(Server):
    """The server that holds the rows: the one that applications write to, or a replica of it."""

    primary: Primary | None = None
    """The primary of a source that is a replica. A change restarts the copier."""

    @property
    def written(self) -> "Server | Primary":
        """The server that applications write to."""
        return self.primary or self
