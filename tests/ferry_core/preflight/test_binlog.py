import pytest

from ferry_core.binlog.handshake import server_id_of
from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status, run_checks
from tests.conftest import ServerFactory
from tests.support.preflight import FERRY_UID, check, opened, registered, told
from tests.support.servers import Pair, set_global

TABLE = "CREATE TABLE `{}`.t (id INT PRIMARY KEY)"


@pytest.fixture
def tables(pair: Pair, schema: str) -> str:
    pair.source.execute(TABLE.format(schema))
    return schema


def test_a_fresh_server_passes(pair: Pair, tables: str) -> None:
    results = check(pair.source, pair.target, tables)
    for result in results:
        print(result)
    assert not told(results)
    assert {result.name for result in results} > {"versions", "GTIDs", "privileges: write", "sizes"}


SETTINGS = [
    ("binlog_format = STATEMENT", "BinlogFormatNotRow", "SET GLOBAL binlog_format = ROW"),
]
MYSQL_SETTINGS = [
    ("server_id = 0", "ServerIdZero", "SET GLOBAL server_id"),  # MariaDB takes 1 as the lowest
]


def _refused(pair: Pair, schema: str, setting: str, reason: str, fix: str) -> None:
    with set_global(pair.source, setting):
        found = told(check(pair.source, pair.target, schema))
    print(found)
    assert list(found) == [reason]
    assert fix in found[reason]


@pytest.mark.parametrize(("setting", "reason", "fix"), SETTINGS)
def test_settings(pair: Pair, tables: str, setting: str, reason: str, fix: str) -> None:
    _refused(pair, tables, setting, reason, fix)


@pytest.mark.parametrize(("setting", "reason", "fix"), MYSQL_SETTINGS)
def test_settings_of_mysql(mysql_pair: Pair, schema: str, setting: str, reason: str, fix: str) -> None:
    mysql_pair.source.execute(TABLE.format(schema))
    _refused(mysql_pair, schema, setting, reason, fix)


def test_mixed_format_is_refused_until_it_is_acknowledged(pair: Pair, tables: str) -> None:
    with set_global(pair.source, "binlog_format = MIXED"):
        found = told(check(pair.source, pair.target, tables))
        known = check(pair.source, pair.target, tables, acknowledge=["BinlogFormatNotRow"])
    assert list(found) == ["BinlogFormatNotRow"]
    assert "others do not stop it; SET GLOBAL binlog_format = ROW" in found["BinlogFormatNotRow"]
    assert "acknowledge: [BinlogFormatNotRow]" in found["BinlogFormatNotRow"]
    assert not told(known)
    assert "BinlogFormatNotRow" in told(known, Status.ACKNOWLEDGED)


