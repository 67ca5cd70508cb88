"""Tables without a key, and keys that a rule names."""

import pytest
import yaml

from ferry_core.cli.check import rules
from ferry_core.preflight import Status
from ferry_core.tables import whole
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair


def test_tables_without_a_key_pass_and_slow_ones_are_told(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [f"CREATE TABLE {name} (a INT, b INT)" for name in ("one", "two")]
    pair.source.execute(
        f"USE `{schema}`", *tables, *["INSERT INTO two (a) VALUES (1), (1), (1)"] * 9, "ANALYZE TABLE two"
    )
    passed = told(check(pair.source, pair.target, schema), Status.PASSED)["Passed"]
    assert f"2 tables without a usable key, copied whole: {schema}.one, {schema}.two" in passed
    monkeypatch.setattr(whole, "ROWS_PER_SECOND", 0.1)
    warned = told(check(pair.source, pair.target, schema), Status.WARNING)["NoUsableKey"]
    assert (
        f"{schema}.two (about 27 rows, 0 MB) needs about 270 s under the lock (ALTER TABLE `{schema}`.`two` ADD COLUMN"
        in warned
    )
    assert f"{schema}.one" not in warned


def test_tables_whose_writers_wait_for_the_copy_are_named(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE held (a INT, b VARCHAR(200)) ENGINE=MyISAM",
        "INSERT INTO held VALUES (1, REPEAT('x', 200))",
        *["INSERT INTO held SELECT * FROM held"] * 17,
        "ANALYZE TABLE held",
        "CREATE TABLE quick (a INT) ENGINE=MyISAM",
        "CREATE TABLE keyed (a INT PRIMARY KEY) ENGINE=MyISAM",
    )
    warned = told(check(pair.source, pair.target, schema), Status.WARNING)["NoUsableKey"]
    assert f"{schema}.held for about 3 s (add a key: ALTER TABLE `{schema}`.`held` ADD COLUMN" in warned
    assert f"{schema}.quick" not in warned
    assert f"{schema}.keyed" not in warned


def test_a_key_that_a_rule_may_name_is_printed_and_checked(pair: Pair, schema: str) -> None:
    """The printed lines can be pasted; a key that is none is refused."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (`n``o` INT NOT NULL AUTO_INCREMENT, a INT, KEY (`n``o`), KEY (a))",
        "INSERT INTO t (a) VALUES (1), (1)",
    )
    printed = "".join(rules(check(pair.source, pair.target, schema))).partition("spec.tables.rules:\n")[2]
    wanted = yaml.safe_load(printed)
    assert wanted == [{"match": f"{schema}.t", "key": ["n`o"]}]

    def checked(key: list[str]) -> dict[str, str]:
        tables = {"include": [f"{schema}.*"], "rules": [wanted[0] | {"key": key}]}
        with opened(pair.source, pair.target, schema, tables=tables) as context:
            assert [table.key.promised for table in context.tables] == [key == ["n`o"]]
        return told(check(pair.source, pair.target, schema, tables=tables))

    assert "RuleKeyInvalid" not in checked(["n`o"])
    for key in (["a"], ["missing"], ["n`o", "a"]):  # twice, not there, no index
        assert f"is no key of {schema}.t" in checked(key)["RuleKeyInvalid"]


def test_a_key_that_a_rule_names_has_its_collation_on_the_target(pair: Pair, schema: str) -> None:
    column = "`Code` VARCHAR(20) CHARACTER SET utf8mb4 COLLATE"
    create = f"CREATE TABLE `{schema}`.t ({column} utf8mb4_general_ci NOT NULL, KEY (`Code`))"
    pair.source.execute(create)
    pair.target.execute(f"CREATE DATABASE `{schema}`", create.replace("_general_ci", "_bin"))
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "key": ["Code"]}]}
    found = told(check(pair.source, pair.target, schema, tables=tables))
    assert "the unique column code has the collation utf8mb4_bin" in found["TargetTableDiffers"]


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ("a INT", "ferry_id"),
        ("a INT, u TEXT NOT NULL DEFAULT (UUID()), PRIMARY KEY (u(40))", "ferry_id"),
        ("a INT, `n``o` INT AUTO_INCREMENT, INDEX (`n``o`)", "n`o"),
    ],
    ids=["plain", "with a primary key over a prefix", "with a counter"],
)
def test_the_key_that_is_advised_can_be_added(pair: Pair, schema: str, columns: str, key: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({columns})", f"INSERT INTO `{schema}`.t (a) VALUES (1), (1)")
    with opened(pair.source, pair.target, schema) as context:
        assert context.tables[0].whole
        pair.source.execute(whole.add_key(context.tables[0]), f"INSERT INTO `{schema}`.t (a) VALUES (2)")
    assert pair.source.query(f"SELECT a FROM `{schema}`.t ORDER BY a") == [(1,), (1,), (2,)]
    with opened(pair.source, pair.target, schema) as context:
        assert [column.name for column in context.tables[0].key.columns] == [key]
