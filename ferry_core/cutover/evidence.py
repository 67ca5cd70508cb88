"""Whose read_only it is: what tells a lock that an attempt has left behind from one that somebody else has set since.

An unlock may succeed and its run die before the lease row says so; days later a person makes the source read-only, and
the next start finds a lease that says "restore OFF". So an attempt writes down, with the values to restore, when it
began by the source's clock, for how long it may last, by which account, and for how long that server had run. Later:

- MySQL tells who set super_read_only last, and when (performance_schema.variables_info, readable by every account):
  ours, if it was this account within the attempt's time.
- a server that was restarted since has forgotten what SET GLOBAL did: what it has now is somebody else's.
- MariaDB keeps no such record: within ``RECENT_SECONDS`` of the attempt the lock is taken for ours, and that is
  said; later for unclear. (10.11: SET GLOBAL read_only changes no status variable but Com_set_option, which every login
  changes too, and information_schema.SYSTEM_VARIABLES has no time.)

What is not ours for certain is left as it is and said, with the statement that allows writes. Called by
``source_lock``.
"""

import time
from collections.abc import Mapping

from ferry_core.mysql.last_set import last_set
from ferry_core.mysql.session import Session

RECENT_SECONDS = 900.0
"""A copier whose node was lost is replaced within about six minutes."""
SLACK_SECONDS = 60.0
"""Clocks are set meanwhile, and a run may be stopped by its machine between writing down and locking."""

_NOW = "SELECT UNIX_TIMESTAMP(NOW(6))"
_UPTIME = "SHOW GLOBAL STATUS LIKE 'Uptime'"
# Up to the last one: an account's name may hold an @, a host's does not.
_ACCOUNT = "SELECT LEFT(USER(), CHAR_LENGTH(USER()) - CHAR_LENGTH(SUBSTRING_INDEX(USER(), '@', -1)) - 1)"


def evidence(session: Session, seconds: float) -> dict[str, str]:
    """Of an attempt that begins now on this source and lasts for so long at most."""
    return {
        "at": session.text(_NOW),
        "seconds": f"{seconds:g}",
        "account": session.text(_ACCOUNT),
        "uptime": _uptime(session),
    }


def is_ours(session: Session, stored: Mapping[str, str]) -> bool:
    """Whether the lock that this source has now is surely the one of the attempt that wrote this down."""
    if "at" not in stored:
        return True  # written by a version that did not ask
    began = float(stored["at"])
    until = began + float(stored["seconds"]) + SLACK_SECONDS
    age = float(session.text(_NOW)) - began
    if float(_uptime(session)) + SLACK_SECONDS < float(stored["uptime"]) + age:
        return False  # restarted
    known = last_set(session)
    if known is not None:
        return known.account == stored["account"] and began - SLACK_SECONDS <= known.when <= until
    return age <= float(stored["seconds"]) + RECENT_SECONDS


def said_on_mariadb(stored: Mapping[str, str]) -> str:
    """After an unlock that is right unless a person has set read_only since: the server keeps nothing of who did."""
    began = time.strftime(" of %F %T UTC", time.gmtime(float(stored["at"]))) if "at" in stored else ""
    return (
        f". MariaDB does not record who set read_only: if a person set it after this Ferry's attempt{began}, it is "
        f"off now; set it again with SET GLOBAL read_only = ON"
    )


def _uptime(session: Session) -> str:
    return (session.query(_UPTIME)[0][1] or b"0").decode()
