"""A session relies on no global default: whatever a server's administrator set, our statements work as intended."""

from collections.abc import Iterator

import pytest

from ferry_core.binlog.handshake import _connect, _introduce, close
from ferry_core.errors import Interrupted
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.servers import Pair, Server

HOSTILE = {
    "completion_type": "'CHAIN'",
    "default_week_format": "3",
    "lc_time_names": "'de_DE'",
    "max_join_size": "100",
    "sql_big_selects": "0",
    "sql_auto_is_null": "1",
    "sql_safe_updates": "1",
    "sql_select_limit": "2",
}
HOSTILE_MYSQL = {"max_execution_time": "1", "transaction_read_only": "1"}
HOSTILE_MARIADB = {"idle_transaction_timeout": "1", "max_statement_time": "0.001", "tx_read_only": "1"}


@pytest.fixture
def hostile(pair: Pair, schema: str) -> Iterator[Server]:  # noqa: ARG001 - the schema is dropped after our values are
    """A server whose global defaults restrict its users as far as possible."""
    server = pair.source
    values = HOSTILE | (HOSTILE_MYSQL if pair.flavor is Flavor.MYSQL else HOSTILE_MARIADB)
    server.execute(*(f"SET GLOBAL {name} = {value}" for name, value in values.items()))
    yield server
    server.execute(*(f"SET GLOBAL {name} = DEFAULT" for name in values))


@pytest.mark.parametrize("purpose", list(Purpose))
def test_the_servers_limits_do_not_apply_to_our_sessions(hostile: Server, schema: str, purpose: Purpose) -> None:
    with Session(hostile.endpoint(), purpose) as session:
        assert len(session.query("SELECT 1 UNION SELECT 2 UNION SELECT 3")) == 3
        assert session.number("SELECT @@sql_big_selects") == 1
        session.execute(f"CREATE TABLE {schema}.limits (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
        session.begin()
        session.execute(f"INSERT INTO {schema}.limits (n) VALUES (7), (7), (7)")
        session.commit()
        assert not session.query(f"SELECT id FROM {schema}.limits WHERE id IS NULL"), "the row inserted last"
        assert session.execute(f"DELETE FROM {schema}.limits WHERE n = 7") == 3
        session.rollback()
        left = session.number(f"SELECT COUNT(*) FROM {schema}.limits")
        assert left == 0, "COMMIT began another transaction, so that the DELETE was not one of its own"
        assert session.number("SELECT SLEEP(0.05)") == 0, "a statement was cut short"
        assert session.text("SELECT DATE_FORMAT('2026-03-01', '%M')") == "March"
        assert session.text("SELECT WEEK('2027-01-02')") == "0"


@pytest.fixture
def logged(pair: Pair) -> Iterator[Server]:
    """A server that logs each statement it receives."""
    server = pair.source
    server.execute("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON")
    yield server
    server.execute("SET GLOBAL general_log = OFF", "TRUNCATE mysql.general_log", "SET GLOBAL log_output = DEFAULT")


def statements(server: Server, connection_id: int) -> list[str]:
    """Statements sent on one connection."""
    sent = server.query(
        "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE thread_id = %s AND command_type = 'Query'",
        [connection_id],
    )
    return [str(text) for (text,) in sent]


def asks_without_limits(sent: list[str]) -> bool:
    """Whether no query was sent before the server's statement limit was removed."""
    lifted = next(place for place, text in enumerate(sent) if "max_execution_time = 0" in text)
    return not any(text.startswith(("SELECT", "SHOW")) for text in sent[:lifted])


def test_no_query_is_sent_before_the_limits_are_removed(logged: Server) -> None:
    """On a busy server with a small limit the very first SELECT would be interrupted."""
    with Session(logged.endpoint(), Purpose.CONTROL) as session:
        sent = statements(logged, session.connection_id)
    assert asks_without_limits(sent), sent
    dump = _connect(logged.endpoint())
    try:
        _introduce(dump, logged.flavor, 4_000_077)
        sent = statements(logged, dump.thread_id())  # type: ignore[no-untyped-call]
    finally:
        close(dump)
    assert asks_without_limits(sent), sent


def test_a_limit_that_interrupts_its_own_removal_is_retried(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB's max_statement_time applies to all statements, including the one that removes it."""
    execute, failures = Session.execute, iter(range(3))

    def interrupted(session: Session, statement: str | bytes) -> int:
        if "max_statement_time = 0 */" in str(statement) and next(failures, None) is not None:
            raise Interrupted(Reason.STATEMENT_INTERRUPTED, "max_statement_time exceeded")
        return execute(session, statement)

    monkeypatch.setattr(Session, "execute", interrupted)
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        assert session.number("SELECT 1") == 1
    assert next(failures, None) is None


def test_a_compound_statement_may_end_with_an_answer_of_its_own(mariadb_pair: Pair) -> None:
    with Session(mariadb_pair.source.endpoint(), Purpose.CONTROL) as session:
        for number in (1, 2):
            assert session.number(f"BEGIN NOT ATOMIC SELECT {number}; END") == number
        assert session.number("SELECT 3") == 3