def test_gtids_are_needed_only_by_a_run_that_began_with_them(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(TABLE.format(schema))
    with set_global(mysql_pair.source, "gtid_mode = ON_PERMISSIVE"):
        with opened(mysql_pair.source, mysql_pair.target, schema) as context:
            results = run_checks(context)
        with opened(mysql_pair.source, mysql_pair.target, schema) as context:
            context.by_gtid = True
            refused = told(run_checks(context))
    assert not told(results)
    assert "every read that copies rows locks them" in told(results, Status.WARNING)["GtidModeOff"]
    assert "this Ferry began with GTIDs" in refused["GtidModeOff"]


def test_the_source_has_our_server_id(pair: Pair, tables: str) -> None:
    with set_global(pair.source, f"server_id = {server_id_of(FERRY_UID)}"):
        found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["ServerIdClash"]
    assert "already used by the source itself; give that one another server_id" in found["ServerIdClash"]


def test_a_replica_has_our_server_id(pair: Pair, tables: str) -> None:
    with registered(pair.source, server_id_of(FERRY_UID)):
        found = told(check(pair.source, pair.target, tables))
    assert list(found) == ["ServerIdClash"]
    assert "already used by its replica at reporter.test" in found["ServerIdClash"]


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
def test_row_images_that_are_read(pair: Pair, tables: str, image: str) -> None:
    with set_global(pair.source, f"binlog_row_image = {image}"):
        assert not told(check(pair.source, pair.target, tables))


def test_a_row_image_that_is_not_read(pair: Pair, tables: str) -> None:
    with opened(pair.source, pair.target, tables) as context:
        # No server here can be set so: MariaDB 11.4 has it.
        context.source_facts.variables["binlog_row_image"] = "FULL_NODUP"
        found = told(run_checks(context))
    assert list(found) == ["BinlogRowImage"]
    assert "SET GLOBAL binlog_row_image = FULL" in found["BinlogRowImage"]


def test_warnings(pair: Pair, tables: str) -> None:
    settings = ["binlog_expire_logs_seconds = 3600"]
    if pair.flavor is Flavor.MARIADB:
        settings.append("gtid_strict_mode = OFF")
    with set_global(pair.source, *settings):
        results = check(pair.source, pair.target, tables)
    found = told(results, Status.WARNING)
    assert not told(results)
    assert "after 3600 s (1.0 h)" in found["BinlogRetentionShort"]
    assert ("GtidStrictModeOff" in found) == (pair.flavor is Flavor.MARIADB)


def test_a_source_without_binlog(pair: Pair, make_server: ServerFactory, schema: str) -> None:
    flags: dict[str, bool] = {"gtid_mode": False, "enforce_gtid_consistency": False}
    server = make_server(pair.family.value, log_bin=False, **(flags if pair.flavor is Flavor.MYSQL else {}))
    server.execute(f"CREATE DATABASE `{schema}`", TABLE.format(schema))
    found = told(check(server, pair.target, schema))
    assert "start it with log_bin" in found["BinlogDisabled"]


def test_a_binlog_that_leaves_schemas_out(pair: Pair, make_server: ServerFactory, schema: str) -> None:
    server = make_server(pair.family.value, binlog_ignore_db="other")
    server.execute(f"CREATE DATABASE `{schema}`", TABLE.format(schema))
    found = told(check(server, pair.target, schema))
    assert list(found) == ["BinlogFiltered"]
    assert "binlog_ignore_db=other" in found["BinlogFiltered"]


def test_a_source_that_replicates(pair: Pair, tables: str) -> None:
    target = pair.target
    if pair.flavor is Flavor.MYSQL:
        start = [
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{target.host}', SOURCE_PORT={target.port}, SOURCE_USER='x'",
            "START REPLICA SQL_THREAD",
        ]
        stop = ["STOP REPLICA", "RESET REPLICA ALL"]
    else:
        start = [
            f"CHANGE MASTER TO MASTER_HOST='{target.host}', MASTER_PORT={target.port}, MASTER_USER='x'",
            "START SLAVE SQL_THREAD",
        ]
        stop = ["STOP SLAVE", "RESET SLAVE ALL"]
    try:
        pair.source.execute(*start)
        locked = check(pair.source, target, tables)
        unlocked = check(pair.source, target, tables, cutover={"sourceLock": "None"})
        acknowledged = check(
            pair.source, target, tables, cutover={"sourceLock": "None"}, acknowledge=["SourceIsReplica"]
        )
        pair.source.execute(stop[0])
        stopped = check(pair.source, target, tables)
    finally:
        pair.source.execute(*stop)
    if pair.flavor is Flavor.MARIADB:  # its log_slave_updates is OFF unless set
        assert "ReplicaChangesNotLogged" in told(stopped)
        locked, unlocked, acknowledged, stopped = (
            [result for result in results if result.reason != "ReplicaChangesNotLogged"]
            for results in (locked, unlocked, acknowledged, stopped)
        )
    assert "STOP REPLICA" in told(locked)["SourceIsReplica"]
    assert "acknowledge: [SourceIsReplica]" in told(unlocked)["SourceIsReplica"]
    assert not told(acknowledged)
    assert "SourceIsReplica" in told(acknowledged, Status.ACKNOWLEDGED)
    assert not told(stopped)
    assert "SourceIsReplica" in told(stopped, Status.WARNING)
