"""Reads that lock rows, as without GTIDs, with the privileges that preflight asks for."""

import pytest

from tests.support.preflight import PASSWORD, check, told
from tests.support.servers import Pair

USER = "locking_reader"


@pytest.mark.parametrize(
    "versions",
    [("mysql-8.0.15 without GTIDs", "mysql-9.7"), ("mysql-8.0.33 without GTIDs", "mysql-9.7")],
    ids=" to ".join,
    indirect=True,
)
def test_the_privilege_that_older_releases_need(versions: Pair) -> None:
    source = versions.source
    older = "8.0.15" in source.value("SELECT VERSION()")
    source.execute(
        *("CREATE DATABASE locking", "CREATE TABLE locking.t (id INT PRIMARY KEY)"),
        f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'",
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.* TO {USER}@'%'",
        f"GRANT SELECT ON locking.* TO {USER}@'%'",
    )

    def missing() -> str:
        found = check(source, versions.target, "locking", source_user=USER, cutover={"sourceLock": "None"})
        return told(found).get("MissingPrivilege", "")

    assert ("LOCK TABLES" in missing()) is older, missing()
    if older:
        source.execute(missing().partition("run there: ")[2])
        assert "LOCK TABLES" not in missing()
    with source.connect(user=USER, password=PASSWORD) as link, link.cursor() as cursor:
        cursor.execute("SELECT * FROM locking.t LOCK IN SHARE MODE")
