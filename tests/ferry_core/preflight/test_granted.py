"""The GRANT statements that a check prints give an account on the target what it has on the source."""

from ferry_core.preflight.result import Status
from tests.support.preflight import check
from tests.support.servers import Pair


def test_the_statements_give_the_same(pair: Pair, schema: str) -> None:
    source, target = pair.source, pair.target
    account, to = f"'app_{schema[-6:]}'@'%'", f"{schema}_b"
    source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, a INT, b INT)",
        f"CREATE TABLE `{schema}`.u (id INT PRIMARY KEY)",
        f"CREATE USER {account} IDENTIFIED BY 'a-secret'",
        f"GRANT SELECT, INSERT ON `{schema}`.* TO {account}",
        f"GRANT UPDATE (a, b), DELETE ON `{schema}`.t TO {account}",
        f"GRANT ALTER ON `{schema}`.u TO {account} WITH GRANT OPTION",
    )
    try:
        tables = {"include": [f"{schema}.*"], "renameSchemas": {schema: to}}
        said = {one.name: one for one in check(source, target, schema, tables=tables)}["grants left behind"]
        assert said.status is Status.PASSED
        assert "a-secret" not in said.message
        statements = said.statement.split(";\n")
        mine = [statement for statement in statements if account in statement]
        assert len(mine) == 3
        target.execute(
            f"CREATE DATABASE `{to}`",
            f"CREATE TABLE `{to}`.t (id INT PRIMARY KEY, a INT, b INT)",
            f"CREATE TABLE `{to}`.u (id INT PRIMARY KEY)",
            f"CREATE USER {account} IDENTIFIED BY 'another'",
            *mine,
        )
        expected = {row[0].replace(schema, to) for row in source.query(f"SHOW GRANTS FOR {account}")[1:]}
        assert {row[0] for row in target.query(f"SHOW GRANTS FOR {account}")[1:]} == expected
    finally:
        for server in (source, target):
            server.execute(f"DROP USER IF EXISTS {account}")
