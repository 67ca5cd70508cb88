"""Converts a driver's exception to an error of the error tree. Called wherever a connection is opened or used.

Error numbers are those of the MySQL and MariaDB server error references.
"""

import ssl
from typing import NamedTuple

from pymysql import err
from pymysql.constants import CR

from ferry_core.errors import (
    ConfigError,
    ConnectionLost,
    DataError,
    FerryError,
    Interrupted,
    LockConflict,
    LoginRefused,
    ResourceExhausted,
    TooLarge,
)
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.quoted_values import without_values
from ferry_core.mysql.shown_statement import without_literals
from ferry_core.reasons import Reason

TLS_NOT_OFFERED = 2026


class _Meaning(NamedTuple):
    """What a group of error numbers means. ``advice`` is appended to the server's message."""

    kind: type[FerryError]
    reason: Reason
    advice: str = ""
    shows_statement: bool = False


_LOST = _Meaning(ConnectionLost, Reason.CONNECTION_LOST)
_FAILED = _Meaning(DataError, Reason.STATEMENT_FAILED, shows_statement=True)
_REFUSED = _Meaning(ConfigError, Reason.ACCESS_DENIED, "check the user name, password and host part of the account")
_UNKNOWN_LOGIN = _Meaning(
    ConfigError, Reason.ACCOUNT_UNSUPPORTED, "let the account log in by caching_sha2_password or mysql_native_password"
)

_KEY_UNTRUSTED = _Meaning(
    ConfigError,
    Reason.PUBLIC_KEY_UNTRUSTED,
    "set tls.mode to VerifyCA or VerifyIdentity, or name a server on this machine by its socket, or, if you trust the "
    "network, set tls.allowPublicKeyRetrieval: true",
)
# Retriable: a new password may have reached the server and not yet the Secret, or the other way round; and a server
# that was restarted has an empty cache, so that it needs a key.
_ACCEPTED_BEFORE = {each: each._replace(kind=LoginRefused) for each in (_REFUSED, _KEY_UNTRUSTED)}

_NO_PARTITION = _FAILED._replace(
    advice="if partitions were added to the source's table, add them to the target's too and start again: the run "
    "resumes from its checkpoint"
)

_GROUPS: dict[_Meaning, tuple[int, ...]] = {
    _Meaning(LockConflict, Reason.LOCK_CONFLICT): (1205, 1213, 1684, 3058, 3572),
    _LOST: (1053, 1077, 1079, 1158, 1159, 1160, 1161, 1927, 2003, 2005, 2006, 2013, 2014, 2055, 4031, 3169),
    _Meaning(Interrupted, Reason.STATEMENT_INTERRUPTED): (1317, 1969, 3024, 1028),
    _Meaning(ResourceExhausted, Reason.SERVER_RESOURCE_EXHAUSTED): (
        *(3, 1021, 1026, 1030, 1041, 1114, 1135, 1203, 1226, 3675, 1040),
    ),
    _Meaning(
        ResourceExhausted,
        Reason.SERVER_RESOURCE_EXHAUSTED,
        "its table of row locks takes up the buffer pool: raise innodb_buffer_pool_size there",
    ): (1206,),
    _Meaning(TooLarge, Reason.ROWS_TOO_LARGE): (1153, 1301),
    _Meaning(ConnectionLost, Reason.ANSWER_MALFORMED): (CR.CR_MALFORMED_PACKET,),
    _Meaning(DataError, Reason.ANSWER_TOO_LARGE, "if it has rows that large, give the copier more memory"): (
        CR.CR_NET_PACKET_TOO_LARGE,
    ),
    _REFUSED: (1045, 1129, 1130, 1698, 1820, 1862, 3118, 4151),
    # Somebody changed a definition. The stream will report which statement did.
    _Meaning(
        DataError,
        Reason.TABLE_NOT_AS_KNOWN,
        "a definition was changed or dropped while the Ferry relied on it: undo that and start again, or start over "
        "with a fresh copy",
        shows_statement=True,
    ): (1049, 1054, 1146, 1176),
    _NO_PARTITION: (1526,),
    _Meaning(ConfigError, Reason.TLS_WANTED, "use a tls.mode other than Disabled"): (3159,),
    _UNKNOWN_LOGIN: (1251, CR.CR_AUTH_PLUGIN_CANNOT_LOAD),
    _KEY_UNTRUSTED: (CR.CR_AUTH_PLUGIN_ERR,),
    _Meaning(ConfigError, Reason.MISSING_PRIVILEGE, shows_statement=True): (1044, 1142, 1143, 1227, 1370, 1410),
    _Meaning(ConfigError, Reason.SERVER_READ_ONLY, "make it writable or point the Ferry at its primary"): (
        1290,
        1792,
        1836,
    ),
}
_MEANINGS = {code: meaning for meaning, codes in _GROUPS.items() for code in codes}


