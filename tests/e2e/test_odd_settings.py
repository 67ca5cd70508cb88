"""Servers with global defaults that few have tried: a run's sessions depend on none of them."""

import contextlib
from pathlib import Path

from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair, set_global

ODD = (
    "autocommit = 0",
    "innodb_lock_wait_timeout = 1",
    "max_allowed_packet = 1048576",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
    "sql_safe_updates = 1",
    "sql_select_limit = 1",
    "time_zone = '-03:30'",
    "wait_timeout = 5",
)
OF_FAMILY = {
    Family.MYSQL: (
        "binlog_rows_query_log_events = 1",
        "character_set_server = utf16",
        "max_execution_time = 1",
        "transaction_isolation = 'READ-UNCOMMITTED'",
    ),
    Family.MARIADB: (
        "binlog_annotate_row_events = 1",
        "character_set_server = binary",
        "max_statement_time = 5",
        "tx_isolation = 'READ-UNCOMMITTED'",
    ),
}
ROWS = 3000


def test_a_move_under_odd_global_defaults(pair: Pair, schema: str, tmp_path: Path) -> None:
    table = f"`{schema}`.t"
    pair.source.execute(
        f"CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(200), at TIMESTAMP(6) NULL, b BLOB)",
        f"INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "SELECT i, CONCAT('a\\\\b\"c ', i), '2024-03-10 02:30:00.123456', REPEAT(X'5C2700', 40) FROM n",
        *(f"INSERT INTO {table} SELECT id + {more}, v, at, b FROM {table} WHERE id <= 1000" for more in (1000, 2000)),
    )
    with contextlib.ExitStack() as odd:
        for server in (pair.source, pair.target):
            for setting in (*ODD, *OF_FAMILY[pair.family]):
                odd.enter_context(set_global(server, setting))
        with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
            ferry.start_streaming()
            changes = (f"UPDATE {table} SET v = 'späti' WHERE id = 7", f"DELETE FROM {table} WHERE id = 8")
            pair.source.execute("SET autocommit = 1", *changes)
            ferry.cut_over()
    assert_equal_schemas(pair.source, pair.target, schema)
    assert pair.target.value(f"SELECT COUNT(*) FROM {table}") == ROWS - 1
