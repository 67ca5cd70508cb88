from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status
from ferry_core.preflight.grants import Grants, schema_pattern
from ferry_core.preflight.privileges import lists_late
from tests.support.preflight import PASSWORD, check, told
from tests.support.servers import Pair, Server

if TYPE_CHECKING:
    from ferry_core.preflight.facts import ServerFacts

SOURCE_USER, TARGET_USER = "preflight_source", "preflight_target"
ON_ALL = {
    Flavor.MYSQL: "REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN",
    Flavor.MARIADB: "REPLICATION SLAVE, BINLOG MONITOR, REPLICA MONITOR, PROCESS",
}
LOCKING = {
    Flavor.MYSQL: "PROCESS, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN",
    Flavor.MARIADB: "READ_ONLY ADMIN",
}
NO_LOCK = {"sourceLock": "None"}


def _user(server: Server, name: str, *grants: str) -> None:
    server.execute(
        f"DROP USER IF EXISTS {name}@'%'",
        f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'",
        *(f"GRANT {grant} TO {name}@'%'" for grant in grants),
    )


@pytest.fixture
def users(pair: Pair, schema: str) -> Iterator[str]:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    _user(pair.source, SOURCE_USER)
    _user(pair.target, TARGET_USER)
    yield schema
    pair.source.execute(f"DROP USER {SOURCE_USER}@'%'")
    pair.target.execute(f"DROP USER {TARGET_USER}@'%'")


def _missing(pair: Pair, schema: str, /, **fields: object) -> list[str]:
    found = told(check(pair.source, pair.target, schema, source_user=SOURCE_USER, target_user=TARGET_USER, **fields))
    return found.get("MissingPrivilege", "").splitlines()


def test_each_missing_privilege_comes_with_a_grant_that_fixes_it(pair: Pair, users: str) -> None:
    """Runs the GRANTs from the messages until none is missing, and then has just enough privileges."""
    for _ in range(3):
        missing = _missing(pair, users)
        if not missing:
            break
        for message in missing:
            print(message)
            grant = message.partition("run there: ")[2]
            if grant:
                (pair.source if message.startswith("source") else pair.target).execute(grant)
    found = told(check(pair.source, pair.target, users, source_user=SOURCE_USER, target_user=TARGET_USER))
    assert not found
    held = "\n".join(row[0] for row in pair.source.query(f"SHOW GRANTS FOR {SOURCE_USER}@'%'"))
    assert "SUPER" not in held
    assert "GRANT OPTION" not in held
    print(held)


