"""The signal threads-running: how many threads of a server do something now, its status variable Threads_running.

The run's own statements count too, and so does the question itself.
"""

from ferry_core.api.spec import Throttle as Settings
from ferry_core.errors import ServerRole
from ferry_core.mysql.session import Session
from ferry_core.throttle.probe import UnknownValueError
from ferry_core.throttle.signal import Kind

THREADS_RUNNING = "threads-running"


def ask(session: Session, _wanted: str) -> float:
    rows = session.query("SHOW GLOBAL STATUS LIKE 'Threads_running'")
    if not rows or rows[0][1] is None:
        raise UnknownValueError("the server does not show Threads_running")
    return float(rows[0][1])


def kind(role: ServerRole) -> Kind:
    """For one of the two servers."""

    def limit(settings: Settings) -> float | None:
        limits = settings.max_threads_running
        if limits is None:
            return None
        return limits.source if role is ServerRole.SOURCE else limits.target

    return Kind(THREADS_RUNNING, limit, lambda threads: f"{threads:g}")
