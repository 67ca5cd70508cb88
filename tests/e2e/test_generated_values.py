"""Stored generated columns: computed on the target with the source's settings, and compared by the verification."""

from pathlib import Path

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair, set_global

AT_ONCE = {"mode": "Automatic", "watchFor": "0s"}
ZONED = "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, {}day DATE AS (DATE(at)) STORED)"


def test_the_target_computes_with_the_sources_settings(tmp_path: Path, mysql_pair: Pair, schema: str) -> None:
    """MariaDB does not allow storing values that depend on these settings."""
    source, target = mysql_pair.source, mysql_pair.target
    globally = ("lc_time_names = 'de_DE'", "div_precision_increment = 9", "sql_mode = 'NO_UNSIGNED_SUBTRACTION'")
    with set_global(source, *globally):
        source.execute(
            f"USE `{schema}`",
            "CREATE TABLE t (id INT PRIMARY KEY, at DATETIME, u INT UNSIGNED, day VARCHAR(20) AS (DAYNAME(at)) STORED, "
            "m VARCHAR(40) AS (DATE_FORMAT(at, '%M %a')) STORED, part DECIMAL(20,10) AS (u / 7) STORED, "
            "less INT AS (u - 5) STORED)",
            "INSERT INTO t (id, at, u) VALUES (1, '2024-03-05', 1), (2, '2024-05-01', 3)",
        )
        ended = FerryCli(tmp_path, mysql_pair, schema, cutover=AT_ONCE).run()
    assert ended.code == 0, ended.stderr
    assert_equal_tables(source, target, f"{schema}.t")
    assert target.query(f"SELECT day, m, part, less FROM `{schema}`.t WHERE id = 1") == source.query(
        f"SELECT day, m, part, less FROM `{schema}`.t WHERE id = 1"
    )
    assert target.value(f"SELECT day FROM `{schema}`.t WHERE id = 1") == "Dienstag"


def test_values_of_other_session_settings_fail_the_run_unless_acknowledged(
    tmp_path: Path, pair: Pair, schema: str
) -> None:
    """Nothing can put these values into the target's rows. Copied values must still be equal."""
    source, target = pair.source, pair.target
    more = "name VARCHAR(20) AS (MONTHNAME(at)) STORED, " if pair.family is Family.MYSQL else ""
    source.execute(
        f"USE `{schema}`",
        "SET SESSION time_zone = '+09:00', lc_time_names = 'de_DE'",
        ZONED.format(more),
        "INSERT INTO t (id, at) VALUES (1, '2024-03-05 02:00:00'), (2, '2024-01-01 20:00:00'), (3, NULL)",
    )
    cli = FerryCli(tmp_path, pair, schema, cutover=AT_ONCE)
    line = cli.run().refused(65, "RowsDiffer", f"{schema}.t: other values in generated columns")
    assert "acknowledge: [GeneratedValues]" in line
    cli.spec["acknowledge"] = ["GeneratedValues"]
    ended = cli.run()
    assert ended.code == 0, ended.stderr
    assert "GeneratedFromTimestamp" in ended.stderr
    columns = "id, UNIX_TIMESTAMP(at)"
    assert target.query(f"SELECT {columns} FROM `{schema}`.t") == source.query(f"SELECT {columns} FROM `{schema}`.t")
