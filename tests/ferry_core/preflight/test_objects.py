"""Objects that ``schema.objects`` wants created are tried on the target before the copy; what the target lacks is
named.
"""

from functools import partial

import pytest
import yaml

from ferry_core.cli.check import without
from ferry_core.preflight import CheckResult, Status, run_checks
from tests.e2e.test_accounts import PASSWORD as DOCUMENTED_PASSWORD
from tests.e2e.test_accounts import documented, documented_for_objects, give
from tests.ferry_core.schema.test_object_maker import OBJECTS, TABLES
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, set_global

CREATE = {"objects": dict.fromkeys(("views", "routines", "triggers", "events"), "Create")}


def named(results: list[CheckResult], name: str) -> str:
    return "\n".join(one.message for one in results if one.name == name)


@pytest.fixture
def source(pair: Pair, schema: str) -> str:
    pair.source.execute(f"USE `{schema}`", *TABLES, *OBJECTS)
    return schema


def test_all_is_tried_and_nothing_is_left(pair: Pair, source: str) -> None:
    results = check(pair.source, pair.target, source, schema=CREATE)
    assert not told(results)
    assert "DefinerMissing" not in told(results, Status.WARNING)
    assert named(results, "objects tried") == f"{len(OBJECTS)} tried"
    assert named(results, "left behind") == f"not moved from {source}: accounts and their privileges"
    assert not pair.target.query("SHOW DATABASES LIKE 'mysql\\_ferry\\_trial%'")
    assert not pair.target.query(f"SHOW DATABASES LIKE '{source}'")


def test_what_is_excluded_or_reported_stays_behind(pair: Pair, source: str) -> None:
    tables = {"include": [f"{source}.*"], "exclude": [f"{source}.fill", f"{source}.a"]}
    objects = {"objects": {"views": "Create", "routines": "Create"}}
    results = check(pair.source, pair.target, source, schema=objects, tables=tables)
    assert not told(results)
    behind = named(results, "left behind")
    assert f"views {source}.a; triggers " in behind
    assert f"; events {source}.tick, {source}.tock; routines {source}.fill; accounts" in behind


def test_the_documented_accounts_are_enough_and_a_lack_is_named(pair: Pair, source: str) -> None:
    ours = partial(
        opened,
        *(pair.source, pair.target, source),
        source_user="ferry",
        target_user="ferry",
        password=DOCUMENTED_PASSWORD,
        schema=CREATE,
    )
    for server, lines in zip((pair.source, pair.target), documented(pair, source), strict=True):
        give(server, lines)
    try:
        for server, lines in zip((pair.source, pair.target), documented_for_objects(pair, source), strict=True):
            with ours() as context:
                lacking = told(run_checks(context))["MissingPrivilege"]
            assert server.endpoint().address in lacking
            server.execute(*lines)
        with set_global(pair.target, "log_bin_trust_function_creators = ON"), ours() as context:
            assert not told(run_checks(context))
        with set_global(pair.target, "log_bin_trust_function_creators = OFF"), ours() as context:
            refused = told(run_checks(context))
        if pair.target.value("SELECT @@log_bin"):
            assert "log_bin_trust_function_creators = ON" in refused["DefinitionRefused"]
    finally:
        for server in (pair.source, pair.target):
            server.execute("DROP USER IF EXISTS ferry@'%'")


def test_definers_that_the_target_lacks(pair: Pair, source: str) -> None:
    pair.source.execute(
        "CREATE USER objects_app@'%'", f"CREATE DEFINER=objects_app@'%' PROCEDURE `{source}`.owned() SELECT 1"
    )
    try:
        found = told(check(pair.source, pair.target, source, schema=CREATE), Status.WARNING)
        assert "procedure owned (`objects_app`@`%`)" in found["DefinerMissing"]
        theirs = {"objects": CREATE["objects"] | {"definer": "CurrentUser"}}
        assert "DefinerMissing" not in told(check(pair.source, pair.target, source, schema=theirs), Status.WARNING)
    finally:
        pair.source.execute("DROP USER objects_app@'%'")


