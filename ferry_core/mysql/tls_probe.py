"""Finds out whether an account was refused because it requires TLS: the server sends the same error as for a wrong
password.

Called by ``Session``.
"""

import ssl
from typing import Any

from pymysql import err
from pymysql.constants import CR

from ferry_core.errors import ConfigError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.upload import UploadConnection
from ferry_core.reasons import Reason

SECONDS = 10.0


def wants_tls(endpoint: Endpoint) -> ConfigError | None:
    """If the session had no TLS, log in once more with TLS and return an error that says what to change.

    None if that fails too.
    """
    if endpoint.tls is not None or not _lets_in(endpoint):
        return None
    found = (
        f"{endpoint.fields}tls.mode is Disabled; set it to Required, or to VerifyCA or VerifyIdentity with the CA"
        if endpoint.socket is None
        else f"a socket has no TLS; give {endpoint.fields}host, or ALTER USER ... REQUIRE NONE"
    )
    return ConfigError(
        Reason.TLS_WANTED,
        f"{endpoint.where}: the account {endpoint.user} may connect by TLS only (REQUIRE SSL), and {found}",
        server=endpoint.role,
    )


class _UnverifiedConnection(UploadConnection):
    """Its TLS proves nothing, and the spec does not want it: the password is not sent inside it."""

    _auth_plugin_name: str  # the stubs do not know it

    @property
    def _secure(self) -> bool:
        return False

    @_secure.setter
    def _secure(self, _: bool) -> None:
        """PyMySQL would send the password as it is."""

    def _request_authentication(self) -> None:
        if self._auth_plugin_name == "sha256_password":
            raise err.OperationalError(CR.CR_AUTH_PLUGIN_ERR, "its first packet would hold the password")
        parent: Any = super()
        parent._request_authentication()  # noqa: SLF001 - the login has no public hook


def _lets_in(endpoint: Endpoint) -> bool:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # as with tls.mode: Preferred; this connection sends no statement
    try:
        _UnverifiedConnection(
            **endpoint.login,
            ssl=unverified,
            connect_timeout=SECONDS,
            read_timeout=SECONDS,
            write_timeout=SECONDS,
        ).close()
    except (err.MySQLError, OSError, RuntimeError, ConfigError):
        return False
    return True
