"""Writers make every kind of write, count only confirmed ones, and stop when the source becomes read-only."""

import pytest

from ferry_core.mysql.flavor import Flavor
from tests.support.schemas import OddTable, create_odd_tables, odd_tables
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, wait_until
from tests.support.writers import Pace, Writers, seed_of_run


@pytest.fixture
def tables(pair: Pair, schema: str) -> list[OddTable]:
    tables = list(odd_tables(pair.family))
    create_odd_tables(pair.source, schema, tables, share=0.1)
    return tables


def _fingerprint(pair: Pair, schema: str, tables: list[OddTable]) -> list[tuple[object, ...]]:
    return [row for table in tables for row in pair.source.query(f"CHECKSUM TABLE {schema}.{table.name}")]


def test_every_kind_of_write_is_done_and_nothing_is_left_prepared(
    pair: Pair, schema: str, tables: list[OddTable]
) -> None:
    before = _fingerprint(pair, schema, tables)
    kinds = {"insert", "update", "delete", "key move", "unique swap", "several tables", "rollback"}
    kinds |= {"xa", "xa decided elsewhere", "xa rollback"}
    with Writers(pair.source, schema, tables, pace=Pace(pause=0)) as writers:
        writers.wait_for(700)
        writers.wait_for_kinds(kinds)
    print(writers.summary())
    assert kinds == set(writers.acknowledged)
    assert not writers.alive
    assert not pair.source.query("XA RECOVER")
    after = _fingerprint(pair, schema, tables)
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    assert changed > len(tables) * 0.7, f"only {changed} of {len(tables)} tables were changed"


def test_they_stop_by_themselves_when_the_source_turns_read_only(
    pair: Pair, schema: str, tables: list[OddTable]
) -> None:
    with Writers(pair.source, schema, tables) as writers:
        writers.wait_for(200)
        pair.source.execute("SET GLOBAL read_only = 1")
        wait_until(lambda: writers.refused["read only"] == 4, "each is refused once")
        wait_until(  # a writer with a prepared transaction may not be allowed to decide it
            lambda: all(writer.undecided or not writer.thread.is_alive() for writer in writers._writers),
            "only who has a prepared transaction to decide is left",
        )
        fixed = _fingerprint(pair, schema, tables)
        total = writers.total
    assert writers.refused["read only"] == 4
    assert writers.total == total
    assert _fingerprint(pair, schema, tables) == fixed
    assert not pair.source.query("XA RECOVER")
    pair.source.execute("SET GLOBAL read_only = 0")


def test_they_may_try_on_until_writes_are_allowed_again(pair: Pair, schema: str, tables: list[OddTable]) -> None:
    with Writers(pair.source, schema, tables, pace=Pace(stop_when_read_only=False)) as writers:
        writers.wait_for(50)
        pair.source.execute("SET GLOBAL read_only = 1")
        wait_until(lambda: writers.refused["read only"] or not writers.alive, "a writer is refused")
        assert writers.alive
        pair.source.execute("SET GLOBAL read_only = 0")
        writers.wait_for(50)


def test_they_outlive_a_restart_of_the_source(mysql_pair: Pair, schema: str) -> None:
    tables = list(odd_tables(mysql_pair.family))
    create_odd_tables(mysql_pair.source, schema, tables, share=0.02)
    with Writers(mysql_pair.source, schema, tables) as writers:
        writers.wait_for(100)
        mysql_pair.source.kill()
        mysql_pair.source.start()
        writers.wait_for(100)
    print(writers.summary())
    assert writers.refused["lost"] > 0
    assert not mysql_pair.source.query("XA RECOVER")


def test_a_programming_error_fails_the_test(pair: Pair, schema: str) -> None:
    table = odd_tables(pair.family)[0]  # never created
    writers = Writers(pair.source, schema, [table], pace=Pace(threads=1))
    writers.start()
    writers._writers[0].thread.join(PATIENCE_SECONDS)
    with pytest.raises(AssertionError, match="a writer failed, seed"):
        writers.stop()


def test_the_seed_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FERRY_TEST_SEED", "4711")
    assert seed_of_run() == 4711
    assert seed_of_run(5) == 5
    assert "FERRY_TEST_SEED=4711" in capsys.readouterr().out


def test_the_account_cannot_write_through_read_only(pair: Pair, schema: str) -> None:
    writers = Writers(pair.source, schema, [], pace=Pace(threads=0))
    writers.start()
    connection = writers.connect()
    with connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        grants = " ".join(row[0] for row in cursor.fetchall())
    connection.close()
    assert "SUPER" not in grants
    assert pair.flavor is Flavor.MYSQL or "READ ONLY ADMIN" not in grants
