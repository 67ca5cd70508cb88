"""What a session says of a transaction, a lock or a setting that is left open on it."""

from collections.abc import Iterator

import pytest

from ferry_core.errors import Interrupted
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.servers import Pair


@pytest.fixture
def session(pair: Pair) -> Iterator[Session]:
    with Session(pair.source.endpoint(), Purpose.SOURCE) as session:
        yield session


@pytest.mark.parametrize(
    ("left", "begins", "ends"),
    [
        ("a transaction", "START TRANSACTION", "ROLLBACK"),
        ("a transaction", "START TRANSACTION WITH CONSISTENT SNAPSHOT", "COMMIT"),
        ("table locks", "LOCK TABLES mysql.time_zone READ", "UNLOCK TABLES"),
        ("an advisory lock", "SELECT GET_LOCK('left by a test', 0)", "SELECT RELEASE_LOCK('left by a test')"),
    ],
)
def test_what_a_statement_leaves_open(session: Session, left: str, begins: str, ends: str) -> None:
    assert session.left_open == ""
    session.execute(begins)
    for _ in range(2):
        assert session.left_open == left
        session.query("SELECT 1 FROM mysql.time_zone")
        list(session.stream("SELECT 1 FROM mysql.time_zone"))
    session.execute(ends)
    for _ in range(2):
        assert session.left_open == ""
        session.query("SELECT 1 FROM mysql.time_zone")
        list(session.stream("SELECT 1 FROM mysql.time_zone"))


def test_a_setting_that_was_not_set_back(session: Session) -> None:
    usual, execute = session.number("SELECT @@SESSION.wait_timeout"), session.execute

    def interrupted(statement: str | bytes, shown: str = "") -> int:
        if statement == f"SET SESSION wait_timeout = {usual}":
            raise Interrupted(Reason.STATEMENT_INTERRUPTED, "KILL QUERY")
        return execute(statement, shown)

    with session.changed("wait_timeout", 7):
        assert session.number("SELECT @@SESSION.wait_timeout") == 7
    assert (session.left_open, session.number("SELECT @@SESSION.wait_timeout")) == ("", usual)
    session.execute = interrupted  # type: ignore[method-assign]
    with session.changed("wait_timeout", 7):
        pass
    assert session.left_open == "another wait_timeout"
