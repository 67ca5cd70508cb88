"""Rows for a target with local_infile=OFF."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferry_core.errors import ConnectionLost, DataError, ServerRole
from ferry_core.mysql import session as sessions
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.identity import KnownServer
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.upload import UploadConnection
from ferry_core.rows.inserting import _ROW
from ferry_core.rows.session_pair import SessionPair
from ferry_core.rows.statements import Statements
from ferry_core.rows.whole import WholeCopier
from ferry_core.tables.table import EVERY_ROW, Column
from tests.support.compare import assert_equal_tables
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.keyless import assert_same_rows, create_keyless
from tests.support.servers import Pair, set_global
from tests.support.table_pair import PlainFence, TablePair
from tests.support.tables import simple_table


@pytest.fixture
def refusing(pair: Pair) -> Iterator[None]:
    pair.target.execute("SET GLOBAL local_infile = OFF")
    yield
    pair.target.execute("SET GLOBAL local_infile = ON")


def test_text_is_cut_into_rows() -> None:
    rows = [rb"1,'a'", b"2,'new\nline, and \\' \\\\'", b"3,NULL", b"_gbk 4,''", b"5,'\n'", b"6,_utf8mb4'{}'"]
    assert _ROW.findall(b"\n".join(rows)) == rows


def test_all_bytes_of_a_row_count() -> None:
    """Introducers, and names beyond ASCII."""
    table = simple_table()
    first = Column("j", 2, "json", "json", None, None, True, False, False, 1 << 32)
    wide = tuple(replace(first, name=f"{at}{'名' * 60}", ordinal=2 + at) for at in range(100))
    sizes = []
    for literals in (False, True):
        statements = Statements(
            replace(table, columns=(*table.columns, *wide)), Flavor.MYSQL, Flavor.MYSQL, False, 1 << 20, literals
        )
        found = re.search(r"\+(\d+)>(\d+)$", statements.big or "")
        assert found
        sizes.append(int(found[2]) - int(found[1]))
    head = len(statements.replace().encode())
    assert sizes[0] - sizes[1] == head + 100 * len("_utf8mb4")


@pytest.mark.usefixtures("refusing")
def test_long_rows_and_many_rows(pair: Pair, both: TablePair, schema: str) -> None:
    """More than one statement, each within the packet; rows that need a statement of their own, and big rows."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v LONGTEXT, j LONGTEXT, u INT UNIQUE)",
        f"INSERT INTO `{schema}`.t VALUES (1, REPEAT('\\\\''\n', 300000), NULL, 1), (2, REPEAT('ä', 3000000), '', 2)",
    )
    pair.source.execute(
        *(f"INSERT INTO `{schema}`.t VALUES ({at}, REPEAT('x', 30000), 'y', {at})" for at in range(3, 90))
    )
    with set_global(pair.target, f"max_allowed_packet = {8 << 20}"):
        (table,) = both.selected(f"{schema}.t")
        assert both.copy_all([table]) == 89
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")


@pytest.mark.usefixtures("refusing")
def test_a_row_that_fits_no_packet_is_named(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v LONGTEXT)",
        f"INSERT INTO `{schema}`.t VALUES (7, REPEAT('x', 3000000))",
    )
    with set_global(pair.target, f"max_allowed_packet = {2 << 20}"):
        tables = both.selected(f"{schema}.t")
        with pytest.raises(DataError, match=r"does not fit.*max_allowed_packet"):
            both.copy_all(tables)
    assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 0


@pytest.mark.usefixtures("refusing")
def test_values_of_rows_are_not_shown(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{schema}`.t VALUES (1, 'secret')",
    )
    (table,) = both.selected(f"{schema}.t")
    pair.target.execute(f"ALTER TABLE `{schema}`.t DROP COLUMN v")
    with pytest.raises(DataError) as caught:
        both.copy_all([table])
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("refusing")
def test_a_table_without_a_key(pair: Pair, schema: str) -> None:
    both = TablePair(pair, schema)
    both.on_source(
        "CREATE TABLE t (v TEXT, e ENUM('a'))",
        "SET sql_mode = ''",
        "INSERT INTO t VALUES ('1', 'a'), ('1', 0), (NULL, 1)",
    )
    (table,) = both.selected(f"{schema}.t")
    sessions = SessionPair(lambda _text: both.connect_source(Purpose.SOURCE), both.connect_target)
    assert WholeCopier(sessions, PlainFence()).copy(table, EVERY_ROW).rows_sent == 3
    sessions.close()
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")
    both.close()


def test_a_single_row_with_null_in_a_generated_column(mysql_pair: Pair, schema: str) -> None:
    """In VALUES a server refuses that even without a strict sql_mode, unlike with several rows."""
    both = TablePair(mysql_pair, schema)
    both.on_source(
        "CREATE TABLE t (id INT PRIMARY KEY, k INT, g INT AS (NULLIF(k, k)) STORED NOT NULL)",
        "SET sql_mode = ''",
        "INSERT IGNORE INTO t (id, k) VALUES (1, 1)",
    )
    (table,) = both.selected(f"{schema}.t")
    with set_global(mysql_pair.target, "local_infile = OFF"):
        assert both.copy_all([table]) == 1
    assert_equal_tables(mysql_pair.source, mysql_pair.target, f"{schema}.t")
    both.close()


def test_files_that_are_refused_although_the_variable_allows_them(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a proxy. The next session knows it; what else is refused so is an error of the statement."""
    target = replace(pair.target.endpoint("target"), known=KnownServer(ServerRole.TARGET, 0))
    statement = "LOAD DATA LOCAL INFILE 'x' INTO TABLE mysql.user"
    without_files = {"local_infile": False}
    monkeypatch.setattr(sessions, "UploadConnection", lambda **given: UploadConnection(**given | without_files))
    with contextlib.closing(Session(target, Purpose.TARGET)) as session:
        assert session.takes_files()
        with pytest.raises(DataError, match="StatementFailed"):
            session.execute(statement)
        assert session.takes_files()
        with pytest.raises(ConnectionLost, match=r"LocalInfileDisabled: .* as REPLACE \.\.\. VALUES from now on"):
            session.load(statement, b"")
    with contextlib.closing(Session(target, Purpose.TARGET)) as session:
        assert not session.takes_files()


def test_the_target_stops_to_take_files_during_a_move(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=4000) as moving, moving.writers() as writers:
        create_keyless(pair.source, schema, ["plain"])
        moving.ferry.start().wait_stage("Streaming", "ReadyForCutover")
        writers.wait_for_every_kind()
        with set_global(pair.target, "local_infile = OFF"):
            pair.source.execute(f"INSERT INTO `{schema}`.plain (n) VALUES (4711)")
            moving.finish(writers=writers)
        assert_same_rows(pair.source, pair.target, schema, "plain")
