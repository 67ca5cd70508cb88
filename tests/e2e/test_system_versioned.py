"""System-versioned tables of MariaDB, whose current rows are moved: their events have columns that the table hides."""

from pathlib import Path

from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair

TABLES = {
    "keyed": "(id INT PRIMARY KEY, v INT)",
    "hashed": "(id INT PRIMARY KEY, v TEXT, UNIQUE (v))",  # its hash is one more hidden column
    "keyless": "(id INT, v INT)",
}


def test_changes_of_system_versioned_tables(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    pair = mariadb_pair
    for name, columns in TABLES.items():
        pair.source.execute(
            f"USE `{schema}`",
            f"CREATE TABLE {name} {columns} WITH SYSTEM VERSIONING",
            f"INSERT INTO {name} VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
        )
    known = ["SystemVersionedHistory"]
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, acknowledge=known) as ferry:
        ferry.start_streaming()
        for name in TABLES:
            pair.source.execute(
                f"USE `{schema}`",
                f"DELETE FROM {name} WHERE id = 1",
                f"UPDATE {name} SET v = 9 WHERE id = 2",
                f"UPDATE {name} SET id = 30 WHERE id = 3",
                f"INSERT INTO {name} VALUES (5, 5)",
                f"DELETE HISTORY FROM {name}",
            )
        ferry.cut_over()
    for name in TABLES:
        rows = pair.target.query(f"SELECT id, CAST(v AS INT) FROM `{schema}`.{name} ORDER BY id")
        assert rows == [(2, 9), (4, 4), (5, 5), (30, 3)], name
