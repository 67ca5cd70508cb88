"""Which error a run ends with when several threads meet the consequences of one cause."""

import threading

import pytest

from ferry_core.errors import DataError
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.waits import PATIENCE_SECONDS, wait_until


def test_the_stream_reports_a_dropped_table_even_if_a_read_fails_first(pair: Pair, schema: str) -> None:
    name = make_table(pair, schema, "id INT PRIMARY KEY", "(1)")
    with EngineInProcess(pair, schema) as run:
        pair.source.execute(f"DROP TABLE {name}")
        reading = threading.Event()

        def read() -> None:
            with run.connections.source_control() as session:
                reading.set()
                session.query(f"SELECT * FROM {name}")

        run.engine.start("reader", read)
        assert reading.wait(PATIENCE_SECONDS)
        run.stream()
        with pytest.raises(DataError, match="DROP TABLE") as found:
            wait_until(run.engine.check, "the run ends")
        assert found.value.reason == "SchemaChanged"


def test_a_missing_table_without_a_logged_statement_is_reported_as_read(pair: Pair, schema: str) -> None:
    make_table(pair, schema, "id INT PRIMARY KEY", "(1)")
    with EngineInProcess(pair, schema) as run:
        run.stream()

        def read() -> None:
            with run.connections.source_control() as session:
                session.query(f"SELECT * FROM {schema}.never_there")

        run.engine.start("reader", read)
        with pytest.raises(DataError, match="never_there") as found:
            wait_until(run.engine.check, "the run ends")
        assert found.value.reason == "TableNotAsKnown"
