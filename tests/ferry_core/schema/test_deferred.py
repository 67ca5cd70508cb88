"""Indexes that are added after the rows: which ones, and that the definition ends as if they had always been there."""

from collections.abc import Iterator, Sequence

import pytest

from ferry_core.api.selection import Tables
from ferry_core.mysql.session import Session
from ferry_core.schema.building import as_written
from ferry_core.schema.create import Creation, create_missing, definition, wanted_definition
from ferry_core.schema.deferred import addition, in_order, names_missing
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import Table
from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

PLAIN = """CREATE TABLE plain (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(50), c TEXT,
    d INT NOT NULL, g POINT NOT NULL{srid}, v INT AS (a + 1) VIRTUAL, u INT UNIQUE,
    KEY `odd``name, (` (a, b(7) {descending}) COMMENT 'it''s ) , KEY', KEY over_v (v), KEY by_d (d),
    FULLTEXT KEY words (b, c), SPATIAL KEY place (g), KEY last_one (b) {hidden}, CONSTRAINT ck CHECK (a <> 7))
    AUTO_INCREMENT=77 COMMENT='KEY' ROW_FORMAT=COMPRESSED"""
PARTS = """CREATE TABLE parts (id INT, day DATE NOT NULL, n INT, PRIMARY KEY (id, day), KEY by_n (n),
    KEY by_day (day))
    PARTITION BY RANGE (YEAR(day)) (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE)"""
PARENT = "CREATE TABLE parent (id INT PRIMARY KEY, x INT, code INT, KEY by_x (x), KEY by_code (code))"
CHILD = """CREATE TABLE child (id INT PRIMARY KEY, x INT, p INT, y INT, c INT, KEY by_x (x), KEY of_parent (p),
    KEY by_y (y), KEY of_code (c, y), KEY by_both (x, y),
    CONSTRAINT to_parent FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE{to_code})"""
COUNTED = """CREATE TABLE counted (id INT PRIMARY KEY, n INT NOT NULL AUTO_INCREMENT, m INT, KEY (m), KEY (n, m),
    KEY m2 (m))"""
FUNCTIONAL = """CREATE TABLE functional (id INT PRIMARY KEY, a INT, KEY first (a), KEY expr ((a + 1)),
    KEY second (a, id))"""

DEFERRED = {
    "plain": ["by_d", "last_one", "odd`name, (", "place", "words"],
    "parts": ["by_day", "by_n"],
    "parent": ["by_x"],
    "child": ["by_both", "by_x", "by_y"],
    "counted": ["m", "m2"],
    "functional": ["first", "second"],
}
"""Of the tables above; ``code`` is what a foreign key without a UNIQUE index references."""


@pytest.fixture
def both(pair: Pair) -> Iterator[TablePair]:
    it = TablePair(pair)
    yield it
    it.close()


def make(both: TablePair, schema: str) -> tuple[list[Table], list[str]]:
    """All tables, on the target without their deferred indexes; and the names of those."""
    pair = both.pair
    mysql = pair.family is Family.MYSQL
    words = {
        "srid": " SRID 0" if mysql else "",
        "descending": "DESC",
        "hidden": "INVISIBLE" if mysql else "IGNORED",
        "to_code": ", CONSTRAINT to_code FOREIGN KEY (c) REFERENCES parent (code)",
    }
    made = [PLAIN, PARTS, PARENT, CHILD, COUNTED, *([FUNCTIONAL] if mysql else [])]
    lax = "SET SESSION restrict_fk_on_non_standard_key = OFF" if mysql else "DO 0"
    pair.source.execute(f"USE `{schema}`", lax, *(statement.format(**words) for statement in made))
    pair.source.execute(
        f"USE `{schema}`",
        "INSERT INTO plain (id, a, b, c, d, g, u) VALUES (1, 1, 'one two', 'x', 3, POINT(1, 1), 1)",
        "INSERT INTO plain (a, b, c, d, g, u) SELECT a + 7, b, 'three', d, POINT(2, 3), NULL FROM plain",
        "INSERT INTO parts VALUES (1, '2019-01-01', 5), (1, '2021-01-01', 5)",
        "INSERT INTO parent VALUES (1, 2, 3)",
        "INSERT INTO child VALUES (1, 1, 1, 1, 3)",
        "INSERT INTO counted VALUES (1, 5, 1), (2, 6, 1)",
    )
    tables = discover(both.control, Tables(include=[f"{schema}.*"]))
    deferred: list[str] = []

    def planned(missing: Sequence[Table], left: Sequence[Table]) -> None:
        assert len(missing) == len(made)
        deferred.extend(table.source.name for table in left)

    create_missing(both.control, both.target, tables, both.fence, Creation(planned=planned, defers=lambda _table: True))
    return tables, deferred


def text(session: Session, table: Table) -> str:
    return (session.query(f"SHOW CREATE TABLE {table.source.sql}")[0][1] or b"").decode()


@pytest.mark.parametrize("online", [True, False])
def test_the_definition_ends_as_on_the_source(pair: Pair, both: TablePair, schema: str, online: bool) -> None:
    tables, deferred = make(both, schema)
    assert sorted(deferred) == sorted(table.source.name for table in tables)
    both.copy_all(tables)
    for table in tables:
        wanted = wanted_definition(both.control, table, {}, both.target.version)
        there = definition(both.target, table.target)
        assert sorted(names_missing(wanted, there)) == DEFERRED[table.source.name], table.id
        statement = addition(table.target, wanted, there)
        how = ", ALGORITHM=INPLACE, LOCK=NONE" if online and "FULLTEXT" not in statement else ""
        with as_written(both.target) as build:
            build(f"{statement}{how}")
        there = definition(both.target, table.target)
        assert in_order(wanted, there)
        assert addition(table.target, wanted, there) == ""
        assert text(both.target, table) == text(both.control, table)
    assert_equal_schemas(pair.source, pair.target, schema)


def test_tables_without_a_usable_key_get_all_indexes_at_once(pair: Pair, both: TablePair, schema: str) -> None:
    engine = "MyISAM" if pair.family is Family.MYSQL else "Aria"
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE keyless (a INT, KEY (a))",
        f"CREATE TABLE unsafe (a INT PRIMARY KEY, b INT, KEY (b)) ENGINE={engine}",
    )
    tables = discover(both.control, Tables(include=[f"{schema}.*"]))
    left: list[Table] = []
    create_missing(
        both.control,
        both.target,
        tables,
        both.fence,
        Creation(planned=lambda _, deferred: left.extend(deferred), defers=lambda _table: True),
    )
    assert not left
    for table in tables:
        assert text(both.target, table) == text(both.control, table)
