"""Finds out whether an account was refused because it requires TLS: the server sends the same error as for a wrong
password.

Called by ``Session``.
"""

import ssl

from pymysql import err

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


def _lets_in(endpoint: Endpoint) -> bool:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # as with tls.mode: Preferred; this connection sends no statement
    try:
        UploadConnection(
            **endpoint.login,
            ssl=unverified,
            connect_timeout=SECONDS,
            read_timeout=SECONDS,
            write_timeout=SECONDS,
        ).close()
    except (err.MySQLError, OSError, RuntimeError, ConfigError):
        return False
    return True
