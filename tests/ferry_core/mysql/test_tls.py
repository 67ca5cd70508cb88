"""Every tls.mode against real servers: one with TLS, one without, one with a certificate of our own CA."""

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry_core.api.choices import TlsMode
from ferry_core.binlog.handshake import close, connect_dump, open_dump
from ferry_core.errors import ConfigError, FerryError, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.gtid import source_position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.tls import REQUIRING, TlsMaterial, client_context
from tests.conftest import ServerFactory
from tests.support.kube_api import Authority, Signed
from tests.support.rogue import OK, Link, greeting, rogue
from tests.support.servers import Pair, Server, set_global


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def verified(
    make_module_server: ServerFactory, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A MariaDB whose certificate names 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    signed = authority.sign("localhost", "127.0.0.1")
    files = {"ssl_ca": authority.certificate, "ssl_cert": signed.certificate, "ssl_key": signed.key}
    for name, content in files.items():
        Path(folder, name).write_bytes(content)
    return make_module_server(
        "mariadb", ssl_ca=f"{folder}/ssl_ca", ssl_cert=f"{folder}/ssl_cert", ssl_key=f"{folder}/ssl_key"
    )


def endpoint(server: Server, mode: TlsMode, material: TlsMaterial | None = None, host: str | None = None) -> Endpoint:
    context = client_context(mode, material or TlsMaterial(), "a test")
    return Endpoint(
        ServerRole.SOURCE,
        host or server.host,
        server.port,
        server.user,
        server.password,
        context,
        tls_required=mode in REQUIRING,
    )


def cipher(at: Endpoint) -> bytes:
    with Session(at, Purpose.CONTROL) as session:
        return session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1] or b""


@pytest.mark.parametrize("mode", [TlsMode.PREFERRED, TlsMode.REQUIRED])
def test_encrypts_without_verifying(verified: Server, mode: TlsMode) -> None:
    assert cipher(endpoint(verified, mode)) != b""


def test_disabled_does_not_encrypt(verified: Server) -> None:
    assert cipher(endpoint(verified, TlsMode.DISABLED)) == b""


@pytest.mark.parametrize("mode", [TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY])
def test_verifies_with_the_right_ca(verified: Server, authority: Authority, mode: TlsMode) -> None:
    assert cipher(endpoint(verified, mode, TlsMaterial(ca=authority.certificate))) != b""


@pytest.mark.parametrize("mode", [TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY])
def test_refuses_a_certificate_of_another_ca(verified: Server, mode: TlsMode) -> None:
    stranger = Authority("a stranger")
    with pytest.raises(ConfigError, match="does not verify") as caught:
        cipher(endpoint(verified, mode, TlsMaterial(ca=stranger.certificate)))
    assert caught.value.reason == "TlsCertificateRejected"
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    ("name", "alternative_names"),
    [("elsewhere.example", True), ("localhost", False)],
    ids=["another name", "the name in the subject alone"],
)
def test_refuses_a_certificate_for_another_host(
    make_server: ServerFactory, authority: Authority, tmp_path: Path, name: str, alternative_names: bool
) -> None:
    signed = authority.sign(name, alternative_names=alternative_names)
    for file, content in (("cert", signed.certificate), ("key", signed.key)):
        Path(tmp_path, file).write_bytes(content)
    server = make_server("mariadb", ssl_cert=str(tmp_path / "cert"), ssl_key=str(tmp_path / "key"))
    material = TlsMaterial(ca=authority.certificate)
    assert cipher(endpoint(server, TlsMode.VERIFY_CA, material)) != b""
    with pytest.raises(ConfigError, match="localhost") as caught:
        cipher(endpoint(server, TlsMode.VERIFY_IDENTITY, material, host="localhost"))
    assert caught.value.reason == "TlsCertificateRejected"


VERIFYING = [TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY]


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[[Signed], ssl.SSLContext]:
    """The TLS of a server with a certificate."""

    def context(signed: Signed) -> ssl.SSLContext:
        for name, content in (("cert", signed.certificate), ("key", signed.key)):
            Path(tmp_path, name).write_bytes(content)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        return made

    return context


def encrypted(context: ssl.SSLContext) -> Callable[[Link], None]:
    """A login over TLS; ``Link.received`` is what the client sent inside of it."""

    def login(link: Link) -> None:
        link.receive()
        link.sock = context.wrap_socket(link.sock, server_side=True)
        link.receive()
        link.send(3, OK)

    return login


def ciphers(link: Link, _statement: bytes) -> None:
    link.rows((b"Ssl_cipher", b"any"))


@pytest.mark.parametrize("mode", VERIFYING)
@pytest.mark.parametrize("how", ["expired", "of another name", "self-signed"])
def test_nothing_is_sent_to_a_server_whose_certificate_does_not_verify(
    authority: Authority, stranger: Callable[[Signed], ssl.SSLContext], mode: TlsMode, how: str
) -> None:
    signed = {
        "expired": authority.sign("localhost", "127.0.0.1", days=0),
        "of another name": authority.sign("elsewhere.example"),
        "self-signed": Authority("localhost").sign("localhost", "127.0.0.1"),
    }[how]
    context = client_context(mode, TlsMaterial(ca=authority.certificate), "a test")
    with rogue(ciphers, login=encrypted(stranger(signed)), hello=greeting(tls=True)) as server:
        if how == "of another name" and mode is TlsMode.VERIFY_CA:
            Session(server.endpoint(tls=context), Purpose.CONTROL).close()
            return
        for connect in (lambda at: Session(at, Purpose.CONTROL), connect_dump):
            with pytest.raises(ConfigError) as refused:
                connect(server.endpoint(tls=context))
            assert refused.value.reason == "TlsCertificateRejected"
    assert not any(b"ferry" in packet for packet in server.received), "the login was sent"


