"""A server may choose the login method: one that sends the password itself must first prove who it is."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ferry_core.binlog.handshake import connect_dump
from ferry_core.errors import ConfigError, ConnectionLost
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.upload import UploadConnection
from tests.support.kube_api import Authority
from tests.support.rogue import REFUSED, Link, RogueServer, greeting, rogue, switch_to, with_own_key

CONNECT = pytest.mark.parametrize(
    "connect", [lambda endpoint: Session(endpoint, Purpose.CONTROL), connect_dump], ids=["session", "stream"]
)


@pytest.mark.parametrize("method", [b"mysql_clear_password", b"dialog"])
@CONNECT
def test_the_password_is_not_sent_in_clear(method: bytes, connect: Callable[[Endpoint], object]) -> None:
    with rogue(login=switch_to(method)) as server, pytest.raises(ConfigError) as refused:
        connect(server.endpoint())
    assert refused.value.reason == "PasswordInClear"
    assert f"127.0.0.1:{server.port} asks for the password of ferry in clear" in refused.value.message
    assert not server.learnt_the_password


@pytest.fixture(scope="module")
def own_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("method", [b"caching_sha2_password", b"sha256_password"])
@CONNECT
def test_the_password_is_not_encrypted_with_a_key_of_an_unverified_server(
    method: bytes, connect: Callable[[Endpoint], object], own_key: rsa.RSAPrivateKey
) -> None:
    def learnt(server: RogueServer) -> bool:
        return any(len(packet) == own_key.key_size // 8 for packet in server.received)

    public = own_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with rogue(login=with_own_key(method, public)) as server:
        with pytest.raises(ConfigError, match="asks for the password of ferry, encrypted with") as refused:
            connect(server.endpoint())
        assert refused.value.reason == "PublicKeyUntrusted"
        assert not learnt(server)
        with pytest.raises(ConnectionLost):  # it has what it wanted
            connect(replace(server.endpoint(), trusts_public_key=True))
        assert learnt(server)


def test_a_unix_socket_needs_no_verified_tls() -> None:
    local = UploadConnection(unix_socket="/run/mysqld/mysqld.sock", user="ferry", defer_connect=True)
    remote = UploadConnection(host="db.example", user="ferry", ssl_disabled=True, defer_connect=True)
    assert local._proven_private
    assert not remote._proven_private


@CONNECT
def test_a_login_method_that_gives_the_password_away_is_refused(connect: Callable[[Endpoint], object]) -> None:
    with rogue(login=switch_to(b"mysql_old_password")) as server, pytest.raises(ConfigError) as refused:
        connect(server.endpoint())
    assert refused.value.reason == "AccountUnsupported"
    assert not any(server.received[1:]), "something was sent in answer to the old method"


@pytest.mark.parametrize("method", [b"mysql_clear_password", b"caching_sha2_password", b"sha256_password"])
@pytest.mark.parametrize("at_once", [True, False], ids=["in the greeting", "by a switch"])
def test_asking_whether_an_account_requires_tls_does_not_send_the_password(
    tmp_path: Path, method: bytes, at_once: bool
) -> None:
    """With tls.mode Disabled a refused login is tried once more with TLS, which verifies nobody."""
    signed = Authority("a stranger").sign("localhost")
    for name, content in (("cert", signed.certificate), ("key", signed.key)):
        Path(tmp_path, name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    logins = []

    def login(link: Link) -> None:
        logins.append(link)
        link.receive()
        if len(logins) == 1:
            link.send(2, REFUSED)
            return
        link.sock = context.wrap_socket(link.sock, server_side=True)
        link.receive()
        number = 3
        if not at_once:
            link.send(number, b"\xfe" + method + b"\0" + b"12345678901234567890\0")
            link.receive()
            number += 2
        link.send(number, b"\x01\x04")
        link.receive()

    hello = greeting(tls=True, method=method) if at_once else greeting(tls=True)
    with rogue(login=login, hello=hello) as server, pytest.raises(ConfigError) as refused:
        Session(server.endpoint(), Purpose.CONTROL)
    assert refused.value.reason == "AccessDenied"
    assert len(logins) == 2
    assert not server.learnt_the_password
