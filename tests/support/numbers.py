"""Many rows quickly: made inside the server, so that nothing but the statement crosses the wire."""

import contextlib

from tests.support.servers import Server

FIRST = 1000


def fill_narrow(server: Server, schema: str, name: str, rows: int) -> None:
    """``rows`` rows of an id, a number and a short text; not in the binlog, which a run has no need of."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        table = f"`{schema}`.`{name}`"
        cursor.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, n INT NOT NULL, s VARCHAR(24) NOT NULL)")
        have = min(FIRST, rows)
        values = ", ".join(f"({number}, {number * 7919 % 1000003}, 'row {number}')" for number in range(have))
        cursor.execute(f"INSERT INTO {table} VALUES {values}")
        while have < rows:
            cursor.execute(
                f"INSERT INTO {table} SELECT id + {have}, n + {have} MOD 1000, CONCAT('row ', id + {have}) "
                f"FROM {table} WHERE id < {rows - have} ORDER BY id"
            )
            have = min(have * 2, rows)
