from dataclasses import replace

import pytest

from ferry_core.errors import ConfigError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.version import ServerVersion
from ferry_core.preflight import PreflightContext, Status, refuse_failed, run_checks, servers
from tests.conftest import ServerFactory
from tests.support.preflight import PASSWORD, check, opened, told
from tests.support.servers import Pair, set_global


@pytest.fixture
def tables(pair: Pair, schema: str) -> str:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20) UNIQUE)")
    return schema


@pytest.mark.parametrize(
    ("role", "old", "supported"),
    [
        ("source", {Flavor.MYSQL: "5.7.21-log", Flavor.MARIADB: "10.4.30-MariaDB"}, False),
        ("target", {Flavor.MYSQL: "5.7.44-log", Flavor.MARIADB: "10.4.30-MariaDB"}, False),
        ("source", {Flavor.MYSQL: "5.7.22-log", Flavor.MARIADB: "10.5.1-MariaDB"}, True),
        ("target", {Flavor.MYSQL: "8.0.0", Flavor.MARIADB: "10.5.1-MariaDB"}, True),
    ],
    ids=["old source", "old target", "oldest source", "oldest target"],
)
def test_old_versions(pair: Pair, tables: str, role: str, old: dict[Flavor, str], supported: bool) -> None:
    with opened(pair.source, pair.target, tables) as context:
        getattr(context, role).version = ServerVersion(old[pair.flavor])
        found = {finding.reason.value for finding in servers.CHECKS[0].find(context)}
    assert ("UnsupportedVersion" in found) is not supported


def test_the_same_server_with_another_name(pair: Pair, tables: str) -> None:
    """127.0.0.1 and localhost are spelled differently and lead to one server."""
    with opened(pair.source, pair.source, tables) as context:
        other = replace(context.target.endpoint, host="localhost")
        with Session(other, Purpose.CONTROL) as target:
            same = PreflightContext(context.spec, context.ferry_uid, context.source, target, context.tables)
            found = told(run_checks(same))
    assert "copied onto a source table" in found["SourceIsTarget"]


def test_one_server_with_renames_cannot_be_locked_read_only(pair: Pair, tables: str) -> None:
    selection = {"include": [f"{tables}.*"], "renameSchemas": {tables: f"{tables}_new"}}
    found = told(check(pair.source, pair.source, tables, tables=selection))
    assert "would lock the target too" in found["SourceIsTarget"]
    assert not told(check(pair.source, pair.source, tables, tables=selection, cutover={"sourceLock": "None"}))


def test_servers_that_treat_the_case_of_names_differently(pair: Pair, make_server: ServerFactory, tables: str) -> None:
    if pair.flavor is Flavor.MARIADB:
        target = make_server(pair.family.value, lower_case_table_names=1)
        found = told(check(pair.source, target, tables))
    else:
        with opened(pair.source, pair.target, tables) as context:
            # MySQL fixes it when a data folder is created.
            context.target_facts.variables["lower_case_table_names"] = "1"
            found = told(run_checks(context))
    assert "lower_case_table_names is 0 on source" in found["NameCaseDiffers"]


def test_a_read_only_target(pair: Pair, tables: str) -> None:
    name = "super_read_only" if pair.flavor is Flavor.MYSQL else "read_only"
    with set_global(pair.target, f"{name} = ON"):
        found = told(check(pair.source, pair.target, tables))
    pair.target.execute("SET GLOBAL read_only = OFF")
    assert f"{name}=ON" in found["TargetReadOnly"]
    assert f"{name} = OFF" in found["TargetReadOnly"]


def test_clusters(pair: Pair, tables: str) -> None:
    with opened(pair.source, pair.target, tables) as context:
        # Neither Galera nor the Group Replication plugin is in the test bed.
        context.target_facts.variables["wsrep_on"] = "ON"
        assert "Galera" in told(run_checks(context))["ClusterTarget"]


def test_a_group_that_is_joined_is_a_cluster(mysql_pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mysql_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    with opened(mysql_pair.source, mysql_pair.target, schema) as context:
        context.target_facts.variables["group_replication_group_name"] = "aaaaaaaa-0000-0000-0000-000000000000"
        number = context.target.number
        monkeypatch.setattr(
            context.target, "number", lambda asked: 1 if "replication_group_members" in asked else number(asked)
        )
        assert "Group Replication" in told(run_checks(context))["ClusterTarget"]


def test_a_group_that_is_set_up_but_not_joined_is_no_cluster(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    with opened(mysql_pair.source, mysql_pair.target, schema) as context:
        context.target_facts.variables["group_replication_group_name"] = "aaaaaaaa-0000-0000-0000-000000000000"
        assert not told(run_checks(context))


def test_local_infile_off(pair: Pair, tables: str) -> None:
    with set_global(pair.target, "local_infile = OFF"):
        results = check(pair.source, pair.target, tables)
    assert not told(results)
    assert "SET GLOBAL local_infile = ON" in told(results, Status.WARNING)["LocalInfileDisabled"]


def test_a_smaller_packet_is_a_warning(pair: Pair, tables: str) -> None:
    with set_global(pair.target, f"max_allowed_packet = {4 << 20}"):
        results = check(pair.source, pair.target, tables)
    assert not told(results)
    assert str(4 << 20) in told(results, Status.WARNING)["SmallPacket"]


def test_primary_keys_required(pair: Pair, schema: str) -> None:
    """MySQL lets an account with SESSION_VARIABLES_ADMIN turn it off for itself, and a run does."""
    pair.source.execute(f"CREATE TABLE `{schema}`.u (id INT NOT NULL UNIQUE)")
    mysql = pair.flavor is Flavor.MYSQL
    name = "sql_require_primary_key" if mysql else "innodb_force_primary_key"
    account = f"u_{schema[-6:]}"
    pair.target.execute(f"CREATE USER {account} IDENTIFIED BY '{PASSWORD}'")
    try:
        with set_global(pair.target, f"{name} = ON"):
            found = told(check(pair.source, pair.target, schema))
            plain = told(check(pair.source, pair.target, schema, target_user=account))
    finally:
        pair.target.execute(f"DROP USER {account}")
    assert ("PrimaryKeyRequired" in found) is not mysql
    assert mysql is (not found)
    assert f"{schema}.u have none" in plain["PrimaryKeyRequired"]
    assert not told(check(pair.source, pair.target, schema))


def test_a_collation_that_the_target_does_not_know(pair: Pair, tables: str) -> None:
    with opened(pair.source, pair.target, tables) as context:
        # Servers of one version know the same; this is what one of a later version would send.
        table = context.tables[0]
        columns = tuple(replace(c, collation="utf8mb4_later_ci") if c.collation else c for c in table.columns)
        context.tables = [replace(table, columns=columns)]
        found = told(run_checks(context))
    assert f"utf8mb4_later_ci of {tables}.t" in found["UnknownCollation"]


def test_all_failures_are_reported_at_once(pair: Pair, tables: str) -> None:
    with set_global(pair.target, "read_only = ON"), set_global(pair.source, "binlog_format = STATEMENT"):
        results = check(pair.source, pair.target, tables)
    with pytest.raises(ConfigError) as caught:
        refuse_failed(results)
    assert caught.value.reason == "TargetReadOnly"
    assert "binlog_format" in caught.value.message
    refuse_failed([result for result in results if result.status is not Status.FAILED])
