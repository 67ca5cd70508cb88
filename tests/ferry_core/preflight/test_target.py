"""Tables on the target and their owners, and the state of the source before a cutover."""

import json
from collections.abc import Iterator

import pytest

from ferry_core.consistency.own_tables import DDL
from ferry_core.errors import ConfigError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import Status, run_checks
from ferry_core.preflight.lease import read_leases
from ferry_core.tables.table import TableName
from tests.support.preflight import FERRY_UID, PASSWORD, check, opened, told
from tests.support.servers import Pair, set_global

SOURCE_TABLE = "id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, v INT, twice INT AS (v * 2) VIRTUAL, UNIQUE KEY n (name)"
POOR = "ferry_poor"
OTHER_UID = "99999999-2222-3333-4444-555555555555"


@pytest.fixture
def tables(pair: Pair, schema: str) -> str:
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({SOURCE_TABLE}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    pair.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    return schema


def _on_target(
    pair: Pair, schema: str, columns: str, options: str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
) -> None:
    pair.target.execute(f"DROP TABLE IF EXISTS `{schema}`.t", f"CREATE TABLE `{schema}`.t ({columns}) {options}")


@pytest.fixture
def lease(pair: Pair) -> Iterator[None]:
    pair.target.execute("DROP DATABASE IF EXISTS mysql_ferry", *DDL)
    yield
    pair.target.execute("DROP DATABASE mysql_ferry")


def _hold(pair: Pair, uid: str, phase: str, *tables: str, cutover: str = "{}") -> None:
    with pair.target.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "REPLACE INTO mysql_ferry.lease (ferry_uid, name, epoch, phase, source_id, tables, sessions, cutover) "
            "VALUES (%s, %s, 1, %s, '', %s, 0, %s)",
            (uid, f"shop/{uid[:4]}", phase, json.dumps(tables), cutover),
        )


def test_a_missing_table(pair: Pair, tables: str) -> None:
    found = told(check(pair.source, pair.target, tables, schema={"create": "Never"}))
    assert f"does not have {tables}.t" in found["TargetTableMissing"]
    assert not told(check(pair.source, pair.target, tables))


def test_a_target_that_would_change_created_tables(mysql_pair: Pair, schema: str) -> None:
    """MariaDB has no such variable."""
    pair = mysql_pair
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT NOT NULL UNIQUE)")
    pair.target.execute(
        f"DROP USER IF EXISTS {POOR}",
        f"CREATE USER {POOR} IDENTIFIED BY '{PASSWORD}'",
        f"GRANT ALL ON `{schema}`.* TO {POOR}",
        f"GRANT ALL ON mysql_ferry.* TO {POOR}",
    )
    with set_global(pair.target, "sql_generate_invisible_primary_key = 1"):
        with opened(pair.source, pair.target, schema, target_user=POOR) as context:
            found = told(run_checks(context))
        assert "SET GLOBAL sql_generate_invisible_primary_key = OFF" in found["TargetChangesDefinitions"]
        assert "TargetChangesDefinitions" not in told(check(pair.source, pair.target, schema)), "root may set it"
    pair.target.execute(f"DROP USER {POOR}")