def test_what_is_there_and_is_another_one(pair: Pair, source: str) -> None:
    pair.target.execute(
        f"CREATE DATABASE `{source}` CHARACTER SET utf8mb4",
        f"CREATE VIEW `{source}`.z AS SELECT 1 AS one",
        f"CREATE PROCEDURE `{source}`.untouched() SELECT 1",
    )
    found = told(check(pair.source, pair.target, source, schema=CREATE))
    assert f"view {source}.z" in found["TargetObjectDiffers"]
    assert "untouched" not in found["TargetObjectDiffers"]


def test_what_names_a_renamed_schema_or_table(pair: Pair, source: str) -> None:
    pair.source.execute(
        f"CREATE PROCEDURE `{source}`.far() INSERT INTO {source}.log (what) VALUES (1)",
        f"CREATE TRIGGER `{source}`.odd AFTER UPDATE ON `{source}`.`t` FOR EACH ROW DELETE FROM log",
    )
    renamed = {"include": [f"{source}.*"], "renameSchemas": {source: f"{source}_b"}}
    found = told(check(pair.source, pair.target, source, schema=CREATE, tables=renamed))
    assert f"procedure {source}.far ({source})" in found["ObjectNamesRenamed"]
    assert f"view {source}." not in found["ObjectNamesRenamed"]
    by_rule = {"include": [f"{source}.*"], "rules": [{"match": f"{source}.log", "target": f"{source}.log2"}]}
    found = told(check(pair.source, pair.target, source, schema=CREATE, tables=by_rule))
    assert f"view {source}.a ({source}.log)" in found["ObjectNamesRenamed"]
    assert f"function {source}.twice" not in found["ObjectNamesRenamed"]


def test_what_names_its_schema_is_not_tried_on_the_real_one(pair: Pair, source: str) -> None:
    """The trial does not create it there either."""
    pair.target.execute(f"CREATE DATABASE `{source}` CHARACTER SET utf8mb4", f"USE `{source}`", *TABLES)
    pair.source.execute(f"CREATE TRIGGER `{source}`.odd AFTER UPDATE ON `{source}`.t FOR EACH ROW DELETE FROM log")
    results = check(pair.source, pair.target, source, schema=CREATE)
    assert not pair.target.query(f"SHOW TRIGGERS FROM `{source}`")
    if "DefinitionsNotTried" in told(results, Status.WARNING):
        assert f"trigger {source}.odd" in told(results, Status.WARNING)["DefinitionsNotTried"]
    assert not told(results)


def test_a_view_of_what_does_not_move(pair: Pair, source: str) -> None:
    tables = {"include": [f"{source}.t"]}
    found = told(check(pair.source, pair.target, source, schema=CREATE, tables=tables))
    assert f"view {source}.a cannot be created" in found["DefinitionRefused"]
    lines = "".join(without(check(pair.source, pair.target, source, schema=CREATE, tables=tables)))
    assert f'  - "{source}.a"\n' in lines
    excluded = yaml.safe_load(lines.partition("\n")[2])
    assert not told(check(pair.source, pair.target, source, schema=CREATE, tables=tables | {"exclude": excluded}))
    pair.target.execute(f"CREATE DATABASE `{source}` CHARACTER SET utf8mb4", f"USE `{source}`", TABLES[1])
    assert not told(check(pair.source, pair.target, source, schema=CREATE, tables=tables))


def test_another_default_of_the_schema(pair: Pair, source: str) -> None:
    """It determines how a routine compares its texts."""
    pair.target.execute(f"CREATE DATABASE `{source}` CHARACTER SET latin1")
    found = told(check(pair.source, pair.target, source, schema=CREATE))
    assert "its collation of its schema is latin1_swedish_ci and not" in found["DefinitionDiffers"]


def test_another_procedure_on_the_target_where_there_is_no_function(pair: Pair, schema: str) -> None:
    for server, body in ((pair.source, "SELECT 1"), (pair.target, "SELECT 2")):
        server.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"CREATE PROCEDURE `{schema}`.p() {body}")
    pair.source.execute(f"CREATE TABLE `{schema}`.p (id INT PRIMARY KEY)")
    results = check(pair.source, pair.target, schema, schema=CREATE)
    assert f"procedure {schema}.p" in told(results)["TargetObjectDiffers"]
    assert not list(without(results)), "the line would leave out the table of the same name too"
