"""A SELECT that the server itself ends: one that only the client gives up goes on there, and reads. Used for looks that
may read a whole table.
"""

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Row, Session


def query_within(session: Session, seconds: int, select: str) -> list[Row]:
    """The rows of a statement that begins with SELECT. Raises Interrupted after that many seconds."""
    if session.flavor is Flavor.MARIADB:
        return session.query(f"SET STATEMENT max_statement_time = {seconds} FOR {select}")
    return session.query(select.replace("SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({seconds * 1000}) */", 1))
