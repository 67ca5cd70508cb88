"""The signal query: a statement of the user's, asked on the source. It throttles while its answer is true.

NULL, no row, several values and an error are unknown. It runs in a read-only transaction, and the server ends it after
two seconds and sends at most two rows: an unanswered question must not become one more each second, nor a table be read
into memory.
"""

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.throttle.probe import UnknownValueError
from ferry_core.throttle.signal import Kind

QUERY = "query"


def ask(session: Session, query: str) -> float:
    limit = "max_execution_time = 2000" if session.flavor is Flavor.MYSQL else "max_statement_time = 2"
    session.execute(f"SET SESSION {limit}, SESSION sql_select_limit = 2")
    session.execute("START TRANSACTION READ ONLY")
    rows = session.query(query)
    session.rollback()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise UnknownValueError("it must return one value")
    if rows[0][0] is None:
        raise UnknownValueError("it returned NULL")
    try:
        return float(float(rows[0][0]) != 0)
    except ValueError:
        raise UnknownValueError("it must return a number: 1 throttles, 0 does not") from None


KIND = Kind(
    QUERY,
    lambda settings: None if settings.query is None else 0.0,
    lambda answer: "true" if answer else "false",
    lambda settings: settings.query or "",
)
