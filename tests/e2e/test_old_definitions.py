"""Definitions that were created under other settings than the target's: they arrive unchanged, through a whole run."""

from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair

COMMON = {
    "doubled": ("sql_mode = ''", "(id INT PRIMARY KEY, e ENUM('ß', 'ss') COLLATE utf8mb4_unicode_ci)"),
    "wide": (
        "innodb_strict_mode = 0",
        f"(id INT PRIMARY KEY, {', '.join(f'c{at} TEXT' for at in range(20))}) ROW_FORMAT=COMPACT CHARSET latin1",
    ),
    "by_format": ("innodb_strict_mode = 0", "(id INT PRIMARY KEY, v INT) ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=8"),
    "bytes": (
        "sql_mode = ''",
        "(id INT PRIMARY KEY, b BINARY(4) DEFAULT x'ff002700', v VARBINARY(9) NOT NULL DEFAULT x'c328275c0a')",
    ),
    "odd_parent": ("foreign_key_checks = 1", "(id INT PRIMARY KEY, a INT, b INT, KEY (a), KEY (b, a))"),
    "odd_child": (
        "foreign_key_checks = 0",
        "(id INT PRIMARY KEY, a INT, CONSTRAINT odd FOREIGN KEY (a) REFERENCES odd_parent (a))",
    ),
    "joined": (
        "sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
        (
            "(id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'a\\', \"q\" VARCHAR(30) AS (a || '\\' || \"a\") STORED, "
            "CHECK (a || 'x' <> 'y\\'))"
        ),
    ),
}
OWN = {
    Family.MYSQL: {
        "introduced": (
            "sql_mode = ''",
            (
                "(id INT PRIMARY KEY, a VARCHAR(9) CHARSET latin1, g VARCHAR(20) AS (CONCAT(a, _latin1 x'e9')) STORED, "
                "CHECK (a <> _latin1 x'e927'))"
            ),
        ),
    },
    Family.MARIADB: {
        "elsewhere": ("sql_mode = ''", "(id INT PRIMARY KEY, v INT) DATA DIRECTORY='{folder}'"),
        "parts_elsewhere": (
            "sql_mode = ''",
            "(id INT PRIMARY KEY) PARTITION BY HASH (id) (PARTITION p0 DATA DIRECTORY='{folder}', PARTITION p1)",
        ),
        "other_options": ("sql_mode = 'IGNORE_BAD_TABLE_OPTIONS'", "(id INT PRIMARY KEY, v INT bogus=3) nonsense='x'"),
        "floating": ("sql_mode = ''", "(id FLOAT AUTO_INCREMENT PRIMARY KEY, v INT)"),
    },
}
NOT_PRINTED_ALIKE = ("elsewhere", "parts_elsewhere", "other_options", "bytes")
"""Their text differs: the target stores its files in its own folders, and MariaDB prints bytes that the comparer cannot
read.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to which the server's account may write."""
    made = tmp_path / "data"
    made.mkdir()
    for each in (made, *made.parents):
        if each.is_relative_to(tmp_path.parent):
            each.chmod(0o777)
    return made


def test_definitions_from_older_settings_arrive(pair: Pair, schema: str, tmp_path: Path, folder: Path) -> None:
    tables = COMMON | OWN[pair.family]
    for name, (setting, body) in tables.items():
        lax = ["SET SESSION restrict_fk_on_non_standard_key = 0"] if pair.family is Family.MYSQL else []
        pair.source.execute(
            *lax,
            f"SET SESSION {setting}",
            f"USE `{schema}`",
            f"CREATE TABLE {name} {body.format(folder=folder)}",
            "SET SESSION sql_mode = ''",
            f"INSERT INTO {name} (id) VALUES (1), (2)",
        )
    pair.target.execute("SET GLOBAL innodb_strict_mode = 1")
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        pair.source.execute(f"USE `{schema}`", *(f"INSERT INTO {name} (id) VALUES (3)" for name in tables))
        ferry.cut_over()
    for name in tables:
        assert_equal_tables(pair.source, pair.target, (schema, name), definitions=name not in NOT_PRINTED_ALIKE)
    pair.target.execute(f"INSERT INTO `{schema}`.bytes (id) VALUES (9)")
    assert pair.target.query(f"SELECT DISTINCT HEX(b), HEX(v) FROM `{schema}`.bytes") == [("FF002700", "C328275C0A")]
