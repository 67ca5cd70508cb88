"""Login methods that need more than a hash: without TLS too, since a proxy may offer none."""

from dataclasses import replace

from ferry_core.mysql.session import Purpose, Session
from tests.conftest import ServerFactory
from tests.support.mariadb_plugins import mariadb_plugin
from tests.support.servers import Pair, Server

PASSWORD = "longer than thirty-two bytes: pässword"


def logged_in(server: Server, user: str) -> str:
    with Session(replace(server.endpoint(), user=user, password=PASSWORD), Purpose.CONTROL) as session:
        return session.text("SELECT CURRENT_USER()")


def test_ed25519(make_server: ServerFactory) -> None:
    folder = mariadb_plugin("auth_ed25519.so").parent
    server = make_server("mariadb", plugin_dir=str(folder), plugin_load_add="auth_ed25519")
    server.execute(f"CREATE USER signs@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')")
    assert logged_in(server, "signs") == "signs@%"


def test_caching_sha2_without_tls_and_without_a_cached_password(mysql_pair: Pair) -> None:
    server = mysql_pair.source
    server.execute(f"CREATE USER sha2@'%' IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}'")
    try:
        for _ in ("by RSA", "from the cache"):
            assert logged_in(server, "sha2") == "sha2@%"
    finally:
        server.execute("DROP USER sha2@'%'")
