"""Lists the connections of a server and kills them. Used by code that must end or explain another connection."""

from typing import NamedTuple

from ferry_core.errors import FerryError
from ferry_core.mysql.session import Session

_NO_SUCH_THREAD = 1094


class Process(NamedTuple):
    """One line of the process list. ``seconds`` is the time in the current state."""

    ident: int
    user: str
    host: str
    schema: str
    command: str
    seconds: int
    state: str
    statement: str


def processes(session: Session) -> list[Process]:
    """Every connection that the account may see, with complete statements."""
    found = []
    for row in session.query("SHOW FULL PROCESSLIST"):
        ident, user, host, schema, command, seconds, state, statement, *_ = (
            (field or b"").decode("utf-8", "replace") for field in row
        )
        found.append(Process(int(ident), user, host, schema, command, int(seconds or 0), state, statement))
    return found


def kill(session: Session, ident: int, *, query_only: bool = False) -> None:
    """Kill a connection, or only its statement. It is fine if the connection is already gone."""
    try:
        session.execute(f"KILL {'QUERY ' if query_only else ''}{ident}")
    except FerryError as error:
        if error.code != _NO_SUCH_THREAD:
            raise
