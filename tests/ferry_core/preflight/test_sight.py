"""Preflight never passes what the documented account cannot see: each check runs with that account and with root, on
both families.

information_schema silently leaves out objects for which an account has no privilege.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from ferry_core.api.selection import Tables
from ferry_core.binlog.handshake import server_id_of
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import CheckResult, Status, run_checks
from ferry_core.tables.discovery import discover
from tests.e2e.test_accounts import PASSWORD as DOCUMENTED_PASSWORD
from tests.e2e.test_accounts import documented, give
from tests.support.preflight import FERRY_UID, check, opened, registered, told
from tests.support.servers import Pair, set_global
from tests.support.tables import CATALOGUE_QUERIES

TABLES = (
    "CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE, v INT, t TIMESTAMP NULL, g INT AS (DAY(t)) STORED)",
    ("CREATE TABLE c (id INT PRIMARY KEY, p INT UNIQUE, "
    "CONSTRAINT casc FOREIGN KEY (p) REFERENCES p (id) ON DELETE SET NULL)"),
    "CREATE TABLE outside (id INT PRIMARY KEY CHECK (id > 0))",
    "CREATE TABLE o (id INT PRIMARY KEY, p INT, CONSTRAINT leaving FOREIGN KEY (p) REFERENCES outside (id))",
    "CREATE TABLE m (id INT, PRIMARY KEY (id) USING BTREE) ENGINE=MEMORY",
    "CREATE TABLE parts (id INT AUTO_INCREMENT PRIMARY KEY) PARTITION BY HASH(id) PARTITIONS 2",
)  # fmt: skip
REST = (
    "CREATE VIEW w AS SELECT id FROM p",
    "CREATE TRIGGER tg BEFORE INSERT ON p FOR EACH ROW SET NEW.v = 1",
    "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO SELECT 1",
    "CREATE PROCEDURE pr() SELECT 1",
)


@pytest.fixture
def one_of_each(pair: Pair, schema: str) -> Iterator[str]:
    """Tables of every kind on both servers, the documented accounts, and everything that a check looks for."""
    pair.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    for server in (pair.source, pair.target):
        server.execute(f"USE `{schema}`", *TABLES, *REST)
    if pair.flavor is Flavor.MARIADB:
        pair.source.execute(
            f"USE `{schema}`", "CREATE SEQUENCE sq", "CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING"
        )
        pair.source.execute(
            "CREATE OR REPLACE USER sight_writer@'%'", "GRANT READ ONLY ADMIN ON *.* TO sight_writer@'%'"
        )
    pair.target.execute(f"INSERT INTO `{schema}`.p (id, v) VALUES (1, 1)", f"DROP TABLE `{schema}`.o")
    source, target = documented(pair, schema)
    give(pair.source, source)
    give(pair.target, target)
    yield schema
    for server in (pair.source, pair.target):
        server.execute("DROP USER IF EXISTS ferry@'%', sight_writer@'%'")


def _results(pair: Pair, schema: str, user: str) -> list[CheckResult]:
    """All results, with servers whose settings, replicas and transactions the checks report."""
    tables = {"include": [f"{schema}.*"], "exclude": [f"{schema}.outside"]}
    with opened(
        pair.source,
        pair.target,
        schema,
        tables=tables,
        source_user=user,
        target_user=user,
        password=DOCUMENTED_PASSWORD,
        own_eyes=True,
    ) as context:
        return [replace(one, message=re.sub(r"in \d+\.\d s", "", one.message)) for one in run_checks(context)]


UNSEEN = {
    Flavor.MYSQL: {"left behind", "grants left behind"},
    Flavor.MARIADB: {"left behind", "grants left behind", "writers past the lock", "server id"},
}
"""Checks that report that they cannot see everything. All others must see with the documented account what root
sees.
"""


def test_every_check_sees_what_root_sees_or_reports_that_it_cannot(pair: Pair, one_of_each: str) -> None:
    source, schema = pair.source, one_of_each
    source.execute(
        "XA START 'sight'", f"INSERT INTO `{schema}`.parts VALUES (7)", "XA END 'sight'", "XA PREPARE 'sight'"
    )
    try:
        with set_global(source, "event_scheduler = ON"), registered(source, server_id_of(FERRY_UID)):
            root, ours = _results(pair, schema, ""), _results(pair, schema, "ferry")
    finally:
        source.decide_xa("XA ROLLBACK 'sight'")
    found = {result.reason for result in root}
    if pair.flavor is Flavor.MARIADB:  # those of MySQL 9.6 and later are in its binlog
        assert any("cascades cannot be followed row by row" in result.message for result in root)
    assert {
        "ForeignKeyOutsideSelection",
        "TargetTriggers",
        "EventsEnabled",
        "UnsupportedTable",
    } < found
    assert {"GeneratedFromTimestamp", "TargetNotEmpty", "PreparedTransactions", "ServerIdClash"} < found
    for name in {result.name for result in root}:
        by_root, by_us = ([one for one in results if one.name == name] for results in (root, ours))
        if name not in UNSEEN[pair.flavor]:
            assert by_us == by_root
        else:
            (said,) = by_us
            assert "not see" in said.message or "not be checked" in said.message
            assert said.status is not Status.PASSED or by_root[0].status is Status.PASSED
    (behind,) = (result.message for result in root if result.name == "left behind")
    for kind, name in (("views", "w"), ("triggers", "tg"), ("events", "ev"), ("routines", "pr")):
        assert f"{kind} {schema}.{name}; " in behind
    assert "accounts and their privileges ('ferry'@'%')" in behind
    assert (f"sequences {schema}.sq; " in behind) is (pair.flavor is Flavor.MARIADB)


@pytest.mark.parametrize(
    ("side", "look"),
    [("source", look) for look in CATALOGUE_QUERIES if look != "taken names"]
    + [("target", look) for look in CATALOGUE_QUERIES],
)  # names are taken on the target only
def test_every_table_query_sees_what_root_sees(pair: Pair, one_of_each: str, side: str, look: str) -> None:
    server = pair.source if side == "source" else pair.target
    endpoint = server.endpoint(side)
    answers = []
    for user, password in ((endpoint.user, endpoint.password), ("ferry", DOCUMENTED_PASSWORD)):
        login = replace(endpoint, user=user, password=password)
        with Session(login, Purpose.CONTROL) as session:
            table = next(
                one for one in discover(session, Tables(include=[f"{one_of_each}.*"])) if one.source.name == "c"
            )
            answers.append(CATALOGUE_QUERIES[look](session, table))
    assert answers[0] == answers[1]


def test_the_privilege_to_see_triggers_is_requested(mysql_pair: Pair, schema: str) -> None:
    """MariaDB shows them to any account that may write."""
    pair = mysql_pair
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    pair.target.execute(f"CREATE TRIGGER `{schema}`.tg AFTER INSERT ON `{schema}`.t FOR EACH ROW SET @x = 1")
    give(pair.target, documented(pair, schema)[1])
    pair.target.execute(f"REVOKE TRIGGER ON `{schema}`.* FROM ferry@'%'")
    try:
        with opened(pair.source, pair.target, schema, target_user="ferry", password=DOCUMENTED_PASSWORD) as context:
            assert "GRANT TRIGGER ON" in told(run_checks(context))["MissingPrivilege"]
        give(pair.target, documented(pair, schema)[1])
        with opened(pair.source, pair.target, schema, target_user="ferry", password=DOCUMENTED_PASSWORD) as context:
            assert list(told(run_checks(context))) == ["TargetTriggers"]
    finally:
        pair.target.execute("DROP USER ferry@'%'")


def test_invisible_events_are_reported(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    give(pair.source, documented(pair, schema)[0])
    pair.source.execute("REVOKE EVENT ON *.* FROM ferry@'%'")
    try:
        with (
            set_global(pair.source, "event_scheduler = ON"),
            opened(pair.source, pair.target, schema, source_user="ferry", password=DOCUMENTED_PASSWORD) as context,
        ):
            said = told(run_checks(context), Status.WARNING)["EventsEnabled"]
            pair.source.execute(said.partition("cutover; ")[2].partition(", or SET")[0])
        with opened(pair.source, pair.target, schema, source_user="ferry", password=DOCUMENTED_PASSWORD) as context:
            assert "EventsEnabled" not in told(run_checks(context), Status.WARNING)
    finally:
        pair.source.execute("DROP USER ferry@'%'")


def test_a_pattern_wider_than_the_accounts_grants(pair: Pair, schema: str) -> None:
    """A table without any privilege is not even listed: it would silently be left behind."""
    pair.source.execute(*(f"CREATE TABLE `{schema}`.{name} (id INT PRIMARY KEY)" for name in ("a", "b")))
    give(pair.source, documented(pair, schema)[0])
    pair.source.execute(f"REVOKE SELECT ON `{schema}`.* FROM ferry@'%'", f"GRANT SELECT ON `{schema}`.a TO ferry@'%'")
    ours = partial(opened, source_user="ferry", password=DOCUMENTED_PASSWORD, own_eyes=True)
    try:
        with ours(pair.source, pair.target, schema) as context:
            assert [table.source.name for table in context.tables] == ["a"]
            results = run_checks(context)
            assert f"{schema}.* may match tables" in told(results, Status.WARNING)["HiddenTables"]
            assert not told(results)
        tables = {"include": [f"{schema}.a"]}
        with ours(pair.source, pair.target, schema, tables=tables) as context:
            assert "HiddenTables" not in told(run_checks(context), Status.WARNING)
    finally:
        pair.source.execute("DROP USER ferry@'%'")


def test_root_sees_everything(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    results = check(pair.source, pair.target, schema)
    assert "HiddenTables" not in told(results, Status.WARNING)
    (behind,) = (result for result in results if result.name == "left behind")
    assert behind.message == f"not moved from {schema}: accounts and their privileges"
