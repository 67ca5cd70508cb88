"""information_schema leaves out tables under DDL with only a warning; such an answer does not count.

The DDL is a RENAME that holds one table and waits for another, which a transaction keeps in use.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pymysql
import pytest

from ferry_core.api.selection import Tables
from ferry_core.errors import DataError, LockConflict
from ferry_core.mysql import catalogue
from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.discovery import discover
from tests.support.servers import Pair, Server
from tests.support.tables import CATALOGUE_QUERIES


class Ddl:
    """A RENAME of ``t`` that runs until ``end`` and then fails, because its other new name is taken."""

    def __init__(self, server: Server, schema: str) -> None:
        self._reader, self._renaming = server.connect(database=schema), server.connect(database=schema)
        with self._renaming.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            ((own,),) = cursor.fetchall()
        self._thread = Thread(target=self._rename)
        with self._reader.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM zz")
        self._thread.start()
        state = f"SELECT state FROM information_schema.processlist WHERE id = {own}"
        deadline = time.monotonic() + 180
        while server.query(state) != [("Waiting for table metadata lock",)]:
            assert time.monotonic() < deadline, "the RENAME does not wait"
            time.sleep(0.01)

    def _rename(self) -> None:
        with contextlib.suppress(pymysql.MySQLError), self._renaming.cursor() as cursor:
            cursor.execute("RENAME TABLE t TO t_away, zz TO zz_away")

    def end(self) -> None:
        if self._thread.is_alive():
            self._reader.rollback()
            self._thread.join()


def make_tables(server: Server, schema: str) -> None:
    server.execute(
        f"USE `{schema}`",
        "CREATE TABLE mine (id INT PRIMARY KEY)",
        "CREATE TABLE zz (id INT PRIMARY KEY)",
        "CREATE TABLE zz_away (id INT PRIMARY KEY)",
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, w VARCHAR(9) UNIQUE, CHECK (v > 0), "
        "CONSTRAINT own FOREIGN KEY (v) REFERENCES zz (id)) AUTO_INCREMENT = 70",
        "INSERT INTO zz VALUES (7)",
        "INSERT INTO t VALUES (70, 7, 'x')",
    )


@pytest.fixture
def tables(pair: Pair, schema: str) -> str:
    make_tables(pair.source, schema)
    return schema


@pytest.fixture
def ddl(pair: Pair, tables: str) -> Iterator[Callable[[], Ddl]]:
    begun: list[Ddl] = []

    def begin() -> Ddl:
        begun.append(Ddl(pair.source, tables))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


@pytest.fixture
def session(pair: Pair) -> Iterator[Session]:
    with Session(pair.source.endpoint("source"), Purpose.CONTROL) as it:
        yield it


SLOW = ("selection", "indexes", "counters", "foreign keys")
"""Queries that are also made without holding locks; then the server gives up after a second."""


@pytest.mark.parametrize(
    ("look", "locks"), [*((look, True) for look in CATALOGUE_QUERIES), *((look, False) for look in SLOW)],
    ids=lambda value: value if isinstance(value, str) else ("without", "with")[value] + " locks of its own",
)  # fmt: skip
def test_a_table_under_ddl_is_never_left_out(
    session: Session,
    tables: str,
    ddl: Callable[[], Ddl],
    look: str,
    locks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 0.0)
    table = next(one for one in discover(session, Tables(include=[f"{tables}.*"])) if one.source.name == "t")
    whole = CATALOGUE_QUERIES[look](session, table)
    held = ddl()
    session.execute("SET SESSION lock_wait_timeout = 1")
    if locks:
        session.execute("START TRANSACTION")
        session.execute(f"SELECT * FROM `{tables}`.mine")
    with contextlib.suppress(LockConflict):
        assert CATALOGUE_QUERIES[look](session, table) == whole
    held.end()
    session.rollback()
    assert CATALOGUE_QUERIES[look](session, table) == whole


def test_the_query_is_repeated_until_the_ddl_has_ended(
    pair: Pair, tables: str, session: Session, ddl: Callable[[], Ddl], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL's answer about indexes does not need open tables; its counters do."""
    statement = f"SELECT auto_increment FROM information_schema.tables WHERE table_schema = '{tables}' ORDER BY 1"
    whole = session.query(statement)
    assert whole[-1] == (b"71",)
    session.execute("SET SESSION lock_wait_timeout = 1")
    session.execute("START TRANSACTION")
    session.execute(f"SELECT * FROM `{tables}`.mine")
    held = ddl()
    with monkeypatch.context() as impatient:
        impatient.setattr(catalogue, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(LockConflict) as raised:
            session.query(statement)
    assert raised.value.reason == "CatalogueBusy"
    monkeypatch.setattr("ferry_core.mysql.catalogue.time.sleep", lambda _: held.end())
    assert session.query(statement) == whole
    assert pair.source.query(f"SHOW TABLES FROM `{tables}` LIKE 't'") == [("t",)]


def test_broken_views_hide_no_table(pair: Pair, tables: str, session: Session) -> None:
    pair.source.execute(
        f"USE `{tables}`", "CREATE TABLE gone (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM gone",
        "DROP TABLE gone", "CREATE DEFINER = nobody@nowhere VIEW w AS SELECT * FROM t",
    )  # fmt: skip
    found = discover(session, Tables(include=[f"{tables}.*"]))
    assert [table.source.name for table in found] == ["mine", "t", "zz", "zz_away"]


def test_a_permanently_missing_table_is_named(mariadb_pair: Pair, schema: str) -> None:
    """MySQL keeps its catalogue in tables that cannot be damaged from outside."""
    with Session(mariadb_pair.source.endpoint("source"), Purpose.CONTROL) as session:
        datadir = session.text("SELECT @@datadir")
        mariadb_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY) ENGINE=Aria")
        file = Path(datadir) / schema / "t.frm"
        before = file.read_bytes()
        file.write_bytes(b"no definition")
        mariadb_pair.source.execute("FLUSH TABLES")
        try:
            with pytest.raises(DataError) as raised:
                discover(session, Tables(include=[f"{schema}.*"]))
        finally:
            file.write_bytes(before)
            mariadb_pair.source.execute("FLUSH TABLES")
    assert raised.value.reason == "CatalogueIncomplete"
    assert f"{schema}" in raised.value.message


@contextlib.contextmanager
def out_of_the_folder(server: Server, schema: str, table: str) -> Iterator[Callable[[], object]]:
    """As during an ALTER of MariaDB: the table is open, but no file has its name. Returns a function that ends it."""
    file = Path(server.value("SELECT @@datadir")) / schema / f"{table}.frm"
    aside = file.with_suffix(".aside")
    file.rename(aside)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: aside.exists() and aside.rename(file))
        yield stack.close


@pytest.mark.parametrize("look", CATALOGUE_QUERIES)
def test_a_table_without_a_file_for_a_moment_is_never_left_out(
    mariadb_pair: Pair, schema: str, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server gives no warning. MySQL keeps its catalogue in tables, whose answers are consistent."""
    make_tables(mariadb_pair.source, schema)
    with Session(mariadb_pair.source.endpoint("source"), Purpose.CONTROL) as session:
        table = next(one for one in discover(session, Tables(include=[f"{schema}.*"])) if one.source.name == "t")
        whole = CATALOGUE_QUERIES[look](session, table)
        with out_of_the_folder(mariadb_pair.source, schema, "t") as end:
            # Lists of names that are not known beforehand are read more than once.
            monkeypatch.setattr("ferry_core.mysql.listings.time.sleep", lambda _: end())
            assert CATALOGUE_QUERIES[look](session, table) == whole
