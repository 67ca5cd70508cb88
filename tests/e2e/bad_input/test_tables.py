"""Unusable selections, row filters, target tables and binlogs: reported before anything is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.ferry_cli import FerryCli
from tests.support.proxy import Proxy
from tests.support.schemas import SMALL_TABLE, create_small_tables
from tests.support.servers import Pair, Server

# -- selection ------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxied(pair: Pair) -> Iterator[Proxy]:
    with Proxy(pair.source.host, pair.source.port) as proxy:
        yield proxy


@pytest.mark.parametrize("spelling", ["the same", "localhost", "another address"])
def test_source_is_target(bench: FerryCli, proxied: Proxy, spelling: str) -> None:
    source = bench.pair.source
    host, port = {
        "the same": (source.host, source.port),
        "localhost": ("localhost", source.port),
        "another address": ("127.0.0.1", proxied.port),
    }[spelling]
    bench.spec["target"] |= {"host": host, "port": port}
    bench.credentials("target", source.user, source.password)
    # If even the spelling is the same, the manifest alone is refused; otherwise the servers must be asked.
    reason = "RuleViolated" if spelling == "the same" else "SourceIsTarget"
    bench.run().refused(64, reason, "rename")
    assert not bench.state.exists()
    assert source.query(f"SELECT COUNT(*) FROM `{bench.schema}`.t") == [(2,)]
    bench.spec["tables"]["renameSchemas"] = {bench.schema: f"{bench.schema}_copy"}
    bench.run().refused(64, "SourceIsTarget", "sourceLock")
    assert source.query("SHOW DATABASES LIKE 't\\_%\\_copy'") == []


SELECTIONS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "matches nothing": ({"include": ["{}.*", "{}.nowhere*"]}, "PatternMatchesNothing", ("include '{}.nowhere*'",)),
    "rule matches nothing": (
        {"include": ["{}.*"], "rules": [{"match": "{}.orders", "where": "id = 1"}]},
        "PatternMatchesNothing",
        ("rule '{}.orders'",),
    ),
    "no schema of the selection": (
        {"include": ["{}.*"], "renameSchemas": {"{}x": "{}_new"}},
        "PatternMatchesNothing",
        ("renameSchemas '{}x' ({}?)",),
    ),
    "the server's own": (
        {"include": ["{}.*"], "renameSchemas": {"{}": "sys"}},
        "TargetNameInvalid",
        ("{}.t to 'sys'",),
    ),
    "nothing left": ({"include": ["{}.*"], "exclude": ["{}.*"]}, "NothingSelected", ("exclude",)),
    "two to one": (
        {"include": ["{}.*"], "rules": [{"match": "{}.t", "target": "{}.w"}]},
        "TargetNameTaken",
        ("{}.t and {}.w to {}.w",),
    ),
}


@pytest.mark.parametrize("mistake", SELECTIONS)
def test_selection(one: FerryCli, mistake: str) -> None:
    create_small_tables(one.pair.source, one.schema, "w")
    tables, reason, words = SELECTIONS[mistake]
    filled = [word.replace("{}", one.schema) for word in words]
    one.spec["tables"] = named(tables, one.schema)
    one.run().refused(64, reason, *filled)
    one.assert_nothing_begun()
    checked = one.check()
    assert (checked.code, reason in checked.stdout) == (64, True)


def test_a_pattern_that_can_be_read_in_two_ways(bench: FerryCli) -> None:
    create_small_tables(bench.pair.source, bench.schema, "`b.c`")
    bench.pair.source.execute(f"CREATE DATABASE `{bench.schema}.b`")
    create_small_tables(bench.pair.source, f"{bench.schema}.b", "c")
    bench.spec["tables"] = {"include": [f"{bench.schema}.b.*"]}
    said = f"'{bench.schema}.b.*' (`{bench.schema}`.`b.*` or `{bench.schema}.b`.`*`?)"
    bench.run().refused(64, "PatternAmbiguous", said, "in backticks")
    bench.assert_nothing_begun()
    assert "PatternAmbiguous" in bench.check().stdout


KEYLESS = {
    "none": "(a INT)",
    "nullable": "(a INT UNIQUE)",
    "prefix": "(a VARCHAR(30) NOT NULL, UNIQUE (a(5)))",
    "functional": "(a INT NOT NULL, UNIQUE ((a + 1)))",  # MySQL only
}


def test_tables_without_a_key_are_named(bench: FerryCli) -> None:
    known = [name for name in KEYLESS if name != "functional" or bench.pair.family is Family.MYSQL]
    bench.pair.source.execute(*(f"CREATE TABLE `{bench.schema}`.`{name}` {KEYLESS[name]}" for name in known))
    bench.run().refused(64, "NoUsableKey", *(f"{bench.schema}.{name}" for name in known), "exclude")
    bench.assert_nothing_begun()
    checked = bench.check()
    assert (checked.code, "NoUsableKey" in checked.stdout) == (64, True)


def named(value: Any, schema: str) -> Any:
    """``{}`` in all texts is replaced by the schema."""
    if isinstance(value, dict):
        return {named(key, schema): named(inner, schema) for key, inner in value.items()}
    if isinstance(value, list):
        return [named(inner, schema) for inner in value]
    return value.replace("{}", schema)


FILTERS = {
    "no such column": ("price > 3", "RowFilterInvalid", "price"),
    "no condition": ("id = 1 ORDER BY id", "RowFilterInvalid", "ORDER BY"),
    "two statements": ("1); DROP TABLE t; --", "RowFilterInvalid", "row filter"),
    "open quote": ("v = 'one", "RowFilterInvalid", "quote"),
    "time of day": ("id < UNIX_TIMESTAMP(NOW())", "RowFilterNotPure", "depend on the row alone"),
    "random": ("RAND() < 0.5", "RowFilterNotPure", "depend on the row alone"),
    "variable": ("id < @@max_connections", "RowFilterNotPure", "depend on the row alone"),
    "subquery": ("id IN (SELECT 1)", "RowFilterNotPure", "depend on the row alone"),
}


@pytest.mark.parametrize("mistake", FILTERS)
def test_row_filter(bench: FerryCli, mistake: str) -> None:
    where, reason, word = FILTERS[mistake]
    bench.spec["tables"]["rules"] = [{"match": f"{bench.schema}.t", "where": where}]
    bench.run().refused(64, reason, f"{bench.schema}.t", word)
    bench.assert_nothing_begun()
    assert bench.pair.source.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t") == 2


# -- the target's tables ----------------------------------------------------------------------------------------------


def test_target_table_with_other_columns(bench: FerryCli) -> None:
    target = bench.pair.target
    target.execute(
        f"CREATE DATABASE `{bench.schema}`",
        f"CREATE TABLE `{bench.schema}`.t (id INT PRIMARY KEY, v VARCHAR(10), extra INT)",
    )
    before = target.query(f"SHOW CREATE TABLE `{bench.schema}`.t")
    words = ("the column u is missing", "the column extra is not on the source", "varchar(10) and not varchar(40)")
    target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (7, 'mine', 7)")
    both = "-- and TargetNotEmpty: target"  # everything that must be fixed, in one message
    bench.run().refused(64, "TargetTableDiffers", f"{bench.schema}.t", *words, both)
    assert target.query(f"SHOW CREATE TABLE `{bench.schema}`.t") == before
    assert bench.lease() == []
    assert not bench.state.exists()


def test_target_table_that_holds_rows(bench: FerryCli) -> None:
    target = bench.pair.target
    target.execute(f"CREATE DATABASE `{bench.schema}` CHARACTER SET utf8mb4", SMALL_TABLE.format(bench.schema, "t"))
    target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (7, 'mine', 7)")
    bench.run().refused(64, "TargetNotEmpty", f"{bench.schema}.t", "empty or drop")
    assert target.query(f"SELECT id, v FROM `{bench.schema}`.t") == [(7, "mine")]
    assert bench.lease() == []
    assert not bench.state.exists()


def test_read_only_target(bench: FerryCli) -> None:
    target = bench.pair.target
    target.execute("SET GLOBAL read_only = 1")
    try:
        bench.run().refused(64, "TargetReadOnly", "read_only=ON", "SET GLOBAL read_only = OFF")
    finally:
        target.execute("SET GLOBAL read_only = 0")
    bench.assert_nothing_begun()


# -- the source's binlog ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def silent_source(make_module_server: ServerFactory, request: pytest.FixtureRequest) -> Server:
    """A source without a binlog, and so without anything that needs one."""
    needs_one: dict[str, None] = {"gtid_mode": None} if request.param == "mysql" else {"gtid_strict_mode": None}
    return make_module_server(request.param, log_bin=False if request.param == "mysql" else None, **needs_one)


def test_binlog_off(tmp_path: Path, silent_source: Server, schema: str, server_pool: Any) -> None:
    pair = Pair(silent_source, server_pool.pair(silent_source.family).target)
    silent_source.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
    create_small_tables(silent_source, schema, "t")
    bench = FerryCli(tmp_path / "ferry", pair, schema)
    bench.run().refused(64, "BinlogDisabled", "source 127.0.0.1", "log_bin")
    bench.assert_nothing_begun()


def test_statement_format(bench: FerryCli) -> None:
    source = bench.pair.source
    source.execute("SET GLOBAL binlog_format = 'STATEMENT'")
    try:
        bench.run().refused(64, "BinlogFormatNotRow", "binlog_format=STATEMENT", "SET GLOBAL binlog_format = ROW")
    finally:
        source.execute("SET GLOBAL binlog_format = 'ROW'")
    bench.assert_nothing_begun()
