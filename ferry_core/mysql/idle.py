"""Sessions that idle while the other end works. Used by code that reads or compares whole tables.

A session on the target usually ends after 60 s without a statement (``session``), so that a dead copier's locks do. A
statement on the source may take longer than that.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ferry_core.mysql.session import Session

PATIENT_SECONDS = 24 * 3600
"""A row filter may keep the source's next rows away for hours, and a throttle a copy's first."""


@contextmanager
def may_idle(*sessions: Session) -> Iterator[None]:
    """Use it only where no session holds a lock between two statements."""
    with ExitStack() as settings:
        for session in sessions:
            settings.enter_context(session.changed("wait_timeout", PATIENT_SECONDS))
        yield
