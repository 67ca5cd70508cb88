"""What is checked while writes are blocked takes few statements, also with many tables."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair, Server

TABLES = 70
DELETING = 5
"""So many tables lose their newest rows: their counters may need an ALTER."""
MOST_STATEMENTS = TABLES // 2
"""About tables, on both servers together. Comparing each table by itself would take two for each."""


@contextmanager
def logged(server: Server) -> Iterator[None]:
    """The server logs each statement that it receives."""
    server.execute("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON")
    try:
        yield
    finally:
        server.execute("SET GLOBAL read_only = OFF")  # as the cutover leaves the source
        server.execute("SET GLOBAL general_log = OFF", "TRUNCATE mysql.general_log", "SET GLOBAL log_output = DEFAULT")


@contextmanager
def application(server: Server, schema: str) -> Iterator[None]:
    """Writes to all tables in turn: new rows, changed rows, and newest rows that are deleted."""
    over = threading.Event()

    def write() -> None:
        with closing(server.connect(user="app", password="app")) as connection, connection.cursor() as cursor:
            number = 0
            while not over.is_set():
                number += 1
                table = f"{schema}.t{number % TABLES}"
                try:
                    cursor.execute(f"INSERT INTO {table} (v) VALUES ({number})")
                    cursor.execute(f"UPDATE {table} SET v = v + 1 ORDER BY id DESC LIMIT 1")
                    if number % TABLES < DELETING:
                        cursor.execute(f"DELETE FROM {table} WHERE v = {number + 1}")
                    over.wait(0.003)
                except pymysql.MySQLError:
                    over.wait(0.01)  # writes are blocked

    server.execute("CREATE USER IF NOT EXISTS app IDENTIFIED BY 'app'", f"GRANT ALL ON {schema}.* TO app")
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_write_block_takes_few_statements_with_many_tables(pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target = pair.source, pair.target
    source.execute(
        *(f"CREATE TABLE {schema}.t{number} (id INT AUTO_INCREMENT PRIMARY KEY, v INT)" for number in range(TABLES)),
        *(f"INSERT INTO {schema}.t{number} (v) VALUES (-1), (-2)" for number in range(TABLES)),
    )
    spec: Any = {"tables": {"include": [f"{schema}.*"]}, "cutover": {"mode": "Manual", "watchFor": "0s"}}
    with (
        FerryProcess(tmp_path / "ferry", pair, **spec) as ferry,
        logged(source),
        logged(target),
        application(source, schema),
    ):
        ferry.start().wait_stage("ReadyForCutover")
        ferry.post("cutover")
        assert ferry.wait_end() == 0
        sent = statements_of_the_block(pair, schema)
    print(f"{len(sent)} statements about tables while writes were blocked")
    assert len(sent) < MOST_STATEMENTS, "\n".join(sent)
    assert_equal_schemas(source, target, schema)


def statements_of_the_block(pair: Pair, schema: str) -> list[str]:
    """Those about tables, from the statement that stops writes to the record of the cutover, on both servers, without
    those that copy the last changed rows.
    """
    read = (
        "SELECT event_time, thread_id, CONVERT(argument USING utf8mb4) FROM mysql.general_log"
        " WHERE command_type = 'Query' AND user_host LIKE '%root%' ORDER BY event_time"
    )
    logs = [pair.source.query(read), pair.target.query(read)]
    stopped = max(at for at, _, text in logs[0] if re.search(r"GLOBAL (super_)?read_only = ON", text))
    recorded = max(at for at, _, text in logs[1] if text.startswith("UPDATE mysql_ferry.lease SET phase"))
    sent = []
    for log in logs:
        copying = {thread for _, thread, text in log if "GROUP_CONCAT(" in text or text.startswith("LOAD DATA")}
        block = [(thread, text) for at, thread, text in log if stopped <= at <= recorded]
        sent += [text[:200] for thread, text in block if schema in text and thread not in copying]
    return sent
