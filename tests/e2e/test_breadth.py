"""Many tables, many rows, long rows, long transactions, no writes at all, and data that was not made for a test."""

import contextlib
import dataclasses
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.schemas import OddTable, create_odd_tables, fill_narrow, odd_tables
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until
from tests.support.writers import Pace, Writers

RSS_MIB = 190  # 200 MB


@pytest.mark.slow
def test_two_hundred_tables_under_writes(pair: Pair, schema: str, tmp_path: Path) -> None:
    kinds = odd_tables(pair.family)
    tables: list[OddTable] = [
        dataclasses.replace(kind, name=f"{kind.name}_{number}", slots=min(kind.slots, 60))
        for number in range(200)
        for kind in [kinds[number % len(kinds)]]
    ]
    rows = create_odd_tables(pair.source, schema, tables)
    cutover = {"mode": "Automatic", "watchFor": "0s", "maxAttempts": 50, "maxLag": "20s", "deadline": "5m"}
    with (
        Writers(pair.source, schema, tables, pace=Pace(3, 0.02, xa=False)) as writers,
        FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover=cutover) as ferry,
    ):
        writers.wait_for(50)
        ferry.start().succeed()
        result = ferry.result()
        wait_until(lambda: writers.refused["read only"], "a writer meets the lock")
    print(f"{rows} rows at first; {writers.summary()}")
    assert " of 200 tables" in result
    found = assert_equal_schemas(pair.source, pair.target, schema)
    assert found.tables == 200
    print(found)


# -- data that we did not make ----------------------------------------------------------------------------------------


def definition_of(server: Server, name: str) -> str:
    """Definition of a table of the mysql schema as an application's table; LIKE would use the reserved tablespace."""
    text = str(server.query(f"SHOW CREATE TABLE mysql.`{name}`")[0][1])
    return re.sub(r"/\*!50100 TABLESPACE `mysql` \*/|ENGINE=Aria|PAGE_CHECKSUM=\d|TRANSACTIONAL=\d", "", text)


def copy_help_tables(server: Server, schema: str) -> int:
    """The server's own manual; returns the number of rows."""
    rows = 0
    for (name,) in server.query("SHOW TABLES FROM mysql LIKE 'help\\_%'"):
        table = f"`{schema}`.`{name}`"
        server.execute(
            definition_of(server, name).replace(f"`{name}`", table, 1),
            f"INSERT INTO {table} SELECT * FROM mysql.`{name}`",
        )
        rows += int(server.value(f"SELECT COUNT(*) FROM {table}"))
    return rows


def copy_time_zones(server: Server, schema: str) -> int:
    """The IANA time zone database in the servers' format, from the machine's tzdata package; 0 if there is none."""
    tool = shutil.which("mariadb-tzinfo-to-sql") or shutil.which("mysql_tzinfo_to_sql")
    if tool is None or not Path("/usr/share/zoneinfo").is_dir():
        return 0
    made = subprocess.run([tool, "/usr/share/zoneinfo"], capture_output=True, check=True, text=True).stdout
    statements = [line.strip().rstrip(";") for line in made.replace(";\n", ";\0").split("\0")]
    names = ("time_zone", "time_zone_name", "time_zone_transition", "time_zone_transition_type")
    wanted = [one for one in statements if one.startswith(("INSERT INTO", "SET @time_zone_id"))]
    server.execute(f"USE `{schema}`", *(definition_of(server, name) for name in names))
    with contextlib.closing(server.connect(database=schema, autocommit=False)) as connection:
        with connection.cursor() as cursor:
            for statement in wanted:
                cursor.execute(statement)
        connection.commit()
    return sum(int(server.value(f"SELECT COUNT(*) FROM `{schema}`.{name}")) for name in names)