@pytest.mark.parametrize("mode", REQUIRING)
def test_a_server_that_stops_offering_tls_gets_no_login(authority: Authority, mode: TlsMode) -> None:
    """Somebody between both takes TLS out of the greeting."""
    context = client_context(mode, TlsMaterial(ca=authority.certificate), "a test")
    with rogue(hello=greeting(tls=False)) as server:
        for connect in (lambda at: Session(at, Purpose.CONTROL), connect_dump):
            with pytest.raises(ConfigError) as refused:
                connect(server.endpoint(tls=context))
            assert refused.value.reason == "TlsNotOffered"
    assert not any(server.received)


def test_versions_of_tls_below_1_2_are_refused(
    authority: Authority, stranger: Callable[[Signed], ssl.SSLContext]
) -> None:
    old = stranger(authority.sign("localhost", "127.0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    context = client_context(TlsMode.REQUIRED, TlsMaterial(), "a test")
    with rogue(login=encrypted(old), hello=greeting(tls=True)) as server, pytest.raises(FerryError):
        Session(server.endpoint(tls=context), Purpose.CONTROL)
    assert not any(b"ferry" in packet for packet in server.received)


def test_the_cipher_can_be_read_on_a_server_that_forbids_big_joins(verified: Server, mysql_pair: Pair) -> None:
    """That server treats SHOW STATUS as a SELECT, and the stream's connection sends it too."""
    for server in (verified, mysql_pair.source):
        with set_global(server, "max_join_size = 1", "sql_big_selects = 0"):
            at = endpoint(server, TlsMode.REQUIRED)
            assert cipher(at) != b""
            with Session(at, Purpose.CONTROL) as session:
                here = source_position(session)
            close(open_dump(at, server.flavor, 0x80000001, here, lambda _: None).connection)


def test_preferred_connects_without_tls_if_it_is_not_offered(mariadb_pair: Pair) -> None:
    assert cipher(endpoint(mariadb_pair.source, TlsMode.PREFERRED)) == b""


@pytest.mark.parametrize("mode", REQUIRING)
def test_refuses_where_tls_is_required_and_not_offered(mariadb_pair: Pair, mode: TlsMode) -> None:
    with pytest.raises(ConfigError, match="does not offer TLS") as caught:
        cipher(endpoint(mariadb_pair.source, mode))
    assert caught.value.reason == "TlsNotOffered"


def test_mysql_makes_its_own_ca_that_verifies_but_names_no_host(mysql_pair: Pair) -> None:
    server = mysql_pair.source
    if server.instance is None:
        pytest.skip("the CA of a given server cannot be read")
    ca = Path(server.instance.folder, "data", "ca.pem").read_bytes()
    assert cipher(endpoint(server, TlsMode.VERIFY_CA, TlsMaterial(ca=ca))) != b""
    with pytest.raises(ConfigError) as caught:
        cipher(endpoint(server, TlsMode.VERIFY_IDENTITY, TlsMaterial(ca=ca)))
    assert caught.value.reason == "TlsCertificateRejected"


def test_presents_a_client_certificate(verified: Server, authority: Authority) -> None:
    signed = authority.sign("client")
    verified.execute(
        "CREATE OR REPLACE USER certified@'%' IDENTIFIED BY 'secret' REQUIRE X509",
        "GRANT SELECT ON *.* TO certified@'%'",
    )
    for material, admitted in ((TlsMaterial(), False), (TlsMaterial(None, signed.certificate, signed.key), True)):
        context = client_context(TlsMode.REQUIRED, material, "a test")
        at = Endpoint(
            ServerRole.SOURCE, verified.host, verified.port, "certified", "secret", context, tls_required=True
        )
        if admitted:
            assert cipher(at) != b""
        else:
            with pytest.raises(ConfigError, match="Access denied"):
                cipher(at)


def signed_and_stranger() -> tuple[bytes, bytes]:
    authority = Authority()
    return authority.sign("one").certificate, authority.sign("two").key


@pytest.mark.parametrize(
    ("material", "told"),
    [
        (TlsMaterial(ca=b"no PEM"), "ca.crt of a test holds no PEM certificate"),
        (TlsMaterial(ca=b"\xff\xfe"), "ca.crt of a test holds no PEM certificate"),
        (TlsMaterial(certificate=b"x"), "add tls.key"),
        (TlsMaterial(key=b"x"), "add tls.crt"),
        (TlsMaterial(None, b"x", b"y"), "tls.crt and tls.key of a test are not"),
        (TlsMaterial(None, *signed_and_stranger()), "tls.crt and tls.key of a test are not"),
    ],
)
def test_says_what_is_wrong_with_the_material(material: TlsMaterial, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        client_context(TlsMode.PREFERRED, material, "a test")
    assert caught.value.reason == "TlsMaterialInvalid"
