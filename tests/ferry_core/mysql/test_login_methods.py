"""Login methods that need more than a hash: without TLS too, since a proxy may offer none."""

from dataclasses import replace

import pytest

from ferry_core.errors import ConfigError, LoginRefused
from ferry_core.mysql.session import Purpose, Session
from tests.conftest import ServerFactory
from tests.support.mariadb_plugins import mariadb_plugin
from tests.support.servers import Pair, Server

PASSWORD = "longer than thirty-two bytes: pässword"


def logged_in(server: Server, user: str, **login: bool) -> str:
    endpoint = replace(server.endpoint(), user=user, password=PASSWORD, **login)  # type: ignore[arg-type]
    with Session(endpoint, Purpose.CONTROL) as session:
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
        with pytest.raises(ConfigError, match=r"PublicKeyUntrusted: source .* tls.allowPublicKeyRetrieval: true"):
            logged_in(server, "sha2", trusts_public_key=False)
        assert logged_in(server, "sha2") == "sha2@%"
        assert logged_in(server, "sha2", trusts_public_key=False) == "sha2@%", "the server has it in its cache"
        server.execute("FLUSH PRIVILEGES")  # empties the cache, as a restart does
        with pytest.raises(LoginRefused, match="PublicKeyUntrusted"):
            logged_in(server, "sha2", trusts_public_key=False, accepted=True)
    finally:
        server.execute("DROP USER sha2@'%'")
