"""A temporary schema on the target in which preflight tries definitions. Used by ``trial`` and by cleanup.

Several checks of one Ferry may run at once, and any of them may be killed. So each creates a schema with a unique name
and holds a named lock of that name. A schema with this Ferry's prefix whose lock is free belongs to a check that is
gone.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ferry_core.errors import ConfigError, FerryError
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.processes import kill
from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.discovery import TRIALS

FAREWELL_SECONDS = 1
"""How long to wait for the drop if its session broke or the process was asked to end. The server continues."""


def prefix_of(ferry_uid: str) -> str:
    """Prefix of the names of a Ferry's trial schemas."""
    return f"{TRIALS}{hashlib.sha256(ferry_uid.encode()).hexdigest()[:12]}_"


@contextmanager
def trial_schema(session: Session, ferry_uid: str) -> Iterator[str]:
    """A new empty schema that is dropped on every exit. ConfigError if the account may not create it."""
    drop_leftovers(session, ferry_uid)
    name = prefix_of(ferry_uid) + secrets.token_hex(4)
    lock = AdvisoryLock(name)
    lock.take(session)
    try:
        session.execute(f"CREATE DATABASE {identifier(name)} CHARACTER SET utf8mb4")
        yield name
        session.execute(f"DROP DATABASE {identifier(name)}")
    except ConfigError:
        with suppress(FerryError):
            session.execute(f"DROP DATABASE IF EXISTS {identifier(name)}")
        raise
    except BaseException:
        # An interrupt may have cut off an answer anywhere, so this session cannot be used for another statement.
        _drop_from_outside(session.endpoint, session.connection_id, name)
        raise
    finally:
        with suppress(FerryError):
            lock.release(session)


def drop_leftovers(session: Session, ferry_uid: str) -> list[str]:
    """Drop schemas that killed checks of this Ferry have left behind; returns their names."""
    prefix = prefix_of(ferry_uid)
    rows = session.query(
        f"SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, {len(prefix)}) = {string(prefix)}"
    )
    dropped = []
    for name in [(row[0] or b"").decode() for row in rows]:
        if not AdvisoryLock(name).take(session):
            continue  # belongs to a running check
        session.execute(f"DROP DATABASE IF EXISTS {identifier(name)}")
        AdvisoryLock(name).release(session)
        dropped.append(name)
    return dropped


def _drop_from_outside(endpoint: Endpoint, connection_id: int, name: str) -> None:
    """Best effort: what remains is dropped by the next check of this Ferry."""
    with (
        suppress(FerryError),
        Session(endpoint, Purpose.CONTROL, connect_timeout=FAREWELL_SECONDS, read_timeout=FAREWELL_SECONDS) as session,
    ):
        with suppress(FerryError):
            kill(session, connection_id)  # otherwise its statement could create one more table after the drop
        session.execute(f"DROP DATABASE IF EXISTS {identifier(name)}")
