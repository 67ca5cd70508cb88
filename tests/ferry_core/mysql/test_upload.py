"""A server may choose the login method: one that sends the password itself must first prove who it is."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry_core.binlog.handshake import connect_dump
from ferry_core.errors import ConfigError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.upload import UploadConnection
from tests.support.kube_api import Authority
from tests.support.rogue import REFUSED, Link, greeting, rogue, switch_to

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


def test_asking_whether_an_account_requires_tls_does_not_send_the_password_in_clear(tmp_path: Path) -> None:
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
        link.send(3, b"\xfemysql_clear_password\0")
        link.receive()

    with rogue(login=login, hello=greeting(tls=True)) as server, pytest.raises(ConfigError) as refused:
        Session(server.endpoint(), Purpose.CONTROL)
    assert refused.value.reason == "AccessDenied"
    assert len(logins) == 2
    assert not server.learnt_the_password
