"""Statements as servers of both families log them: executed, read back from the binlog, and interpreted."""

from collections.abc import Iterator

from ferry_core.schema.statements import StatementKind, effect_on, normal_xid
from ferry_core.tables.table import TableName
from tests.ferry_core.schema.test_statements import names
from tests.support.servers import Pair

LOGGED = [
    ("create table a (id int primary key, v int)", {"a"}),
    ("create table b like a", {"b"}),
    ("create table x (id int primary key, v int)", set()),
    ("rename table a to a1, x to x1", {"a"}),
    ("rename table a1 to a, x1 to x", {"a"}),
    ("create index i on a (v)", {"a"}),
    ("drop index i on a", {"a"}),
    ("alter table a comment 'it\\'s \"quoted\"'", {"a"}),
    ("truncate a", {"a"}),
    ("create temporary table t (id int); drop table t", set()),
    ("set session binlog_format = mixed; create temporary table b (id int); drop temporary table b", set()),
    ("create view w as select * from a", set()),
    ("create trigger tg before insert on a for each row set new.v = 1", set()),
    ("analyze table a", set()),
    ("optimize table a", {"a"}),
    ("flush tables a", set()),
    ("grant select on a to root@localhost", set()),
    ("create table if not exists a (id int)", set()),
    ("create table child (id int primary key, foreign key (id) references a (id) on delete cascade)", set()),
    ("drop table child", set()),
    ("create table made as select * from a", set()),
    ("drop table if exists nosuch, b", {"b"}),
    ("alter database `{schema}` character set latin1", set()),
]
LOGGED_BY_MARIADB = [
    ("alter ignore table a add column y int", {"a"}),
    ("create or replace table x (id int primary key)", set()),
    ("create or replace table a (id int primary key, v int)", {"a"}),
    ("create sequence sq", set()),
    ("drop sequence sq", set()),
    ("set statement max_statement_time=10 for truncate a", {"a"}),
]


def test_statements_as_servers_log_them(pair: Pair, schema: str) -> None:
    """Executes each statement and reads it back from the binlog, because servers rewrite some of them."""
    selected = [TableName(schema, name) for name in ("a", "b")]
    statements = LOGGED + (LOGGED_BY_MARIADB if pair.source.flavor.name == "MARIADB" else [])
    for statement, expected in statements:
        logged = list(_logged(pair, schema, *statement.format(schema=schema).split("; ")))
        print(statement, "->", logged)
        changed = {
            table.name
            for text, default in logged
            if (effect := effect_on(text, default, names(selected))).kind is StatementKind.SCHEMA_CHANGE
            for table in effect.tables
        }
        assert changed == expected, logged


def test_xids_of_binlog_and_xa_recover_agree(pair: Pair, schema: str) -> None:
    list(_logged(pair, schema, "create table a (id int primary key)"))
    xid = "'g\\'1\\0', 'b', 7"
    logged = list(
        _logged(pair, schema, f"xa start {xid}", "insert into a values (1)", f"xa end {xid}", f"xa prepare {xid}")
    )
    prepared = [effect_on(text, default, names([])) for text, default in logged if text.startswith("XA PREPARE")]
    with pair.source.connect() as connection, connection.cursor() as cursor:
        cursor.execute("XA RECOVER")
        rows = [row for row in cursor.fetchall() if row[0] == 7]
    pair.source.decide_xa(f"XA ROLLBACK {xid}")
    format_id, gtrid_length, bqual_length, data = rows[0]
    raw = data if isinstance(data, bytes) else data.encode()
    expected = normal_xid(format_id, raw[:gtrid_length], raw[gtrid_length : gtrid_length + bqual_length])
    assert [effect.xid for effect in prepared] == [expected]


def _logged(pair: Pair, schema: str, *statements: str) -> Iterator[tuple[str, str]]:
    with pair.source.connect() as connection, connection.cursor() as cursor:
        cursor.execute("flush binary logs")
        cursor.execute("show binary logs")
        log = cursor.fetchall()[-1][0]
        cursor.execute(f"use `{schema}`")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute(f"show binlog events in '{log}'")
        for _, _, kind, _, _, info in cursor.fetchall():
            if kind in ("Query", "XA_prepare"):
                used, _, text = info.partition("; ")
                yield (text, schema) if used == f"use `{schema}`" else (info, "")