def classify(error: Exception, endpoint: Endpoint, statement: str = "") -> FerryError:
    """The FerryError for ``error``, with the server, its error number and the refused statement."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = without_values(code, str(error.args[1])) if len(error.args) > 1 else str(error)
    where = endpoint.where
    tls_fault = _tls_fault(error, code, endpoint)
    if tls_fault is not None:
        return tls_fault
    meaning = _MEANINGS.get(code) or _unnumbered(error, code)
    if endpoint.accepted:
        meaning = _ACCEPTED_BEFORE.get(meaning, meaning)
    message = f"{where}: {text} (error {code})" if code else f"{where}: {text}"
    message += f"; {meaning.advice}" if meaning.advice else ""
    shown = without_literals(statement) if meaning.shows_statement else ""
    return meaning.kind(meaning.reason, message, server=endpoint.role, code=code, statement=shown)


def _unnumbered(error: Exception, code: int) -> _Meaning:
    if code == 0 and isinstance(error, RuntimeError | err.OperationalError):
        return _UNKNOWN_LOGIN  # PyMySQL 1.2 raises these without a number during a login, and nowhere else
    if code == 0 and isinstance(error, err.InterfaceError | err.InternalError | OSError):
        return _LOST
    if isinstance(error, err.OperationalError) and 2000 <= code < 3000:
        return _LOST
    return _FAILED


def table_is_gone(error: BaseException) -> bool:
    """Whether a statement failed because its table, or the whole schema, does not exist."""
    return isinstance(error, FerryError) and error.code in (1049, 1146)


def index_is_gone(error: FerryError) -> bool:
    """Whether a statement failed because an index that it names does not exist, or no longer is visible."""
    return error.code == 1176


def files_are_refused(error: FerryError) -> bool:
    """Whether LOAD DATA LOCAL was refused, by the server or by a proxy before it."""
    return error.code in (1148, 3948, 4166)


def is_referenced(error: FerryError) -> bool:
    """Whether a table was not dropped because a foreign key of another table references it."""
    return error.code in (1217, 1451, 3730)


def violates_check(error: FerryError) -> bool:
    """Whether a CHECK constraint was not added because of a row in the table."""
    return error.code in (3819, 4025)


def unreachable(error: Exception, endpoint: Endpoint) -> FerryError:
    """The same for an error while a connection is opened, with advice about what to check."""
    found = classify(error, endpoint)
    if not isinstance(found, ConnectionLost):
        return found
    cause = getattr(error, "original_exception", None) or error
    text = getattr(cause, "strerror", None) or str(cause.args[-1] if cause.args else cause)
    if found.code in (CR.CR_SERVER_LOST, CR.CR_MALFORMED_PACKET):
        text = "what listens there does not answer like a MySQL server"
    advice = f"check {endpoint.fields}host and port, that the server is up, and that no firewall blocks the connection"
    if endpoint.socket is not None:
        advice = (
            f"check {endpoint.fields}socket (SHOW VARIABLES LIKE 'socket' has the path), that the server runs on this "
            "machine, and that this user may open the file"
        )
    return ConnectionLost(
        Reason.SERVER_UNREACHABLE, f"{endpoint.where} cannot be reached: {text}; {advice}", server=endpoint.role
    )


def _tls_fault(error: Exception, code: int, endpoint: Endpoint) -> ConfigError | None:
    where = endpoint.where
    untrusted = getattr(error, "original_exception", error)
    if isinstance(untrusted, ssl.SSLCertVerificationError):
        return ConfigError(
            Reason.TLS_CERTIFICATE_REJECTED,
            f"{where}: its certificate does not verify: {untrusted.verify_message}; give the CA that signed it as "
            "ca.crt in the Secret of tls.secretRef, use the host name that it was made for, or a weaker tls.mode",
            server=endpoint.role,
        )
    if code == TLS_NOT_OFFERED:
        return ConfigError(
            Reason.TLS_NOT_OFFERED,
            f"{where} does not offer TLS and the Ferry's tls.mode requires it; "
            "enable TLS on the server or set tls.mode: Preferred",
            server=endpoint.role,
            code=code,
        )
    return None
