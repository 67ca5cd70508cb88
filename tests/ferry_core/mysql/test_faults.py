"""How a server's error is classified: code uses the fields of the error, never its message."""

import socket
import threading

import pytest
from pymysql import err

from ferry_core.errors import ConnectionLost, DataError, FerryError, LockConflict, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.faults import classify, is_referenced, table_is_gone
from ferry_core.mysql.processes import kill, processes
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.servers import Pair


@pytest.mark.parametrize("role", ServerRole)
def test_an_error_contains_the_refused_statement(pair: Pair, schema: str, role: ServerRole) -> None:
    statement, shown = (f"SELECT {value} FROM `{schema}`.nothing" for value in (f"'{'x' * 300}'", "?"))
    with Session(pair.source.endpoint(role), Purpose.CONTROL) as session, pytest.raises(DataError) as caught:
        session.query(statement)
    error = caught.value
    assert (error.reason, error.server, error.code, error.statement) == (
        Reason.TABLE_NOT_AS_KNOWN,
        role,
        1146,
        shown,
    )
    assert error.message == f"{error.problem}; statement: {shown}"
    assert table_is_gone(error)
    assert not is_referenced(error)


def test_a_lock_that_was_waited_for_too_long(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    with (
        Session(pair.source.endpoint(), Purpose.CONTROL) as session,
        Session(pair.source.endpoint(), Purpose.CONTROL) as other,
    ):
        other.execute(f"LOCK TABLES `{schema}`.t WRITE")
        session.execute("SET SESSION lock_wait_timeout = 1")
        with pytest.raises(LockConflict) as caught:
            session.query(f"SELECT * FROM `{schema}`.t")
    assert (caught.value.reason, caught.value.server, caught.value.code) == (
        Reason.LOCK_CONFLICT,
        ServerRole.SOURCE,
        1205,
    )


def test_a_killed_connection(pair: Pair) -> None:
    with (
        Session(pair.target.endpoint("target"), Purpose.CONTROL) as session,
        Session(pair.target.endpoint(), Purpose.CONTROL) as other,
    ):
        assert session.connection_id in [process.ident for process in processes(other)]
        kill(other, session.connection_id)
        with pytest.raises(ConnectionLost) as caught:
            session.query("SELECT 1")
        assert caught.value.server is ServerRole.TARGET
        kill(other, session.connection_id)  # gone: no error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (err.OperationalError("received unknown auth switch request"), Reason.ACCOUNT_UNSUPPORTED),
        (RuntimeError("'cryptography' package is required"), Reason.ACCOUNT_UNSUPPORTED),
        (err.InternalError("Packet sequence number wrong - got 3 expected 1"), Reason.CONNECTION_LOST),
        (err.InterfaceError(0, ""), Reason.CONNECTION_LOST),
        (err.OperationalError(2014, "out of sync"), Reason.CONNECTION_LOST),
    ],
    ids=str,
)
def test_what_the_driver_reports_without_a_server_is_told_apart_by_class(error: Exception, reason: Reason) -> None:
    found = classify(error, Endpoint(ServerRole.SOURCE, "db.test", 3306, "u", "p"))
    assert (found.reason, found.code) == (reason, error.args[0] if isinstance(error.args[0], int) else 0)


def test_a_port_on_which_something_else_listens() -> None:
    """It accepts the connection and closes it, as an HTTP server does with a request that it cannot read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closing = threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True)  # noqa: PLW0108 - accept waits
        closing.start()
        endpoint = Endpoint(ServerRole.SOURCE, "127.0.0.1", listener.getsockname()[1], "u", "p")
        with pytest.raises(ConnectionLost, match="what listens there does not answer like a MySQL server"):
            Session(endpoint, Purpose.CONTROL)
        closing.join(180)


def test_added_text_follows_the_statement() -> None:
    error = FerryError(Reason.STATEMENT_FAILED, "no", statement="DO 1")
    error.add(". More")
    assert (str(error), error.problem) == ("StatementFailed: no; statement: DO 1. More", "no")