def test_an_empty_table_equal_to_the_sources(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    assert not told(check(pair.source, pair.target, tables, schema={"create": "Never"}))


GENERATED = "twice INT AS (v * 2) VIRTUAL"
DIFFERENT = [
    (
        f"id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, {GENERATED.replace('v *', '2 *')}, UNIQUE (name)",
        "v is missing",
    ),
    (f"{SOURCE_TABLE}, more INT", "more is not on the source"),
    (SOURCE_TABLE.replace("v INT", "v BIGINT"), "v is bigint and not int"),
    (SOURCE_TABLE.replace("v INT", "v INT NOT NULL"), "v is NOT NULL on the target only"),
    (SOURCE_TABLE.replace(GENERATED, "twice INT"), "twice is generated on the source only"),
    (SOURCE_TABLE.replace("v * 2", "v + 2"), "twice is generated as "),
    (f"{SOURCE_TABLE}, CHECK (v < 7)", "< 7"),
    (SOURCE_TABLE.replace("VARCHAR(20)", "VARCHAR(20) CHARACTER SET latin1"), "name has the character set of latin1"),
    (SOURCE_TABLE.replace("VARCHAR(20)", "VARCHAR(20) COLLATE utf8mb4_general_ci"), "other values count as equal"),
    (f"{SOURCE_TABLE}, UNIQUE KEY late (v)", "UNIQUE index late (v) is not on the source"),
    (SOURCE_TABLE.replace("KEY n (name)", "KEY n (name(3))"), "one row could replace another"),
    (SOURCE_TABLE.replace("id INT PRIMARY KEY", "id INT, PRIMARY KEY (id, name)"), "no UNIQUE index over the key (id)"),
]


@pytest.mark.parametrize(("columns", "said"), DIFFERENT, ids=[said[:20] for _, said in DIFFERENT])
def test_a_table_that_differs_from_the_sources(pair: Pair, tables: str, columns: str, said: str) -> None:
    _on_target(pair, tables, columns)
    found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["TargetTableDiffers"]
    assert said in found["TargetTableDiffers"]
    assert "drop it" in found["TargetTableDiffers"]


THIN = "CHARACTER SET utf8mb3 COLLATE utf8mb3"
NARROW = f"""k VARCHAR(20) {THIN}_general_ci PRIMARY KEY, u CHAR(5) {THIN}_bin UNIQUE, t TEXT {THIN}_unicode_ci,
  a VARCHAR(9) CHARACTER SET ascii COLLATE ascii_general_ci UNIQUE, e ENUM('a', 'é') {THIN}_general_ci,
  g VARCHAR(25) {THIN}_unicode_ci AS (CONCAT(k, '!')) STORED"""
WIDE = NARROW.replace("utf8mb3", "utf8mb4").replace("ascii", "utf8mb4")
UNLIKE = [
    (WIDE.replace("_general_ci PRIMARY", "_unicode_ci PRIMARY"), "not utf8mb4_general_ci, so other values count as"),
    (WIDE.replace("_bin UNIQUE", "_general_ci UNIQUE"), "u has the collation utf8mb4_general_ci and not utf8mb4_bin"),
    (WIDE.replace("utf8mb4_unicode_ci,", "utf8mb4_unicode_ci UNIQUE,").replace("TEXT", "CHAR(9)"), "t is char(9) and"),
    (WIDE.replace("TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4", "TEXT CHARACTER SET ucs2 COLLATE ucs2"), "of ucs2_"),
]


def test_a_wider_character_set_made_by_hand(pair: Pair, schema: str) -> None:
    """Where the collation keeps its name, or the column is in no UNIQUE index."""
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({NARROW})")
    pair.target.execute(f"CREATE DATABASE `{schema}`")
    for columns in (
        WIDE,
        WIDE.replace("TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "TEXT COLLATE utf8mb4_bin"),
    ):
        _on_target(pair, schema, columns)
        assert not told(check(pair.source, pair.target, schema))
    for columns, said in UNLIKE:
        _on_target(pair, schema, columns)
        assert said in told(check(pair.source, pair.target, schema))["TargetTableDiffers"]
    pair.source.execute(f"DROP TABLE `{schema}`.t", f"CREATE TABLE `{schema}`.t ({WIDE})")
    _on_target(pair, schema, NARROW)
    assert (
        "k has the character set of utf8mb3_general_ci"
        in told(check(pair.source, pair.target, schema))["TargetTableDiffers"]
    )


RICH = r"""id INT PRIMARY KEY, v INT, name VARCHAR(20), d DATETIME, doc JSON,
  a INT AS (-1 + v * -(2) DIV 3), b VARCHAR(99) AS (CONCAT('x', name, _latin1'a', 'é', '\\', '''', '\n')) STORED,
  c INT AS (CASE WHEN v IN (1, 2) AND NOT v <=> 3 OR name LIKE 'a%' THEN 1 ELSE NULL END),
  e DATETIME AS (d + INTERVAL 1 DAY) STORED, f JSON AS (JSON_EXTRACT(doc, '$.a')), g CHAR(9) AS (CAST(v AS CHAR)),
  h INT AS (v IS NULL XOR v BETWEEN 1 AND 2), CHECK (v > 0 OR name REGEXP '^[a-z]'), CHECK (name <> 'é')"""


def test_a_table_created_from_the_sources_definition(pair: Pair, schema: str) -> None:
    pair.source.execute(f"USE `{schema}`", f"CREATE TABLE t ({RICH}) CHARACTER SET utf8mb4")
    words = pair.source.query(f"SHOW CREATE TABLE `{schema}`.t")[0][1]
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"USE `{schema}`", words)
    assert not told(check(pair.source, pair.target, schema))


def test_another_engine_or_a_view(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE, "ENGINE=MyISAM CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    assert "engine MyISAM" in told(check(pair.source, pair.target, tables))["TargetTableDiffers"]
    pair.target.execute(f"DROP TABLE `{tables}`.t", f"CREATE VIEW `{tables}`.t AS SELECT 1 AS id")
    assert "it is a view" in told(check(pair.source, pair.target, tables))["TargetTableDiffers"]


def test_an_expression_index_only_on_the_target(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v INT)")
    mysql_pair.target.execute(
        f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v INT, UNIQUE KEY e ((v % 10)))"
    )
    found = told(check(mysql_pair.source, mysql_pair.target, schema))
    assert "UNIQUE index e" in found["TargetTableDiffers"]


def test_a_generated_invisible_key(mysql_pair: Pair, schema: str) -> None:
    for server in (mysql_pair.source, mysql_pair.target):
        server.execute(
            f"CREATE DATABASE IF NOT EXISTS `{schema}`",
            "SET sql_generate_invisible_primary_key = ON",
            f"CREATE TABLE `{schema}`.t (v INT)",
        )
    assert not told(check(mysql_pair.source, mysql_pair.target, schema))


def test_rows_that_belong_to_nobody(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    pair.target.execute(f"INSERT INTO `{tables}`.t (id, name) VALUES (1, 'x')")
    found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["TargetNotEmpty"]
    assert f"that this Ferry did not write are in {tables}.t" in found["TargetNotEmpty"]
    assert pair.target.value(f"SELECT COUNT(*) FROM `{tables}`.t") == 1


@pytest.mark.usefixtures("lease")
def test_rows_that_our_lease_claims(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    pair.target.execute(f"INSERT INTO `{tables}`.t (id, name) VALUES (1, 'x')")
    _hold(pair, FERRY_UID, "Copying", f"{tables}.t")
    results = check(pair.source, pair.target, tables, started={f"{tables}.t"})
    assert not told(results)
    assert "ForgottenRows" not in told(results, Status.WARNING)
    results = check(pair.source, pair.target, tables)
    assert not told(results)
    warned = told(results, Status.WARNING)["ForgottenRows"]
    assert f"rows of an earlier run of this Ferry are in {tables}.t" in warned
    assert "a run deletes these rows and copies the tables again" in warned
    with opened(pair.source, pair.target, tables) as context:
        context.copied_again = {f"{tables}.t"}
        assert "ForgottenRows" not in told(run_checks(context), Status.WARNING)
    _hold(pair, FERRY_UID, "Copying", f"{tables}.another")
    assert list(told(check(pair.source, pair.target, tables))) == ["TargetNotEmpty"]


@pytest.mark.usefixtures("lease")
def test_rows_in_a_table_that_we_have_claimed_and_not_written_to(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    _hold(pair, FERRY_UID, "Claimed", f"{tables}.t")
    assert not told(check(pair.source, pair.target, tables))
    pair.target.execute(f"INSERT INTO `{tables}`.t (id, name) VALUES (1, 'x')")
    for stateless, restart in ((False, False), (True, False), (True, True)):
        with opened(pair.source, pair.target, tables) as context:
            context.stateless, context.restart = stateless, restart
            found = told(run_checks(context))
        assert list(found) == ["TargetNotEmpty"]
        assert f"rows that this Ferry did not write are in {tables}.t" in found["TargetNotEmpty"]
    assert not told(check(pair.source, pair.target, tables, started={f"{tables}.t"})), "an earlier version wrote them"


@pytest.mark.usefixtures("lease")
def test_a_target_that_was_cut_over(pair: Pair, tables: str) -> None:
    _hold(pair, FERRY_UID, "Completed", f"{tables}.t")
    found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["AlreadyCutOver"]
    pair.target.execute(found["AlreadyCutOver"].partition("and DELETE")[2].join(["DELETE", ""]))
    assert not told(check(pair.source, pair.target, tables))


@pytest.mark.usefixtures("lease")
def test_an_aborted_ferry(pair: Pair, tables: str) -> None:
    _hold(pair, FERRY_UID, "Aborted", f"{tables}.t")
    found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["Aborted"]
    assert "ferry cleanup" in found["Aborted"]


@pytest.mark.usefixtures("lease")
def test_tables_of_another_ferry(pair: Pair, tables: str) -> None:
    _hold(pair, OTHER_UID, "Streaming", f"{tables}.t")
    found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["TargetOwnedByAnotherFerry"]
    assert f"metadata.uid: {OTHER_UID}" in found["TargetOwnedByAnotherFerry"]
    for phase, name, reasons in [
        ("Streaming", f"{tables}.other", []),
        ("Aborted", f"{tables}.t", []),
        ("Completed", f"{tables}.t", ["AlreadyCutOver"]),
    ]:
        _hold(pair, OTHER_UID, phase, name)
        found = told(check(pair.source, pair.target, tables))
        assert list(found) == reasons, phase
    assert f"{tables}.t of this Ferry too" in found["AlreadyCutOver"]
    assert f"Only if none of {tables}.t is live any more" in found["AlreadyCutOver"]


def test_triggers(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    pair.target.execute(f"CREATE TRIGGER `{tables}`.tg BEFORE INSERT ON `{tables}`.t FOR EACH ROW SET NEW.v = 1")
    found = told(check(pair.source, pair.target, tables))
    assert f"tg on {tables}.t" in found["TargetTriggers"]
    known = check(pair.source, pair.target, tables, acknowledge=["TargetTriggers"])
    assert not told(known)
    assert "TargetTriggers" in told(known, Status.ACKNOWLEDGED)


@pytest.mark.usefixtures("lease")
def test_a_source_that_is_already_read_only(pair: Pair, tables: str) -> None:
    with set_global(pair.source, "read_only = ON"):
        found = told(check(pair.source, pair.target, tables))
        unlocked = check(pair.source, pair.target, tables, cutover={"sourceLock": "None"})
        _hold(pair, FERRY_UID, "Streaming", f"{tables}.t")
        assert "SourceReadOnly" in told(check(pair.source, pair.target, tables))
        _hold(pair, FERRY_UID, "CuttingOver", f"{tables}.t", cutover='{"read_only": 0}')
        ours = check(pair.source, pair.target, tables)
    assert "cutover.sourceLock: None" in found["SourceReadOnly"]
    assert not told(unlocked)
    assert not told(ours)


def test_writers_that_read_only_does_not_stop(mariadb_pair: Pair, schema: str) -> None:
    source = mariadb_pair.source
    source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)",
        "CREATE OR REPLACE USER preflight_writer@'%'",
        "GRANT READ ONLY ADMIN ON *.* TO preflight_writer@'%'",
    )
    try:
        plain = check(source, mariadb_pair.target, schema)
        known = check(source, mariadb_pair.target, schema, acknowledge=["PrivilegedWriters"])
        unlocked = check(source, mariadb_pair.target, schema, cutover={"sourceLock": "None"})
    finally:
        source.execute("DROP USER preflight_writer@'%'")
    assert "'preflight_writer'@'%'" in told(plain, Status.WARNING)["PrivilegedWriters"]
    assert "PrivilegedWriters" in told(known, Status.ACKNOWLEDGED)
    assert "PrivilegedWriters" not in told(unlocked, Status.WARNING)
    assert not told(plain)


def test_scheduled_events(pair: Pair, tables: str) -> None:
    pair.source.execute(f"CREATE EVENT `{tables}`.e ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DO SELECT 1")
    with set_global(pair.source, "event_scheduler = ON"):
        results = check(pair.source, pair.target, tables)
        locked = check(pair.source, pair.target, tables, cutover={"sourceLock": "LockTables"})
        without = check(pair.source, pair.target, tables, cutover={"sourceLock": "None"})
    assert not told(results)
    assert "scheduled events: they fail" in told(results, Status.WARNING)["EventsEnabled"]
    assert "what they write to locked tables waits" in told(locked, Status.WARNING)["EventsEnabled"]
    assert "EventsEnabled" not in told(without, Status.WARNING)


def test_sequences_give_numbers_in_spite_of_locks_on_tables(mariadb_pair: Pair, schema: str) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"CREATE SEQUENCE `{schema}`.numbers")
    locked = told(check(source, target, schema, cutover={"sourceLock": "LockTables"}), Status.WARNING)
    assert f"({schema}.numbers)" in locked["SequencesNotLocked"]
    assert "SequencesNotLocked" not in told(check(source, target, schema), Status.WARNING)
    link = source.connect()
    link.cursor().execute(f"LOCK TABLES `{schema}`.t READ, `{schema}`.numbers READ")
    assert int(source.value(f"SELECT NEXTVAL(`{schema}`.numbers)")) == 1
    link.close()


def test_prepared_transactions(pair: Pair, tables: str) -> None:
    pair.source.execute(
        "XA START 'preflight'",
        f"INSERT INTO `{tables}`.t (id, name) VALUES (1, 'x')",
        "XA END 'preflight'",
        "XA PREPARE 'preflight'",
    )
    try:
        results = check(pair.source, pair.target, tables)
    finally:
        pair.source.execute("XA ROLLBACK 'preflight'")
    assert not told(results)
    assert "prepared XA transactions" in told(results, Status.WARNING)["PreparedTransactions"]
    if pair.flavor is Flavor.MYSQL:
        assert "PrivilegedWriters" not in told(results, Status.WARNING)


@pytest.mark.usefixtures("lease")
def test_rows_of_ours_whose_state_is_missing(pair: Pair, tables: str) -> None:
    _on_target(pair, tables, SOURCE_TABLE)
    pair.target.execute(f"INSERT INTO `{tables}`.t (id, v, name) VALUES (1, 1, 'a')")
    _hold(pair, FERRY_UID, "Copying", f"{tables}.t")

    def found(status: Status, **what: bool) -> dict[str, str]:
        with opened(pair.source, pair.target, tables) as context:
            for name, value in what.items():
                setattr(context, name, value)
            return told(run_checks(context), status)

    assert f"to {tables}.t, but there is no" in found(Status.FAILED, stateless=True)["StateMissing"]
    for what in ({"stateless": True, "restart": True}, {"stateless": False}):
        assert "StateMissing" not in found(Status.FAILED, **what)
        ours = f"rows of an earlier run of this Ferry are in {tables}.t"
        assert ours in found(Status.WARNING, **what)["ForgottenRows"]
    for phase in ("Completed", "Aborted"):
        _hold(pair, FERRY_UID, phase, f"{tables}.t")
        assert "StateMissing" not in found(Status.FAILED, stateless=True), "no --restart brings that back"
    _hold(pair, FERRY_UID, "Copying", f"{tables}.t")
    pair.target.execute(f"DELETE FROM `{tables}`.t")
    assert "StateMissing" not in found(Status.FAILED, stateless=True), "there is nothing to lose"


@pytest.mark.usefixtures("lease")
def test_a_claim_of_an_earlier_version_may_mean_two_tables(pair: Pair) -> None:
    """They are refused to others, and do not count as ours either."""
    _hold(pair, FERRY_UID, "Copying", "a.b.c", "a.d", "`a.b`.e")
    with Session(pair.target.endpoint("target"), Purpose.CONTROL) as session:
        (found,) = read_leases(session)
    assert found.tables == {TableName("a", "d"), TableName("a.b", "e")}
    assert found.perhaps == {TableName("a", "b.c"), TableName("a.b", "c")}


@pytest.mark.parametrize("table", ["lease", "checkpoint", "holder"])
def test_a_schema_of_somebody_else_with_our_name_is_refused(pair: Pair, table: str) -> None:
    target = pair.target
    target.execute("DROP DATABASE IF EXISTS mysql_ferry", DDL[0])
    target.execute(f"CREATE TABLE mysql_ferry.{table} (ferry_uid INT, name VARCHAR(9))")
    try:
        with Session(target.endpoint("target"), Purpose.CONTROL) as session, pytest.raises(ConfigError) as refused:
            read_leases(session)
    finally:
        target.execute("DROP DATABASE mysql_ferry")
    assert refused.value.reason == "StateUnusable"
    assert f"mysql_ferry.{table} was not made by mysql-ferry: it lacks " in refused.value.message
    assert "epoch" in refused.value.message


def test_settings_that_do_not_go_together(pair: Pair, tables: str) -> None:
    hook = {"url": "http://gate.test/", "timeout": "11s"}
    hooks = {"sourceLock": "Webhook", "webhooks": {"lock": hook, "unlock": hook}}
    rules = {"include": [f"{tables}.*"], "rules": [{"match": f"{tables}.*", "where": "id > 0"}]}
    schema = {"create": "Never", "onNewTable": "Copy"}
    found = told(check(pair.source, pair.target, tables, cutover=hooks, tables=rules, schema=schema), Status.WARNING)
    assert "stop the writes to all rows of" in found["FilteredTablesNotLocked"]
    assert "(11s) is longer than cutover.deadline (10s)" in found["WebhookTimeoutTooLong"]
    assert "schema.create is Never" in found["NewTablesNotCreated"]
    unused = told(check(pair.source, pair.target, tables, cutover=hooks | {"sourceLock": "ReadOnly"}), Status.WARNING)
    assert "set sourceLock to Webhook if they are to stop the writes" in unused["WebhooksNotCalled"]
    apart = ({"cutover": hooks | {"deadline": "11s"}}, {"tables": rules}, {"schema": {"onNewTable": "Copy"}})
    for fields in apart:
        warned = told(check(pair.source, pair.target, tables, **fields), Status.WARNING)
        assert (
            not {*("FilteredTablesNotLocked", "WebhookTimeoutTooLong", "WebhooksNotCalled", "NewTablesNotCreated")}
            & warned.keys()
        )


def test_a_window_of_the_cutover_that_has_passed(pair: Pair, tables: str) -> None:
    found = check(pair.source, pair.target, tables, cutover={"notAfter": "2026-01-01T00:00:00Z"})
    assert "cutover.notAfter" in told(found, Status.WARNING)["WindowMissed"]
    assert "WindowMissed" not in told(check(pair.source, pair.target, tables), Status.WARNING)
