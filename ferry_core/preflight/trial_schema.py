"""A schema of a Ferry's own on the target, in which preflight tries definitions. Called by ``trial`` and by cleanup.

Several checks of one Ferry may run at once, and any of them may be killed: each makes a schema under a name of its own
and holds a named lock of that name. A schema under this Ferry's prefix whose lock is free belongs to nobody any more.
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
"""For how long the drop is waited for where its session broke or the process was asked to end; the server goes on."""


def prefix_of(ferry_uid: str) -> str:
    """What the names of a Ferry's own trial schemas begin with."""
    return f"{TRIALS}{hashlib.sha256(ferry_uid.encode()).hexdigest()[:12]}_"


@contextmanager
def trial_schema(session: Session, ferry_uid: str) -> Iterator[str]:
    """A new empty schema, gone on any way out; ConfigError where the account may not make it."""
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
        # It may have been interrupted anywhere in an answer: the session cannot be trusted to take one more statement.
        _drop_from_outside(session.endpoint, session.connection_id, name)
        raise
    finally:
        with suppress(FerryError):
            lock.release(session)


def drop_leftovers(session: Session, ferry_uid: str) -> list[str]:
    """Drop what checks of this Ferry that were killed have left; returns the names."""
    prefix = prefix_of(ferry_uid)
    rows = session.query(
        f"SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, {len(prefix)}) = {string(prefix)}"
    )
    dropped = []
    for name in [(row[0] or b"").decode() for row in rows]:
        if not AdvisoryLock(name).take(session):
            continue  # a check that is under way
        session.execute(f"DROP DATABASE IF EXISTS {identifier(name)}")
        AdvisoryLock(name).release(session)
        dropped.append(name)
    return dropped


def _drop_from_outside(endpoint: Endpoint, connection_id: int, name: str) -> None:
    """Best effort: what stays is dropped by the next check of this Ferry."""
    with (
        suppress(FerryError),
        Session(endpoint, Purpose.CONTROL, connect_timeout=FAREWELL_SECONDS, read_timeout=FAREWELL_SECONDS) as session,
    ):
        with suppress(FerryError):
            kill(session, connection_id)  # else its statement could make one more table after the drop
        session.execute(f"DROP DATABASE IF EXISTS {identifier(name)}")
