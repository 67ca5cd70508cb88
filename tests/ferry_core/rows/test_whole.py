"""A table without a key is copied whole: exactly, equal rows as often as they are, whatever was there before."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from ferry_core.errors import DataError, Interrupted, LockConflict
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.rows import whole
from ferry_core.rows.copier import CopyResult
from ferry_core.rows.session_pair import Lender, Need, SessionPair
from ferry_core.rows.whole import Unpaced, WholeCopier
from ferry_core.tables.table import EVERY_ROW, NO_KEY, KeyRange, Table
from ferry_core.throttle import Throttle, WholePacing
from tests.support.all_types import ddl, row_count, rows
from tests.support.compare import assert_equal_tables
from tests.support.keyless import assert_same_rows, create_keyless
from tests.support.servers import Pair
from tests.support.table_pair import PlainFence, TablePair
from tests.support.waits import Background, wait_until

ALL = KeyRange(None, None)
FILTER = "c_varchar <> 'ünï日本🚢!' OR c_varchar IS NULL"


def copied(both: TablePair, table: Table) -> CopyResult:
    return copier(both).copy(table, EVERY_ROW)


def copier(both: TablePair, fence: PlainFence | None = None, lock_clause: str = "") -> WholeCopier:
    return WholeCopier(pair_of(both), fence or both.fence, lock_clause)


def pair_of(both: TablePair) -> SessionPair:
    return SessionPair(
        lambda text: both.connect_source(Purpose.SOURCE_TEXT if text else Purpose.SOURCE), both.connect_target
    )


@pytest.mark.parametrize("where", [None, FILTER], ids=["binary", "text"])
def test_every_type(pair: Pair, both: TablePair, schema: str, where: str | None) -> None:
    pair.source.execute(ddl(pair.family, schema), *rows(pair.family, schema))
    rules = [{"match": f"{schema}.*", "where": where}] if where else []
    (table,) = both.selected(f"{schema}.*", rules=rules)
    without_key = replace(table, key=NO_KEY)
    for _ in range(2):  # into an empty table, then in place of rows
        result = copied(both, without_key)
        assert (result.rows_sent, result.json_changed) == (row_count(pair.family), 0)
        assert_equal_tables(pair.source, pair.target, f"{schema}.all_types")


def test_equal_rows_in_many_parts(pair: Pair, both: TablePair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "PART_BYTES", 500)
    monkeypatch.setattr(whole, "EMPTY_ROWS", 100)
    create_keyless(pair.source, schema, ["plain"])
    (table,) = both.selected(f"{schema}.plain")
    pair.target.execute(f"INSERT INTO `{schema}`.plain (n) VALUES (1), (77)")
    for _ in range(2):
        assert copied(both, table).rows_sent == assert_same_rows(pair.source, pair.target, schema, "plain") == 256
    assert copied(both, table).deleted_missing == 256


def test_rows_that_do_not_fit_a_packet(pair: Pair, both: TablePair, schema: str) -> None:
    megabytes = 1 + pair.source.value("SELECT @@max_allowed_packet") // (1 << 20) // 2
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (n INT, big LONGTEXT CHARACTER SET utf8mb4, g INT AS (n + 1))",
        f"INSERT INTO `{schema}`.t (n, big) VALUES (1, NULL), (2, 'it''s \\\\ small')",
        f"INSERT INTO `{schema}`.t (n, big) SELECT 3, REPEAT('\\\\', {megabytes << 20})",
    )
    (table,) = both.selected(f"{schema}.t")
    assert copied(both, table).rows_sent == 3
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")


@pytest.mark.parametrize("part_bytes", [whole.PART_BYTES, 1], ids=["in one part", "in many parts"])
def test_legal_old_data_under_a_generated_column_passes(
    pair: Pair, both: TablePair, schema: str, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(whole, "PART_BYTES", part_bytes)
    pair.source.execute(
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE `{schema}`.t (v VARCHAR(20), g DATE AS (v) STORED, e ENUM('x', ''))",
        *[f"INSERT IGNORE INTO `{schema}`.t (v, e) VALUES ('2024-01-01', 1), ('no date', 'none'), ('', '')"] * 2,
    )
    (table,) = both.selected(f"{schema}.t")
    whole_copier = copier(both)
    for _ in range(2):
        assert whole_copier.copy(table, ALL).rows_sent == 6
        assert_same_rows(pair.source, pair.target, schema, "t")


def test_an_excusable_warning_does_not_excuse_a_changed_value(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (e ENUM('a', 'b'))", f"INSERT INTO `{schema}`.t VALUES (2), (2)")
    (table,) = both.selected(f"{schema}.t")
    pair.target.execute(f"ALTER TABLE `{schema}`.t MODIFY e ENUM('a')")
    with pytest.raises(DataError, match="Data truncated") as caught:
        copied(both, table)
    assert "kept" not in str(caught.value)  # earlier transactions were
    assert both.target.text("SELECT @@sql_mode").count("STRICT") == 1


def test_a_row_that_replaces_another_one_is_an_error(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(  # with a NULL the index is no key
        f"CREATE TABLE `{schema}`.t (u VARCHAR(9) COLLATE utf8mb4_bin UNIQUE)",
        f"INSERT INTO `{schema}`.t VALUES ('a'), ('A'), (NULL)",
    )
    (table,) = both.selected(f"{schema}.t")
    pair.target.execute(f"ALTER TABLE `{schema}`.t MODIFY u VARCHAR(9) COLLATE utf8mb4_general_ci")
    with pytest.raises(DataError, match=r"RowsSkipped: .*replaced 1 of the rows sent"):
        copied(both, table)


def test_a_warning_of_the_row_filter_is_an_error(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (v VARCHAR(20))", f"INSERT INTO `{schema}`.t VALUES ('1'), ('two')")
    (table,) = both.selected(f"{schema}.t", rules=[{"match": f"{schema}.t", "where": "v = 1"}])
    with pytest.raises(DataError, match=r"SourceWarning: reading .* 1292"):
        copied(both, table)


class PausedFence(PlainFence):
    """A pause comes in the middle: the third transaction is refused."""

    def __init__(self) -> None:
        self.transactions = 0

    @contextmanager
    def transaction(self, session: Session) -> Iterator[None]:
        self.transactions += 1
        if self.transactions == 3:
            raise Interrupted(Reason.PAUSED, "paused")
        with super().transaction(session):
            yield


def test_a_copy_that_is_broken_off_is_done_over(
    pair: Pair, both: TablePair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that were still to come are nobody's answer: the next copy reads on another connection."""
    monkeypatch.setattr(whole, "PART_BYTES", 500)
    create_keyless(pair.source, schema, ["plain"])
    (table,) = both.selected(f"{schema}.plain")
    sessions, fence = pair_of(both), PausedFence()
    first, whole_copier = sessions.source(table), WholeCopier(sessions, fence)
    with pytest.raises(Interrupted):
        whole_copier.copy(table, ALL)
    assert 0 < pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.plain") < 256
    assert first.closed
    assert sessions.target.number("SELECT @@SESSION.wait_timeout") == 60
    assert whole_copier.copy(table, ALL).rows_sent == 256
    assert_same_rows(pair.source, pair.target, schema, "plain")