def test_real_world_data_from_an_idle_source(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Nothing writes, so only heartbeats tell that nothing is behind. Includes an empty table, and one with a filter
    that matches no row.
    """
    manual, zones = copy_help_tables(pair.source, schema), copy_time_zones(pair.source, schema)
    bare = f"{schema}_bare"
    pair.source.execute(
        f"CREATE DATABASE `{bare}`",
        f"CREATE TABLE `{bare}`.full (id INT PRIMARY KEY, v VARCHAR(20))",
        f"CREATE TABLE `{bare}`.nothing (id INT PRIMARY KEY)",
        f"INSERT INTO `{bare}`.full VALUES (1, 'a'), (2, 'b')",
    )
    before = position(pair.source)
    tables = {"include": [f"{schema}*.*"], "rules": [{"match": f"{bare}.full", "where": "v = 'ü'"}]}
    cutover = {"mode": "Automatic", "watchFor": "0s"}
    with FerryProcess(tmp_path / "ferry", pair, tables=tables, cutover=cutover, copy={}) as ferry:
        ferry.start().succeed()
        result = ferry.result()
    assert position(pair.source) == before, "somebody wrote: the source was not idle"
    found = assert_equal_schemas(pair.source, pair.target, schema)
    print(f"{manual} rows of the manual, {zones} of the time zone database: {found}")
    assert found.rows == manual + zones
    assert manual > 500
    assert f"verified {found.rows} rows" in result
    for name, where in (("full", "FALSE"), ("nothing", None)):
        assert assert_equal_tables(pair.source, pair.target, f"{bare}.{name}", where=where).rows == 0


def position(server: Server) -> str:
    name = "gtid_executed" if server.family is Family.MYSQL else "gtid_binlog_pos"
    return str(server.value(f"SELECT @@global.{name}"))


# -- long rows --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def packets(source: Server, target: Server, source_mib: int, target_mib: int) -> Iterator[None]:
    """Set other values of max_allowed_packet temporarily, for new sessions."""
    before = [(server, server.value("SELECT @@global.max_allowed_packet")) for server in (source, target)]
    try:
        for server, mib in ((source, source_mib), (target, target_mib)):
            server.execute(f"SET GLOBAL max_allowed_packet = {mib << 20}")
        yield
    finally:
        for server, value in before:
            server.execute(f"SET GLOBAL max_allowed_packet = {value}")


MB = 1_000_000
NASTY = "X'275C0A002C0D1A'"  # quote, backslash, newline, NUL: escaping doubles half of it


@pytest.mark.slow
def test_rows_of_20_mb_with_a_packet_of_32_mb(pair: Pair, schema: str, tmp_path: Path) -> None:
    table = f"`{schema}`.long_rows"
    with packets(pair.source, pair.target, 32, 32):
        pair.source.execute(
            f"CREATE TABLE {table} (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT CHARACTER SET utf8mb4, n INT, s TEXT)",
            f"INSERT INTO {table} VALUES (1, REPEAT({NASTY}, {20 * MB // 7}), NULL, 1, '''')",
            f"INSERT INTO {table} VALUES (2, NULL, REPEAT('Zürich'' \\\\ ', {20 * MB // 11}), NULL, NULL)",
            f"INSERT INTO {table} VALUES (3, REPEAT('\\\\', {20 * MB}), 'short', 3, 'x')",
            f"INSERT INTO {table} VALUES (5, 'small', 'small', 5, 'y')",
            # A row longer than the packet: each column fits, both together do not.
            f"INSERT INTO {table} VALUES (4, REPEAT('b', {19 * MB}), NULL, 4, NULL)",
            f"UPDATE {table} SET t = REPEAT('t', {19 * MB}) WHERE id = 4",
        )
        with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
            ferry.start_streaming()
            copied = ferry.rss_peak
            pair.source.execute(
                f"UPDATE {table} SET b = REPEAT('''', {20 * MB}) WHERE id = 1",
                f"UPDATE {table} SET n = 77 WHERE id = 4",
                f"INSERT INTO {table} VALUES (6, REPEAT(X'00', {20 * MB}), NULL, 6, NULL)",
                f"UPDATE {table} SET id = 9 WHERE id = 2",
                f"DELETE FROM {table} WHERE id = 3",
                f"UPDATE {table} SET b = 'short' WHERE id = 3",
            )
            ferry.wait_status(lambda status: status["stage"] == "ReadyForCutover")
            peak = ferry.rss_peak
            ferry.cut_over()
        found = assert_equal_schemas(pair.source, pair.target, schema)
    print(f"{found}; peak RSS of the child {copied} MiB after the copy, {peak} MiB after the stream")
    assert found.rows == 5


@pytest.mark.slow
def test_a_row_larger_than_the_targets_packet_is_named(mysql_pair: Pair, schema: str, tmp_path: Path) -> None:
    """MySQL limits a JSON value by the packet, however it is sent."""
    table = f"`{schema}`.wide"
    with packets(mysql_pair.source, mysql_pair.target, 32, 8):
        mysql_pair.source.execute(
            f"CREATE TABLE {table} (k VARCHAR(20) PRIMARY KEY, j JSON)",
            f"INSERT INTO {table} VALUES ('small', '[1]'), ('it''s wide', JSON_QUOTE(REPEAT('j', {12 * MB})))",
        )
        with FerryProcess(tmp_path / "ferry", mysql_pair, tables={"include": [f"{schema}.*"]}) as ferry:
            line = ferry.start().fail(65, "RowTooLarge", f"{schema}.wide", "at level debug", "max_allowed_packet")
            assert b"it's wide".hex() not in line
            assert "it's wide" not in line
        mysql_pair.target.execute(f"SET GLOBAL max_allowed_packet = {32 << 20}")
        with ferry:  # fixed as the message advises
            ferry.start_streaming().cut_over()
        print(assert_equal_schemas(mysql_pair.source, mysql_pair.target, schema))


# -- many rows --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_million_rows(mysql_pair: Pair, schema: str, tmp_path: Path) -> None:
    """On MySQL only, because it takes two minutes. MariaDB copied 240,000 rows/s with the same memory."""
    pair, rows = mysql_pair, 5_000_000
    began = time.monotonic()
    fill_narrow(pair.source, schema, "many", rows)
    print(f"filled in {time.monotonic() - began:.0f} s")
    copy = {"chunkTargetBytes": "8Mi"}
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, copy=copy) as ferry:
        began = time.monotonic()
        ferry.start_streaming(600)
        seconds = time.monotonic() - began
        copied, cpu = ferry.rss_peak, ferry.cpu_seconds()
        ferry.wait_status(lambda status: status["stage"] == "ReadyForCutover", 600)
        peak = ferry.rss_peak
        assert f"verified {rows} rows" in ferry.cut_over()
    print(
        f"{pair.family}: {rows / seconds:,.0f} rows/s over the copy of {seconds:.1f} s, {cpu:.1f} s CPU of the child; "
        f"peak RSS {copied} MiB after the copy, {peak} MiB at the end"
    )
    assert peak < RSS_MIB
    assert assert_equal_tables(pair.source, pair.target, f"{schema}.many").rows == rows


@pytest.mark.slow
def test_one_transaction_of_two_million_rows_while_streaming(pair: Pair, schema: str, tmp_path: Path) -> None:
    rows = 2_000_000
    fill_narrow(pair.source, schema, "many", rows)
    copy = {"chunkTargetBytes": "8Mi"}
    cutover = {"mode": "Manual", "watchFor": "0s", "deadline": "60s"}
    with FerryProcess(
        tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, copy=copy, cutover=cutover
    ) as ferry:
        ferry.start_streaming(600)
        ferry.wait_status(lambda status: status["stage"] == "ReadyForCutover", 600)
        before = ferry.rss_peak
        pair.source.execute(f"UPDATE `{schema}`.many SET n = n + 1")
        began = time.monotonic()
        ends = position(pair.source)

        def caught_up(status: dict[str, object]) -> bool:
            stream = status["replication"]
            assert isinstance(stream, dict)
            return bool(stream["gtidSet"] == ends and stream["pendingKeys"] == 0)

        ferry.wait_status(caught_up, 600)
        seconds, peak = time.monotonic() - began, ferry.rss_peak
        ferry.cut_over(600)
    print(
        f"{pair.family}: {rows / seconds:,.0f} changed rows/s until nothing was pending ({seconds:.0f} s); "
        f"peak RSS {before} MiB before the transaction, {peak} MiB after it"
    )
    assert peak < 250  # flusher and verification hold many keys for a while
    assert assert_equal_tables(pair.source, pair.target, f"{schema}.many").rows == rows
