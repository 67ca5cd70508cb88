"""Decides whose read_only it is: left behind by one of our attempts, or set by somebody else since.

A run may die after it has unlocked the source and before the lease row records that. If a person makes the source
read-only days later, the next start finds a lease that says "restore OFF". So an attempt records, with the values to
restore, when it began (source clock), how long it may last, by which account, and how long that server had been up.
The decision:

- MySQL reports who last set super_read_only, and when (performance_schema.variables_info, readable by every account):
  it is ours if this account set it within the attempt's time.
- A server that was restarted since has lost the effect of SET GLOBAL: its current value is somebody else's.
- MariaDB and MySQL 5.7 keep no such record: within ``RECENT_SECONDS`` of the attempt the lock counts as ours, with a
  warning; later it is unclear. (MariaDB 10.11: SET GLOBAL read_only changes no status variable but Com_set_option,
  which every login changes too, and information_schema.SYSTEM_VARIABLES has no time.)

A lock that is not certainly ours is left unchanged and reported, with the statement that allows writes. Called by
``source_lock``.
"""

import time
from collections.abc import Mapping

from ferry_core.mysql.last_set import last_set
from ferry_core.mysql.session import Session

RECENT_SECONDS = 900.0
"""A copier whose node was lost is replaced within about six minutes."""
SLACK_SECONDS = 60.0
"""Allows for adjusted clocks, and for a machine that stopped the run between recording and locking."""

_NOW = "SELECT UNIX_TIMESTAMP(NOW(6))"
_UPTIME = "SHOW GLOBAL STATUS LIKE 'Uptime'"
# Up to the last @: an account's name may contain one, a host name does not.
_ACCOUNT = "SELECT LEFT(USER(), CHAR_LENGTH(USER()) - CHAR_LENGTH(SUBSTRING_INDEX(USER(), '@', -1)) - 1)"


def evidence(session: Session, seconds: float) -> dict[str, str]:
    """Evidence for an attempt that begins now on this source and lasts at most that long."""
    return {
        "at": session.text(_NOW),
        "seconds": f"{seconds:g}",
        "account": session.text(_ACCOUNT),
        "uptime": _uptime(session),
    }


def is_ours(session: Session, stored: Mapping[str, str]) -> bool:
    """Whether the source's current lock certainly belongs to the attempt that recorded this evidence."""
    if "at" not in stored:
        return True  # written by a version that did not record it
    began = float(stored["at"])
    until = began + float(stored["seconds"]) + SLACK_SECONDS
    age = float(session.text(_NOW)) - began
    if float(_uptime(session)) + SLACK_SECONDS < float(stored["uptime"]) + age:
        return False  # the server was restarted
    known = last_set(session)
    if known is not None:
        return known.account == stored["account"] and began - SLACK_SECONDS <= known.when <= until
    return age <= float(stored["seconds"]) + RECENT_SECONDS


def caution(session: Session, stored: Mapping[str, str]) -> str:
    """Warning after an unlock: it is wrong if a person has set read_only since. Empty if the server records that."""
    if session.version.records_setter:
        return ""
    began = time.strftime(" of %F %T UTC", time.gmtime(float(stored["at"]))) if "at" in stored else ""
    server = "MySQL 5.7" if session.version.before_8 else "MariaDB"
    return (
        f". {server} does not record who set read_only: if a person set it after this Ferry's attempt{began}, it is "
        f"off now; set it again with SET GLOBAL read_only = ON"
    )


def _uptime(session: Session) -> str:
    return (session.row(_UPTIME, 2)[1] or b"0").decode()
