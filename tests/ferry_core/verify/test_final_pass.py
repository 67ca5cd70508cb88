import threading
import tracemalloc
from collections import Counter

import pytest

from ferry_core.cancellation import Cancellation
from ferry_core.errors import DataError, Interrupted
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table
from ferry_core.verify import final_pass, narrow
from ferry_core.verify.final_pass import FinalPass, PassResult
from tests.support.table_pair import TablePair
from tests.support.tables import moves_of

NUMBERS = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT "


def no_progress(_table: Table, _rows: int) -> None:
    """Ignores progress."""


def compare(both: TablePair, *tables: Table, rows_per_chunk: int = 7, workers: int = 3) -> PassResult:
    checked = FinalPass(moves_of(tables), both.connect_source, both.connect_target, workers, rows_per_chunk)
    return checked.run(Cancellation(), no_progress)


def found(result: PassResult) -> list[str]:
    """What differs, as sorted "kind key" texts."""
    return sorted(f"{each.kind} {','.join(each.key)}" for each in result.candidates)


def fill(both: TablePair, rows: int = 100, name: str = "t") -> None:
    """Rows 10, 20, ... in both tables."""
    both.on_both(
        f"CREATE TABLE {name} (id int PRIMARY KEY, a varchar(20))",
        f"INSERT INTO {name} {NUMBERS.format(rows)} i * 10, CONCAT('row ', i) FROM n",
    )


def test_equal_tables(both: TablePair) -> None:
    fill(both)
    fill(both, 3, "small")
    both.on_both("CREATE TABLE nothing (id int PRIMARY KEY)")
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def progress(table: Table, rows: int) -> None:
        with lock:
            seen[table.source.name] += rows

    tables = [both.table(name) for name in ("t", "small", "nothing")]
    result = FinalPass(moves_of(tables), both.connect_source, both.connect_target, 3, 7).run(Cancellation(), progress)
    assert result.candidates == []
    assert result.rows == 103
    assert result.chunks >= 7
    assert seen == {"t": 100, "small": 3, "nothing": 0}


def test_each_kind_of_difference(both: TablePair) -> None:
    fill(both)
    both.on_target(
        "DELETE FROM t WHERE id IN (300, 10, 1000)",
        "UPDATE t SET a = NULL WHERE id = 500",
        "INSERT INTO t VALUES (555, 'ghost')",
    )
    result = compare(both, both.table())
    assert found(result) == ["changed 500", "extra 555", "missing 10", "missing 1000", "missing 300"]
    text = str(next(each for each in result.candidates if each.key == ("500",)))
    assert text == f"{both.schema}.t (id=500): different values on the target"


def test_ghost_rows_before_the_first_and_after_the_last_key(both: TablePair) -> None:
    fill(both)
    both.on_target("INSERT INTO t VALUES (-5, 'ghost'), (0, 'ghost'), (1001, 'ghost'), (2147483647, 'ghost')")
    assert found(compare(both, both.table())) == ["extra -5", "extra 0", "extra 1001", "extra 2147483647"]


def test_ghost_rows_in_a_table_that_is_empty_on_the_source(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id int PRIMARY KEY)")
    both.on_target("INSERT INTO t VALUES (1), (-1)")
    assert found(compare(both, both.table())) == ["extra -1", "extra 1"]


def test_very_many_ghost_rows_are_fetched_in_parts_and_end_the_tables_pass(
    both: TablePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrow, "FETCH_ROWS", 10)
    fill(both)
    fill(both, 50, "other")
    both.on_target(f"INSERT INTO t {NUMBERS.format(200)} 5000 + i, 'ghost' FROM n")
    result = compare(both, both.table(), both.table("other"))
    assert len(result.candidates) == 200
    assert result.overflowed == set()

    monkeypatch.setattr(final_pass, "CANDIDATES_PER_TABLE", 30)
    table, other = both.table(), both.table("other")
    result = compare(both, table, other)
    assert [move.table for move in result.overflowed] == [table]
    assert len(result.candidates) <= 60


