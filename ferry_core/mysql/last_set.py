"""Who last made a source read-only, and when. MySQL 8.0 and later record that; MySQL 5.7 and MariaDB do not.

Used by ``cutover.evidence``, which decides by it, and by ``preflight.read_only``, which reports it.
"""

from typing import NamedTuple

from ferry_core.mysql.session import Session

_LAST_SET = """
SELECT UNIX_TIMESTAMP(set_time), set_user FROM performance_schema.variables_info
WHERE variable_name = 'super_read_only' AND set_time IS NOT NULL"""


class LastSet(NamedTuple):
    """``when`` is in Unix seconds of the server's clock; 0 if nobody has set it since the server's start."""

    when: float
    account: str


def last_set(session: Session) -> LastSet | None:
    """Of super_read_only; None if the server does not report it."""
    if not session.version.records_setter:
        return None
    rows = session.query(_LAST_SET)
    return LastSet(float(rows[0][0] or 0), (rows[0][1] or b"").decode()) if rows else LastSet(0.0, "")
