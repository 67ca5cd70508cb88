"""The ControlServer's listening address, and the checks before a socket is opened. Called by ``server``."""

import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason
from ferry_core.text import host_port, is_loopback


@dataclass(frozen=True)
class Address:
    """Host and port from ``--listen``; port 0 picks a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ConfigError(Reason.USAGE, f"--listen {text}: write HOST:PORT, for example 127.0.0.1:8080, or none")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@dataclass(frozen=True)
class UnixAddress:
    """``unix:PATH``: a socket that only its owner and root can open."""

    path: Path

    loopback = True

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse(text: str) -> Address | UnixAddress:
    """What --listen says."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:"):
            raise ConfigError(Reason.USAGE, f"--listen {text}: write unix:PATH, for example unix:/run/ferry.sock")
        return UnixAddress(Path(text.removeprefix("unix:")))
    return Address.parse(text)


def refuse_open(address: Address | UnixAddress, tokens: Mapping[str, str]) -> None:
    """Raise ConfigError if anybody on the network could cut over or abort."""
    if "" in tokens.values():
        raise ConfigError(Reason.TOKEN_UNREADABLE, "the ControlServer's token is empty: put one line into its file")
    if not tokens and not address.loopback:
        raise ConfigError(
            Reason.TOKEN_REQUIRED,
            f"--listen {address} can be reached from other machines: give --token-file, or listen on 127.0.0.1",
        )


def bind(address: Address) -> socket.socket:
    """A listening socket."""
    try:
        family, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(Reason.USAGE, f"--listen {address}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                Reason.PORT_IN_USE,
                f"port {address.port} on {address.host} is in use, perhaps by another ferry: give --listen with a free "
                "port (0 takes any), or --listen none",
            ) from error
        raise ConfigError(Reason.USAGE, f"--listen {address}: {error.strerror or error}") from error
    return listener


def bind_unix(address: UnixAddress) -> socket.socket:
    """A listening socket in the file system. A file left by a process that was killed is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_unused(address.path)
        listener.bind(str(address.path))
        address.path.chmod(0o600)  # before it listens: until then nobody can connect
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                Reason.PORT_IN_USE, f"{address.path} exists, perhaps of another ferry: give --listen another path"
            ) from error
        raise ConfigError(Reason.USAGE, f"--listen {address}: {error.strerror or error}") from error
    return listener


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None if there is no such file. A socket of the same name may be another run's."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_unused(path: Path) -> None:
    """Remove a socket on which nobody listens. Any other file stays."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def tls_context(tls_dir: Path | None) -> ssl.SSLContext | None:
    """TLS context of the server from ``tls.crt`` and ``tls.key``; None without a directory."""
    if tls_dir is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # A session ticket costs an operator 15 KiB per connection, and no client resumes a session.
    context.num_tickets = 0
    try:
        context.load_cert_chain(tls_dir / "tls.crt", tls_dir / "tls.key")
    except OSError as error:  # ssl.SSLError is a subclass
        raise ConfigError(
            Reason.TLS_MATERIAL_INVALID,
            f"--tls-dir {tls_dir}: tls.crt and tls.key cannot be used: {error.strerror or error}",
        ) from error
    return context
