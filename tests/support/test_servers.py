"""The test bed itself: fixtures, restarts, flags, environment variables."""

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.servers import Pair, given_server, refuse_family, schema_name


def test_a_pair_is_two_servers_with_the_flags_of_a_source(pair: Pair, schema: str) -> None:
    for server in (pair.source, pair.target):
        row = server.query(
            "SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@local_infile, @@max_allowed_packet"
        )[0]
        assert row == (1, "ROW", "FULL", 1, 64 << 20)
    assert pair.source.value("SELECT @@server_id") != pair.target.value("SELECT @@server_id")
    if pair.flavor is Flavor.MYSQL:
        assert pair.source.value("SELECT @@gtid_mode") == "ON"
        assert pair.source.value("SELECT @@server_uuid") != pair.target.value("SELECT @@server_uuid")
    else:
        assert pair.source.value("SELECT @@gtid_strict_mode") == 1
    assert (schema,) in pair.source.query("SHOW DATABASES")
    assert (schema,) not in pair.target.query("SHOW DATABASES")


def test_sessions_of_the_engine_log_in(pair: Pair) -> None:
    with Session(pair.target.endpoint("target"), Purpose.TARGET) as session:
        assert session.flavor is pair.flavor
        assert session.number("SELECT @@local_infile") == 1


def test_a_killed_server_keeps_its_port_and_data(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {schema}.t VALUES (1)")
    port, pid = pair.source.port, pair.source.pid
    pair.source.kill()
    pair.source.start()
    assert pair.source.port == port
    assert pair.source.pid != pid
    assert pair.source.query(f"SELECT id FROM {schema}.t") == [(1,)]
    assert pair.source.error_log.exists()


def test_a_stopped_server_of_a_pair_is_started_for_the_next_test_once(mysql_pair: Pair) -> None:
    mysql_pair.target.stop()


def test_a_stopped_server_of_a_pair_is_started_for_the_next_test_twice(mysql_pair: Pair) -> None:
    assert mysql_pair.target.value("SELECT 1") == 1


@pytest.mark.parametrize("family", list(Family))
def test_flags_go_over_the_defaults(make_server: ServerFactory, family: Family) -> None:
    server = make_server(family, binlog_row_image="MINIMAL", log_bin=False if family is Family.MYSQL else None)
    assert server.query("SELECT @@binlog_row_image, @@log_bin") == [("MINIMAL", 0)]


def test_a_disk_can_be_small(make_server: ServerFactory) -> None:
    server = make_server("mariadb", disk_megabytes=400)
    server.execute("CREATE DATABASE d", "CREATE TABLE d.t (v LONGBLOB)", "INSERT INTO d.t VALUES (REPEAT('x', 1000))")
    assert server.value("SELECT COUNT(*) FROM d.t") == 1


def test_open_and_prepared_transactions_do_not_keep_a_schema_alive(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY) ENGINE=InnoDB")
    holder = pair.source.connect(autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute(f"INSERT INTO {schema}.t VALUES (1)")
    prepared = pair.source.connect()
    with prepared.cursor() as cursor:
        cursor.execute("XA START 'a','b',7")
        cursor.execute(f"INSERT INTO {schema}.t VALUES (2)")
        cursor.execute("XA END 'a','b',7")
        cursor.execute("XA PREPARE 'a','b',7")
    prepared.close()
    pair.source.execute("SET GLOBAL read_only = 1")
    pair.source.drop_schemas(schema)
    assert (schema,) not in pair.source.query("SHOW DATABASES")
    assert not pair.source.query("XA RECOVER")
    holder.close()


def test_servers_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_TEST_MYSQL_SOURCE", "ro%40ot:p:w%2F@db.example:3307")
    server = given_server(Family.MYSQL, "source")
    assert server is not None
    assert (server.host, server.port, server.user, server.password) == ("db.example", 3307, "ro@ot", "p:w/")
    with pytest.raises(pytest.skip.Exception):
        server.stop()
    monkeypatch.setenv("FERRY_TEST_MYSQL_SOURCE", "nonsense")
    with pytest.raises(pytest.UsageError):
        given_server(Family.MYSQL, "source")


def test_a_missing_family_skips_loudly_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NO MYSQL SERVER"):
        refuse_family(Family.MYSQL, "no root")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no root"):
        refuse_family(Family.MYSQL, "no root")


def test_schema_names_are_plain() -> None:
    assert schema_name("test_A[mysql-ü x]", "12ab") == "t_test_a_mysql_ü_x_12ab"