def test_an_account_that_cannot_see_open_xa_transactions_is_warned(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    _user(mysql_pair.source, SOURCE_USER, f"{ON_ALL[Flavor.MYSQL]}, PROCESS ON *.*")
    try:
        pair = mysql_pair.source, mysql_pair.target
        warned = told(check(*pair, schema, source_user=SOURCE_USER), Status.WARNING)["OpenXaUnseen"]
        unlocked = check(*pair, schema, source_user=SOURCE_USER, cutover=NO_LOCK)
        assert "OpenXaUnseen" not in told(unlocked, Status.WARNING)
        mysql_pair.source.execute(f"GRANT {warned.partition('GRANT ')[2]}")
        assert "OpenXaUnseen" not in told(check(*pair, schema, source_user=SOURCE_USER), Status.WARNING)
    finally:
        mysql_pair.source.execute(f"DROP USER {SOURCE_USER}@'%'")


def test_source_lock_none_needs_no_lock_privilege(pair: Pair, users: str) -> None:
    pattern = schema_pattern(users, wildcards=True)
    _user(pair.source, SOURCE_USER, f"SELECT ON {pattern}.*", f"{ON_ALL[pair.flavor]} ON *.*")
    _user(pair.target, TARGET_USER, "ALL ON *.*")
    assert not _missing(pair, users, cutover=NO_LOCK)
    (lock,) = _missing(pair, users)
    assert f"GRANT {LOCKING[pair.flavor]} ON *.*" in lock


def test_locks_on_tables_need_their_own_privileges(pair: Pair, users: str) -> None:
    pattern = schema_pattern(users, wildcards=True)
    _user(pair.source, SOURCE_USER, f"SELECT ON {pattern}.*", f"{ON_ALL[pair.flavor]} ON *.*")
    _user(pair.target, TARGET_USER, "ALL ON *.*")
    missing = "\n".join(_missing(pair, users, cutover={"sourceLock": "LockTables"}))
    assert f"GRANT LOCK TABLES ON {pattern}.*" in missing
    assert ("GRANT PROCESS ON *.*" in missing) == (pair.flavor is Flavor.MYSQL)
    pair.source.execute(
        f"GRANT LOCK TABLES ON {pattern}.* TO {SOURCE_USER}@'%'", f"GRANT PROCESS ON *.* TO {SOURCE_USER}@'%'"
    )
    assert not _missing(pair, users, cutover={"sourceLock": "LockTables"})


def test_super_is_enough_where_it_includes_read_only_admin(pair: Pair, users: str) -> None:
    _user(pair.source, SOURCE_USER, "SELECT ON *.*", f"SUPER, PROCESS, {ON_ALL[pair.flavor]} ON *.*")
    _user(pair.target, TARGET_USER, "ALL ON *.*")
    missing = _missing(pair, users)
    if pair.flavor is Flavor.MYSQL:
        assert not missing
    else:
        assert "READ_ONLY ADMIN" in missing[0]


def test_privileges_from_roles_count(pair: Pair, users: str) -> None:
    role = "preflight_role"
    pair.source.execute(f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role}")
    try:
        pair.source.execute(
            f"GRANT {ON_ALL[pair.flavor]} ON *.* TO {role}",
            f"GRANT SELECT ON `{users}`.t TO {role}",
            f"GRANT {role} TO {SOURCE_USER}@'%'",
            f"SET DEFAULT ROLE {role} {'TO' if pair.flavor is Flavor.MYSQL else 'FOR'} {SOURCE_USER}@'%'",
        )
        _user(pair.target, TARGET_USER, "ALL ON *.*")
        assert not _missing(pair, users, cutover=NO_LOCK)
    finally:
        pair.source.execute(f"DROP ROLE {role}")


def test_a_column_privilege_is_not_enough(pair: Pair, users: str) -> None:
    _user(pair.source, SOURCE_USER, f"SELECT (id) ON `{users}`.t", f"{ON_ALL[pair.flavor]} ON *.*")
    _user(pair.target, TARGET_USER, "ALL ON *.*")
    (select,) = _missing(pair, users, cutover=NO_LOCK)
    assert f"lacks SELECT on {users}: t" in select


def test_tables_that_exist_need_fewer_privileges(pair: Pair, users: str) -> None:
    pair.target.execute(f"CREATE DATABASE `{users}`", f"CREATE TABLE `{users}`.t (id INT PRIMARY KEY)")
    sees_triggers = ", TRIGGER" if pair.flavor is Flavor.MYSQL else ""
    _user(
        pair.target, TARGET_USER, f"SELECT, INSERT, DELETE, DROP{sees_triggers} ON `{users}`.*", "ALL ON mysql_ferry.*"
    )
    _user(pair.source, SOURCE_USER, "ALL ON *.*")
    assert not _missing(pair, users, schema={"create": "Never"})
    (create,) = _missing(pair, users)
    assert "GRANT CREATE, ALTER, INDEX, REFERENCES ON" in create


def _grants(*lines: str, wildcards: bool = True, fold: bool = False) -> Grants:
    return Grants(lines, wildcards=wildcards, fold=fold)


def test_schema_wildcards() -> None:
    grants = _grants(r"GRANT SELECT ON `shop\_%`.* TO `u`@`%`", "GRANT INSERT ON `a_c`.* TO `u`@`%`")
    assert grants.on_schema("SELECT", "shop_1")
    assert not grants.on_schema("SELECT", "shopx1")
    assert grants.on_schema("INSERT", "abc")
    assert not grants.on_schema("INSERT", "abbc")
    literal = _grants("GRANT INSERT ON `a_c`.* TO `u`@`%`", wildcards=False)
    assert literal.on_schema("INSERT", "a_c")
    assert not literal.on_schema("INSERT", "abc")


def test_schema_globs() -> None:
    grants = _grants(r"GRANT SELECT ON `shop\_%`.* TO `u`@`%`")
    assert grants.in_schemas_like("SELECT", "shop_*")
    for glob in ("shop*", "*", "shop_?", "shop_*x"):
        assert not grants.in_schemas_like("SELECT", glob)
    assert _grants("GRANT SELECT ON *.* TO `u`@`%`").in_schemas_like("SELECT", "a*")
    partly = _grants("GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `secret`.* FROM `u`@`%`", wildcards=False)
    assert not partly.in_schemas_like("SELECT", "s*")
    assert partly.everywhere("SELECT")


def test_quotes_and_commas_in_names() -> None:
    grants = _grants("GRANT SELECT (`a, ON b`), INSERT ON `sh``op`.`t, x` TO `u`@`%` WITH GRANT OPTION")
    assert grants.on_table("INSERT", "sh`op", "t, x")
    assert not grants.on_table("SELECT", "sh`op", "t, x")
    assert not grants.on_schema("INSERT", "sh`op")


def test_partial_revokes() -> None:
    grants = _grants(
        "GRANT SELECT, INSERT ON *.* TO `u`@`%`", "REVOKE SELECT ON `secret`.* FROM `u`@`%`", wildcards=False
    )
    assert grants.on_schema("SELECT", "shop")
    assert not grants.on_schema("SELECT", "secret")
    assert grants.on_schema("INSERT", "secret")


def test_other_lines_of_show_grants_are_ignored() -> None:
    grants = _grants(
        "GRANT PROXY ON ``@`%` TO `root`@`localhost` WITH GRANT OPTION",
        "GRANT EXECUTE ON PROCEDURE `a`.`p` TO `u`@`%`",
        "GRANT `role`@`%` TO `u`@`%`",
        "SET DEFAULT ROLE `role` FOR `u`@`%`",
        "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*B69027D44F6E5EDC07F1AEAD1477967B16F28227'",
        "GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%`",
    )
    assert grants.on_table("SELECT", "shop", "t")
    assert not grants.everywhere("SELECT")
    assert not grants.on_schema("EXECUTE", "a")


@pytest.mark.parametrize("fold", [False, True])
def test_case(fold: bool) -> None:
    grants = _grants("GRANT SELECT ON `Shop`.`T` TO `u`@`%`", fold=fold)
    assert grants.on_table("SELECT", "shop", "t") is fold


@pytest.mark.parametrize(
    ("mariadb", "version", "late"),
    [
        (True, (11, 8, 9), True),
        (False, (5, 7, 22), True),
        (False, (8, 0, 15), True),
        (False, (8, 0, 30), False),
        (False, (9, 7, 4), False),
    ],
)
def test_where_an_xa_prepare_is_logged_before_it_is_listed(mariadb: bool, version: tuple[int, ...], late: bool) -> None:
    assert lists_late(cast("ServerFacts", SimpleNamespace(mariadb=mariadb, version=version))) is late