class WritingFence(PlainFence):
    """An application writes to the source's table while the copy loads its first rows."""

    def __init__(self, write: Callable[[], object]) -> None:
        self.write = write

    @contextmanager
    def transaction(self, session: Session) -> Iterator[None]:
        with super().transaction(session):
            self.write()
            yield


def test_writers_do_not_wait_for_the_target(
    pair: Pair, both: TablePair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the reads need locks."""
    monkeypatch.setattr(whole, "PART_BYTES", 100_000)
    name = f"`{schema}`.t"
    pair.source.execute(
        f"CREATE TABLE {name} (n INT, filler VARCHAR(9000) CHARACTER SET latin1)",
        f"INSERT INTO {name} VALUES {','.join(['(1, REPEAT(0x78, 9000))'] * 64)}",
        *[f"INSERT INTO {name} SELECT * FROM {name}"] * 5,  # 18 MB: more than any buffer on the way
    )
    (table,) = both.selected(f"{schema}.t")
    writer = pair.source.connect(read_timeout=60, autocommit=True)
    with closing(writer), writer.cursor() as cursor:
        fence = WritingFence(lambda: cursor.execute(f"UPDATE {name} SET n = n + 1 LIMIT 1"))
        assert copier(both, fence, " LOCK IN SHARE MODE").copy(table, ALL).rows_sent == 2048


def test_a_first_copy_deletes_no_rows_of_others(pair: Pair, both: TablePair, schema: str) -> None:
    create_keyless(pair.source, schema, ["plain"])
    (table,) = both.selected(f"{schema}.plain")
    pair.target.execute(f"INSERT INTO `{schema}`.plain (n) VALUES (7)")
    with pytest.raises(DataError, match=r"TargetNotEmpty: .* rows that this Ferry did not write"):
        copier(both).copy(table, ALL)
    assert pair.target.query(f"SELECT n FROM `{schema}`.plain") == [(7,)]
    assert copied(both, table).rows_sent == 256
    assert_same_rows(pair.source, pair.target, schema, "plain")


HELD = [("MyISAM", "UPDATE t SET n = 2 LIMIT 1"), ("InnoDB", "ALTER TABLE t COMMENT = 'altered'")]


@pytest.mark.parametrize(("engine", "statement"), HELD, ids=["MyISAM", "InnoDB"])
def test_a_limit_of_rows_keeps_no_lock_on_the_source(
    pair: Pair, both: TablePair, schema: str, engine: str, statement: str
) -> None:
    """The rows are more than the connection buffers, and at one row each second they would take a minute."""
    pair.source.execute(
        *(f"USE `{schema}`", f"CREATE TABLE t (n INT, big LONGTEXT) ENGINE={engine}"),
        "INSERT INTO t VALUES (1, REPEAT('x', 524288))",
        *["INSERT INTO t SELECT * FROM t"] * 6,
    )
    (table,) = both.selected(f"{schema}.t")
    throttle = Throttle()
    throttle.rate.set(1)
    whole_copier = WholeCopier(pair_of(both), both.fence, pacing=WholePacing(throttle, threading.Event()))
    copying = Background(lambda: whole_copier.copy(table, EVERY_ROW))
    wait_until(lambda: pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") > 0, "rows are there")
    pair.source.execute(f"USE `{schema}`", "SET SESSION lock_wait_timeout = 10", statement)
    copying.join()
    assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 64
    assert throttle.rate.must_wait(), "whatever copies next waits for these rows"


def test_rows_there_stay_while_a_row_is_locked_on_the_source(pair: Pair, both: TablePair, schema: str) -> None:
    """Where reads need locks. The transaction that holds it may stay open for hours."""
    source, target = pair.source, pair.target
    create_keyless(source, schema, ["plain"])
    (table,) = both.selected(f"{schema}.plain")
    target.execute(f"INSERT INTO `{schema}`.plain (n) VALUES (7)")
    sessions = pair_of(both)
    sessions.source(table).execute("SET SESSION innodb_lock_wait_timeout = 1")
    with closing(source.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE `{schema}`.plain SET n = n + 1")
        with pytest.raises(LockConflict):
            WholeCopier(sessions, both.fence, " LOCK IN SHARE MODE").copy(table, EVERY_ROW)
    assert target.query(f"SELECT n FROM `{schema}`.plain") == [(7,)]


class CountingLender(Lender):
    """Opens a session for each loan."""

    def __init__(self, both: TablePair) -> None:
        self._both = both
        self.lent: set[Session] = set()

    def borrow(self, need: Need) -> Session:
        session = self._both.connect_source(Purpose.SOURCE_TEXT if need.text else Purpose.SOURCE)
        self.lent.add(session)
        return session

    def give_back(self, session: Session) -> None:
        self.lent.remove(session)

    def warm(self, count: int) -> None:
        """Nobody waits for one."""


def test_a_copy_that_a_throttle_holds_back_keeps_no_session_on_the_source(
    pair: Pair, both: TablePair, schema: str
) -> None:
    """That may take hours: a copier that vanishes meanwhile must leave nothing there for longer than a read takes."""
    create_keyless(pair.source, schema, ["plain"])
    (table,) = both.selected(f"{schema}.plain")
    lender = CountingLender(both)
    held: list[int] = []

    class Throttled(Unpaced):
        def admit(self) -> float:
            held.append(len(lender.lent))
            return 0.0

    sessions = SessionPair(lender, both.connect_target)
    copier = WholeCopier(sessions, both.fence, " LOCK IN SHARE MODE", Throttled())
    assert sessions.step(lambda: copier.copy(table, EVERY_ROW)).rows_sent == 256
    assert held == [0]
    assert not lender.lent
    assert_same_rows(pair.source, pair.target, schema, "plain")
