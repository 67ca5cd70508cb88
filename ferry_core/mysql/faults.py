"""Turns a driver's exception into a value of the error tree, once, at the session. Called by ``session`` alone.

Error numbers are those of the MySQL and MariaDB server error references.
"""

import ssl

from pymysql import err

from ferry_core.errors import (
    ConfigError,
    ConnectionLost,
    DataError,
    FerryError,
    Interrupted,
    LockConflict,
    ResourceExhausted,
    TooLarge,
)
from ferry_core.mysql.endpoint import Endpoint

LOCK_CONFLICT = {1205, 1213, 3058, 3572}
LOST = {1053, 1077, 1079, 1158, 1159, 1160, 1161, 1927, 2003, 2005, 2006, 2013, 2014, 2055, 4031, 3169}
KILLED_QUERY = {1317, 1969, 3024, 1028}
EXHAUSTED = {3, 1021, 1026, 1030, 1041, 1114, 1135, 1203, 1226, 3675, 1040}
TOO_LARGE = {1153, 1301, 2020}
DENIED = {1045, 1698, 1862, 1820, 3118, 3159}
PRIVILEGE = {1044, 1142, 1143, 1227, 1370, 1410}
READ_ONLY = {1290, 1792, 1836}
TLS_NOT_OFFERED = 2026


def classify(error: Exception, endpoint: Endpoint, statement: str = "") -> FerryError:
    """The FerryError that ``error`` means, naming the server and the first 200 characters of the statement."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    where = f"{endpoint.role} {endpoint.address}"
    said = f"{where}: {text} (error {code})" if code else f"{where}: {text}"
    asked = f"; statement: {statement[:200]}" if statement else ""
    tls_fault = _tls_fault(error, code, where)
    if tls_fault is not None:
        return tls_fault
    if code in LOCK_CONFLICT:
        return LockConflict("LockConflict", said)
    if code in KILLED_QUERY:
        return Interrupted("StatementInterrupted", said)
    if code in EXHAUSTED:
        return ResourceExhausted("ServerResourceExhausted", said)
    if code in TOO_LARGE:
        return TooLarge("RowsTooLarge", said)
    if code in DENIED:
        return ConfigError("AccessDenied", f"{said}; check the user name, password and host part of the account")
    if code in PRIVILEGE:
        return ConfigError("MissingPrivilege", said + asked)
    if code in READ_ONLY:
        return ConfigError("ServerReadOnly", f"{said}; make it writable or point the Ferry at its primary")
    if code in LOST or (code == 0 and isinstance(error, err.InterfaceError | OSError)):
        return ConnectionLost("ConnectionLost", said)
    if isinstance(error, err.OperationalError) and 2000 <= code < 3000:
        return ConnectionLost("ConnectionLost", said)
    if isinstance(error, err.InternalError) and code == 0:
        return ConnectionLost("ConnectionLost", said)
    return DataError("StatementFailed", said + asked)


def _tls_fault(error: Exception, code: int, where: str) -> ConfigError | None:
    untrusted = getattr(error, "original_exception", error)
    if isinstance(untrusted, ssl.SSLCertVerificationError):
        return ConfigError(
            "TlsCertificateRejected",
            f"{where}: its certificate does not verify: {untrusted.verify_message}; give the CA that signed it as "
            "ca.crt in the Secret of tls.secretRef, use the host name that it was made for, or a weaker tls.mode",
        )
    if code == TLS_NOT_OFFERED:
        return ConfigError(
            "TlsNotOffered",
            f"{where} does not offer TLS and the Ferry's tls.mode requires it; "
            "enable TLS on the server or set tls.mode: Preferred",
        )
    return None
