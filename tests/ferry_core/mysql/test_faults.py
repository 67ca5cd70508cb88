"""What a server's refusal becomes: code decides by the fields of the error, never by its message."""

import pytest

from ferry_core.errors import ConnectionLost, DataError, FerryError, LockConflict, ServerRole
from ferry_core.mysql.faults import is_referenced, table_is_gone
from ferry_core.mysql.processes import kill, processes
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from tests.support.servers import Pair


@pytest.mark.parametrize("role", ServerRole)
def test_a_refused_statement_is_in_the_fields(pair: Pair, schema: str, role: ServerRole) -> None:
    statement = f"SELECT '{'x' * 300}' FROM `{schema}`.nothing"
    with Session(pair.source.endpoint(role), Purpose.CONTROL) as session, pytest.raises(DataError) as caught:
        session.query(statement)
    error = caught.value
    assert (error.reason, error.server, error.code, error.statement) == (
        Reason.TABLE_NOT_AS_KNOWN,
        role,
        1146,
        statement,
    )
    assert error.message == f"{error.problem}; statement: {statement[:200]}"
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


def test_what_is_added_stands_behind_the_statement() -> None:
    error = FerryError(Reason.STATEMENT_FAILED, "no", statement="DO 1")
    error.add(". More")
    assert (str(error), error.problem) == ("StatementFailed: no; statement: DO 1. More", "no")
