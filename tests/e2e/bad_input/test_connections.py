"""Servers that cannot be reached, or that refuse the login: one clear line, the right exit code, nothing half-done."""

import re
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.ferry_cli import FerryCli
from tests.support.kube_api import Authority
from tests.support.manifests import secret_data
from tests.support.servers import Pair, Server, free_port


def failed_checks(output: str) -> list[str]:
    """Lines of the table with status failed."""
    return [line for line in output.splitlines() if re.match(r"failed +(source|target|both) ", line)]


@pytest.mark.parametrize("role", ["source", "target"])
def test_wrong_password(cli: FerryCli, role: str) -> None:
    cli.credentials(role, "root", "not-the-password")
    done = cli.run()
    line = done.refused(64, "AccessDenied", role, "127.0.0.1", "root", "check the user name, password")
    assert "not-the-password" not in done.stderr + done.stdout, line
    cli.assert_nothing_begun()
    checked = cli.check()
    assert checked.code == 64
    assert len(failed_checks(checked.stdout)) == 1
    assert "AccessDenied" in checked.stdout


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_port_without_a_listener(one: FerryCli, role: str) -> None:
    port = free_port()
    one.spec[role]["port"] = port
    done = one.run()
    done.refused(75, "ServerUnreachable", f"{role} 127.0.0.1:{port}", f"spec.{role}.host", "refused")
    one.assert_nothing_begun()
    checked = one.check()
    assert (checked.code, len(failed_checks(checked.stdout))) == (64, 1)
    assert "ServerUnreachable" in checked.stdout


def test_a_host_name_that_does_not_resolve(one: FerryCli) -> None:
    one.spec["source"]["host"] = "no-such-host.invalid"
    one.run().refused(75, "ServerUnreachable", "source no-such-host.invalid:", "spec.source.host")
    one.assert_nothing_begun()


def test_a_port_of_another_protocol(one: FerryCli) -> None:
    """For example an HTTP port, which answers in another protocol or not at all."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        one.spec["target"]["port"] = listener.getsockname()[1]
        one.run().refused(75, "ServerUnreachable", "target 127.0.0.1:", "spec.target.host")
    one.assert_nothing_begun()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls_server(
    make_module_server: ServerFactory, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server whose certificate is for another host."""
    folder = tmp_path_factory.mktemp("tls")
    signed = authority.sign("elsewhere.example")
    for name, content in (("cert", signed.certificate), ("key", signed.key)):
        (folder / name).write_bytes(content)
    return make_module_server("mariadb", ssl_cert=str(folder / "cert"), ssl_key=str(folder / "key"))


@pytest.fixture(scope="module")
def bare_mysql(make_module_server: ServerFactory) -> Server:
    """MySQL generates its own certificate and offers TLS, unless it is configured with one that does not exist."""
    return make_module_server("mysql", ssl_cert="nowhere")


def on(role: str, server: Server, other: Server) -> Pair:
    return Pair(server, other) if role == "source" else Pair(other, server)


@pytest.mark.parametrize(
    ("family", "role", "mode"),
    [
        ("mariadb", "target", "Required"),
        ("mariadb", "source", "VerifyCA"),
        ("mysql", "target", "VerifyIdentity"),
        ("mysql", "source", "Required"),
    ],
)
def test_tls_is_not_offered(
    tmp_path: Path, request: pytest.FixtureRequest, schema: str, family: str, role: str, mode: str
) -> None:
    pair: Pair = request.getfixturevalue(f"{family}_pair")
    if family == "mysql":
        pair = on(role, request.getfixturevalue("bare_mysql"), pair.target)
    cli = FerryCli(tmp_path / "ferry", pair, schema)
    cli.spec[role]["tls"] = {"mode": mode}
    cli.run().refused(64, "TlsNotOffered", f"{role} 127.0.0.1", "does not offer TLS", "tls.mode")
    cli.assert_nothing_begun()
    checked = cli.check()
    assert (checked.code, "TlsNotOffered" in checked.stdout) == (64, True)


@pytest.mark.parametrize(
    ("family", "role", "mode", "signer"),
    [
        ("mariadb", "source", "VerifyCA", "stranger"),
        ("mariadb", "source", "VerifyIdentity", "authority"),
        ("mariadb", "target", "VerifyIdentity", "authority"),
        ("mysql", "target", "VerifyCA", "stranger"),  # by the certificate that it generated
    ],
)
def test_certificate_does_not_verify(
    tmp_path: Path, request: pytest.FixtureRequest, authority: Authority, family: str, role: str, mode: str, signer: str
) -> None:
    pair: Pair = request.getfixturevalue(f"{family}_pair")
    if family == "mariadb":
        pair = on(role, request.getfixturevalue("tls_server"), pair.target)
    cli = FerryCli(tmp_path / "ferry", pair, "never_made")
    trusted = authority if signer == "authority" else Authority("a stranger")
    material = secret_data("orders-tls") | {"stringData": {"ca.crt": trusted.certificate.decode()}}
    material["metadata"]["namespace"] = "tests"
    cli.documents = (*cli.documents, material)
    cli.spec[role]["tls"] = {"mode": mode, "secretRef": {"name": "orders-tls"}}
    cli.run().refused(64, "TlsCertificateRejected", f"{role} 127.0.0.1", "does not verify", "ca.crt")
    cli.assert_nothing_begun()


@pytest.mark.parametrize("family", ["mysql", "mariadb"])
@pytest.mark.parametrize("role", ["source", "target"])
def test_account_that_requires_tls(
    tmp_path: Path, request: pytest.FixtureRequest, schema: str, family: str, role: str
) -> None:
    """The server's error is the same as for a wrong password."""
    pair: Pair = request.getfixturevalue(f"{family}_pair")
    server = request.getfixturevalue("tls_server") if family == "mariadb" else getattr(pair, role)
    pair = on(role, server, pair.target if role == "source" else pair.source)
    server.execute("DROP USER IF EXISTS safe@'%'", "CREATE USER safe@'%' IDENTIFIED BY 'safe-1' REQUIRE SSL")
    cli = FerryCli(tmp_path / "ferry", pair, schema)
    cli.credentials(role, "safe", "safe-1")
    cli.spec[role]["tls"] = {"mode": "Disabled", "allowPublicKeyRetrieval": True}
    try:
        cli.run().refused(64, "TlsWanted", f"{role} 127.0.0.1", "by TLS only", f"spec.{role}.tls.mode is Disabled")
        cli.credentials(role, "safe", "wrong")
        cli.run().refused(64, "AccessDenied", role)
    finally:
        server.execute("DROP USER safe@'%'")
    cli.assert_nothing_begun()


def test_an_account_with_an_unsupported_login_method(tmp_path: Path, mariadb_pair: Pair, schema: str) -> None:
    source = mariadb_pair.source
    old = "IDENTIFIED VIA mysql_old_password USING '0123456789abcdef'"
    source.execute("SET GLOBAL secure_auth = 0", f"CREATE OR REPLACE USER old@'%' {old}")
    cli = FerryCli(tmp_path / "ferry", mariadb_pair, schema)
    cli.credentials("source", "old", "x")
    try:
        cli.run().refused(64, "AccountUnsupported", "source 127.0.0.1", "caching_sha2_password")
    finally:
        source.execute("DROP USER old@'%'", "SET GLOBAL secure_auth = 1")
    cli.assert_nothing_begun()