@pytest.mark.parametrize("key", ["PRIMARY KEY (id)", "UNIQUE KEY k (id)"])
def test_the_key_has_another_name_on_the_target(both: TablePair, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Somebody else has made that table. A chunk that differs is fetched in parts, which its key bounds."""
    monkeypatch.setattr(narrow, "FETCH_ROWS", 10)
    both.on_source(f"CREATE TABLE t (id int NOT NULL, a varchar(20), {key})")
    both.on_target("CREATE TABLE t (id int NOT NULL, a varchar(20), UNIQUE KEY other (id))")
    both.on_both(f"INSERT INTO t {NUMBERS.format(100)} i, CONCAT('row ', i) FROM n")
    both.on_target("UPDATE t SET a = 'changed' WHERE id = 50")
    result = compare(both, *both.selected(f"{both.schema}.t"), rows_per_chunk=40)
    assert found(result) == ["changed 50"]


def test_chunks_that_differ_everywhere_take_little_memory(both: TablePair) -> None:
    """As while a huge transaction is on its way: every worker fetches hashes all the time."""
    both.on_both(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL)",
        f"INSERT INTO t {NUMBERS.format(200)} a.i * 200 + b.i, 1 FROM n a JOIN n b",
    )
    both.on_target("UPDATE t SET a = 2")
    tracemalloc.start()
    try:
        result = compare(both, both.table(), rows_per_chunk=40_000, workers=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{peak >> 20} MiB")
    assert len(result.overflowed) == 1
    assert peak < 16 << 20


def test_rows_outside_the_filter_must_not_be_on_the_target(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id int PRIMARY KEY, city varchar(20))")
    both.on_source("INSERT INTO t VALUES (1, 'Köln'), (2, 'Bonn'), (3, 'Köln'), (4, 'Bonn'), (5, NULL)")
    both.on_target("INSERT INTO t VALUES (1, 'Köln'), (3, 'Köln'), (4, 'Bonn')")
    filtered = both.table(row_filter="city = 'Köln'")
    assert found(compare(both, filtered, rows_per_chunk=2)) == ["extra 4"]
    both.on_target("DELETE FROM t WHERE id IN (1, 4)")
    assert found(compare(both, filtered, rows_per_chunk=2)) == ["missing 1"]


def test_equal_values_swapped_between_rows(both: TablePair) -> None:
    fill(both)
    both.on_target("UPDATE t SET a = IF(id = 100, 'row 11', 'row 10') WHERE id IN (100, 110)")
    assert found(compare(both, both.table())) == ["changed 100", "changed 110"]


def test_keys_that_sql_considers_equal_but_whose_bytes_differ(both: TablePair) -> None:
    both.on_both("CREATE TABLE t (id varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY)")
    both.on_source("INSERT INTO t VALUES ('a'), ('b'), ('C'), ('ä2')")
    both.on_target("INSERT INTO t VALUES ('A'), ('b'), ('c'), ('ä2')")
    result = compare(both, both.table(), rows_per_chunk=2)
    assert [str(each).split("(")[1] for each in sorted(result.candidates, key=str)] == [
        "id='A'): on the target, but not on the source, or excluded by the row filter",
        "id='C'): missing on the target",
        "id='a'): missing on the target",
        "id='c'): on the target, but not on the source, or excluded by the row filter",
    ]


def test_composite_keys(both: TablePair) -> None:
    both.on_both(
        "CREATE TABLE t (d datetime(3), n varbinary(8), v int, PRIMARY KEY (d, n))",
        f"INSERT INTO t {NUMBERS.format(60)} TIMESTAMP('2024-01-01') + INTERVAL i DIV 7 DAY, i, i FROM n",
    )
    assert compare(both, both.table()).candidates == []
    both.on_target("UPDATE t SET v = -1 WHERE n = '33'", "INSERT INTO t VALUES ('2024-01-03 00:00:00.001', X'00FF', 1)")
    assert sorted(str(each).partition(".t ")[2] for each in compare(both, both.table()).candidates) == [
        "(d='2024-01-03 00:00:00.001', n=0x00ff): on the target, but not on the source, or excluded by the row filter",
        "(d='2024-01-05 00:00:00.000', n=0x3333): different values on the target",
    ]


def test_a_cancelled_pass_gives_no_verdict(both: TablePair) -> None:
    fill(both)
    cancelled = Cancellation()

    def progress(_table: Table, _rows: int) -> None:
        cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "enough"))

    with pytest.raises(Interrupted, match="VerificationCancelled"):
        FinalPass(moves_of([both.table()]), both.connect_source, both.connect_target, 1, 7).run(cancelled, progress)


def test_lost_connections_are_replaced(both: TablePair) -> None:
    fill(both)
    both.on_target("DELETE FROM t WHERE id = 500")
    opened: list[Session] = []

    def connect_target() -> Session:
        session = both.connect_target()
        opened.append(session)
        return session

    def progress(_table: Table, _rows: int) -> None:
        if len(opened) < 4:
            both.on_target(f"KILL {opened[-1].connection_id}")

    result = FinalPass(moves_of([both.table()]), both.connect_source, connect_target, 1, 7).run(
        Cancellation(), progress
    )
    assert len(opened) == 4
    assert found(result) == ["missing 500"]


def test_a_permanent_error_ends_the_pass(both: TablePair) -> None:
    fill(both)
    fill(both, 10, "other")
    both.on_target("DROP TABLE t")
    with pytest.raises(DataError, match="1146"):
        compare(both, both.table(), both.table("other"))


def test_a_table_without_a_filter_and_one_with_it_have_their_own_sessions(both: TablePair) -> None:
    fill(both)
    fill(both, 5, "other")
    purposes: set[Purpose] = set()

    def connect_source(purpose: Purpose) -> Session:
        purposes.add(purpose)
        return both.connect_source(purpose)

    tables = [both.table(row_filter="id > 0"), both.table("other")]
    FinalPass(moves_of(tables), connect_source, both.connect_target, 1).run(Cancellation(), no_progress)
    assert purposes == {Purpose.SOURCE, Purpose.SOURCE_TEXT}
