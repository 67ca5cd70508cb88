"""Facts about versions. That they are true is tested on the servers: ``make test-versions``."""

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.version import ServerVersion


@pytest.mark.parametrize(
    ("text", "flavor", "number"),
    [
        ("8.0.15", Flavor.MYSQL, (8, 0, 15)),
        ("5.7.22-log", Flavor.MYSQL, (5, 7, 22)),
        ("9.7.4-2", Flavor.MYSQL, (9, 7, 4)),
        ("5.5.5-10.5.23-MariaDB-0+deb11u1-log", Flavor.MARIADB, (10, 5, 23)),
        ("11.8.9-MariaDB-0+deb13u1 from Debian-log", Flavor.MARIADB, (11, 8, 9)),
        ("8.0-managed", Flavor.MYSQL, (8, 0, 0)),
        ("unknown", Flavor.MYSQL, (0, 0, 0)),
    ],
)
def test_the_number_is_read(text: str, flavor: Flavor, number: tuple[int, ...]) -> None:
    version = ServerVersion(text)
    assert (version.flavor, version.number) == (flavor, number)
    assert str(version) == f"{flavor.value} {text}"


@pytest.mark.parametrize(
    ("text", "hidden", "status", "replica", "replicas"),
    [
        ("5.7.22-log", "FALSE", "SHOW MASTER STATUS", "SHOW SLAVE STATUS", "SHOW SLAVE HOSTS"),
        ("8.0.15", "is_visible = 'NO'", "SHOW MASTER STATUS", "SHOW SLAVE STATUS", "SHOW SLAVE HOSTS"),
        ("8.0.33", "is_visible = 'NO'", "SHOW MASTER STATUS", "SHOW REPLICA STATUS", "SHOW REPLICAS"),
        ("9.7.4", "is_visible = 'NO'", "SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS", "SHOW REPLICAS"),
        ("10.5.23-MariaDB", "FALSE", "SHOW BINLOG STATUS", "SHOW ALL SLAVES STATUS", "SHOW SLAVE HOSTS"),
        ("11.8.9-MariaDB", "ignored = 'YES'", "SHOW BINLOG STATUS", "SHOW ALL SLAVES STATUS", "SHOW SLAVE HOSTS"),
    ],
)
def test_each_server_is_asked_in_its_own_words(
    text: str, hidden: str, status: str, replica: str, replicas: str
) -> None:
    version = ServerVersion(text)
    assert (version.hidden_index, version.binlog_status) == (hidden, status)
    assert (version.replica_status, version.replicas) == (replica, replicas)


@pytest.mark.parametrize(
    ("text", "before", "dynamic", "routines", "records", "retention"),
    [
        ("5.7.22-log", True, False, ("SELECT", "mysql.proc"), False, "expire_logs_days"),
        ("8.0.15", False, True, ("SELECT", "*.*"), True, "binlog_expire_logs_seconds"),
        ("9.7.4", False, True, ("SHOW_ROUTINE", "*.*"), True, "binlog_expire_logs_seconds"),
        ("10.5.23-MariaDB", False, False, ("SELECT", "mysql.proc"), False, "expire_logs_days"),
        ("11.8.9-MariaDB", False, False, ("SELECT", "mysql.proc"), False, "binlog_expire_logs_seconds"),
    ],
)
def test_what_mysql_5_7_lacks(
    text: str, before: bool, dynamic: bool, routines: tuple[str, str], records: bool, retention: str
) -> None:
    version = ServerVersion(text)
    assert (version.before_8, not version.shows_members) == (before, before)
    assert (bool(version.unprinted_collations), bool(version.removed_sql_modes)) == (before, before)
    assert (version.dynamic_privileges, version.routine_privilege) == (dynamic, routines)
    assert (version.records_setter, version.retention_variable) == (records, retention)
