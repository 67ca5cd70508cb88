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
def test_source_is_target(cli: FerryCli, proxied: Proxy, spelling: str) -> None:
    source = cli.pair.source
    host, port = {
        "the same": (source.host, source.port),
        "localhost": ("localhost", source.port),
        "another address": ("127.0.0.1", proxied.port),
    }[spelling]
    cli.spec["target"] |= {"host": host, "port": port}
    cli.credentials("target", source.user, source.password)
    # If even the spelling is the same, the manifest alone is refused; otherwise the servers must be asked.
    reason = "RuleViolated" if spelling == "the same" else "SourceIsTarget"
    cli.run().refused(64, reason, "rename")
    assert not cli.state.exists()
    assert source.query(f"SELECT COUNT(*) FROM `{cli.schema}`.t") == [(2,)]
    cli.spec["tables"]["renameSchemas"] = {cli.schema: f"{cli.schema}_copy"}
    cli.run().refused(64, "SourceIsTarget", "sourceLock")
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


def test_an_ambiguous_pattern(cli: FerryCli) -> None:
    create_small_tables(cli.pair.source, cli.schema, "`b.c`")
    cli.pair.source.execute(f"CREATE DATABASE `{cli.schema}.b`")
    create_small_tables(cli.pair.source, f"{cli.schema}.b", "c")
    cli.spec["tables"] = {"include": [f"{cli.schema}.b.*"]}
    said = f"'{cli.schema}.b.*' (`{cli.schema}`.`b.*` or `{cli.schema}.b`.`*`?)"
    cli.run().refused(64, "PatternAmbiguous", said, "in backticks")
    cli.assert_nothing_begun()
    assert "PatternAmbiguous" in cli.check().stdout


KEYLESS = {
    "none": "(a INT)",
    "nullable": "(a INT UNIQUE)",
    "prefix": "(a VARCHAR(30) COLLATE utf8mb4_unicode_ci NOT NULL, UNIQUE (a(5))) CHARACTER SET utf8mb4",
    "functional": "(a INT NOT NULL, UNIQUE ((a + 1)))",  # MySQL only
}


def test_tables_without_a_key_are_moved(cli: FerryCli) -> None:
    known = [name for name in KEYLESS if name != "functional" or cli.pair.family is Family.MYSQL]
    cli.pair.source.execute(*(f"CREATE TABLE `{cli.schema}`.`{name}` {KEYLESS[name]}" for name in known))
    cli.pair.source.execute(f"INSERT INTO `{cli.schema}`.nullable VALUES (NULL)")
    checked = cli.check()
    assert checked.code == 0, checked.stdout
    assert f"{len(known)} tables without a usable key, copied whole" in " ".join(checked.stdout.split())


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
def test_row_filter(cli: FerryCli, mistake: str) -> None:
    where, reason, word = FILTERS[mistake]
    cli.spec["tables"]["rules"] = [{"match": f"{cli.schema}.t", "where": where}]
    cli.run().refused(64, reason, f"{cli.schema}.t", word)
    cli.assert_nothing_begun()
    assert cli.pair.source.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t") == 2


# -- the target's tables ----------------------------------------------------------------------------------------------


def test_target_table_with_other_columns(cli: FerryCli) -> None:
    target = cli.pair.target
    target.execute(
        f"CREATE DATABASE `{cli.schema}`",
        f"CREATE TABLE `{cli.schema}`.t (id INT PRIMARY KEY, v VARCHAR(10), extra INT)",
    )
    before = target.query(f"SHOW CREATE TABLE `{cli.schema}`.t")
    words = ("the column u is missing", "the column extra is not on the source", "varchar(10) and not varchar(40)")
    target.execute(f"INSERT INTO `{cli.schema}`.t VALUES (7, 'mine', 7)")
    both = "-- and TargetNotEmpty: target"  # everything that must be fixed, in one message
    cli.run().refused(64, "TargetTableDiffers", f"{cli.schema}.t", *words, both)
    assert target.query(f"SHOW CREATE TABLE `{cli.schema}`.t") == before
    assert cli.lease() == []
    assert not cli.state.exists()


def test_target_table_that_holds_rows(cli: FerryCli) -> None:
    target = cli.pair.target
    target.execute(f"CREATE DATABASE `{cli.schema}` CHARACTER SET utf8mb4", SMALL_TABLE.format(cli.schema, "t"))
    target.execute(f"INSERT INTO `{cli.schema}`.t VALUES (7, 'mine', 7)")
    cli.run().refused(64, "TargetNotEmpty", f"{cli.schema}.t", "empty or drop")
    assert target.query(f"SELECT id, v FROM `{cli.schema}`.t") == [(7, "mine")]
    assert cli.lease() == []
    assert not cli.state.exists()


def test_read_only_target(cli: FerryCli) -> None:
    target = cli.pair.target
    target.execute("SET GLOBAL read_only = 1")
    try:
        cli.run().refused(64, "TargetReadOnly", "read_only=ON", "SET GLOBAL read_only = OFF")
    finally:
        target.execute("SET GLOBAL read_only = 0")
    cli.assert_nothing_begun()


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
    cli = FerryCli(tmp_path / "ferry", pair, schema)
    cli.run().refused(64, "BinlogDisabled", "source 127.0.0.1", "log_bin")
    cli.assert_nothing_begun()


def test_statement_format(cli: FerryCli) -> None:
    source = cli.pair.source
    source.execute("SET GLOBAL binlog_format = 'STATEMENT'")
    try:
        cli.run().refused(64, "BinlogFormatNotRow", "binlog_format=STATEMENT", "SET GLOBAL binlog_format = ROW")
    finally:
        source.execute("SET GLOBAL binlog_format = 'ROW'")
    cli.assert_nothing_begun()
