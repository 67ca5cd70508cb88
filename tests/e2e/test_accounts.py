"""Limited accounts: the grants in docs/preflight.md are enough for a whole migration; a missing one is named with its
GRANT.
"""

import json
import re
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import ROOT, FerryCli
from tests.support.servers import Pair, Server

AUTOMATIC = {"mode": "Automatic", "watchFor": "1s"}
PASSWORD = "walks-on-water"


def make_account(server: Server, name: str) -> None:
    server.execute(f"DROP USER IF EXISTS {name}@'%'", f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Parent and child tables, one row filter, and accounts without any privilege on both servers."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE p (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT NOT NULL, FOREIGN KEY (p) REFERENCES p (id)) ENGINE=InnoDB",
        "INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three')",
        "INSERT INTO c VALUES (1, 1), (2, 2)",
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover=AUTOMATIC)
    cli.spec["tables"]["rules"] = [{"match": f"{schema}.p", "where": "id > 0"}]
    for role, server in (("source", pair.source), ("target", pair.target)):
        make_account(server, "ferry")
        cli.credentials(role, "ferry", PASSWORD)
    return cli


def documented(pair: Pair, schema: str) -> tuple[list[str], list[str]]:
    """The statements of the docs for source and target."""
    text = (ROOT / "docs" / "preflight.md").read_text()
    mysql, mariadb, target = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)[:3]
    source = mysql if pair.family is Family.MYSQL else mariadb
    found = [
        [
            line.removesuffix(";").replace("shop.*", f"`{schema}`.*").replace("a-password", PASSWORD)
            for line in block.splitlines()
            if not line.startswith("--")
        ]
        for block in (source, target)
    ]
    return found[0], found[1]


def documented_for_objects(pair: Pair, schema: str) -> tuple[list[str], list[str]]:
    """What ``schema.objects`` needs on source and target besides."""
    text = (ROOT / "docs" / "preflight.md").read_text()
    reading, creating = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)[3:5]
    other = "MariaDB" if pair.family is Family.MYSQL else "MySQL"
    lines = [
        [
            line.partition(";")[0].replace("shop.*", f"`{schema}`.*")
            for line in block.splitlines()
            if f"-- {other}" not in line
        ]
        for block in (reading, creating)
    ]
    return lines[0], lines[0] + lines[1]


def give(server: Server, statements: list[str]) -> None:
    """Run them as pasted from the docs."""
    server.execute("DROP USER IF EXISTS ferry@'%'", *statements)


@pytest.mark.parametrize("store", ["file", "target"])
def test_the_documented_grants_are_enough(cli: FerryCli, store: str) -> None:
    grants = documented(cli.pair, cli.schema)
    assert [len(lines) for lines in grants] == [5 if cli.pair.family is Family.MYSQL else 4, 3]
    for server, lines in zip((cli.pair.source, cli.pair.target), grants, strict=True):
        give(server, lines)
    if store == "target":
        cli.spec["checkpoint"] = {"store": "Target"}
    done = cli.run()
    assert done.code == 0, done.stderr
    for table in ("p", "c"):
        assert_equal_tables(cli.pair.source, cli.pair.target, f"{cli.schema}.{table}", f"{cli.schema}.{table}")


def test_with_existing_tables_the_first_five_grants_are_enough(cli: FerryCli) -> None:
    """Enough to the end: foreign keys are then the business of whoever created the tables."""
    source, target = documented(cli.pair, cli.schema)
    give(cli.pair.source, source)
    account, tables, *others = target
    cli.pair.target.execute(
        f"CREATE DATABASE `{cli.schema}` CHARACTER SET utf8mb4",
        f"USE `{cli.schema}`",
        "CREATE TABLE p (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT NOT NULL) ENGINE=InnoDB",
    )
    give(cli.pair.target, [account, tables.replace(", CREATE, ALTER, INDEX, REFERENCES", ""), *others])
    cli.spec["schema"] = {"create": "Never"}
    done = cli.run()
    assert done.code == 0, done.stderr
    assert cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.c") == 2


def messages(cli: FerryCli) -> list[str]:
    """Messages of failures from ``ferry check``."""
    done = cli.check("--output", "json")
    answer = json.loads(done.stdout)
    assert done.code == (0 if answer["passed"] else 64)
    return [f"{one['reason']}: {one['message']}" for one in answer["checks"] if one["status"] == "failed"]


def test_the_grants_in_the_messages_are_enough(cli: FerryCli) -> None:
    """Starts with an account without privileges, runs the GRANTs from the messages, and completes a whole migration."""
    seen: list[str] = []
    for _ in range(8):
        said = messages(cli)
        if not said:
            break
        seen += said
        for message in said:
            assert message.startswith(("MissingPrivilege: ", "PatternMatchesNothing: ")), message
            found = re.search(r"(source|target) 127.*?(GRANT .*? ON .*? TO \S+)", message)
            assert found, message
            server = cli.pair.source if found[1] == "source" else cli.pair.target
            server.execute(found[2])
    assert messages(cli) == []
    assert {"source", "target"} <= {word for message in seen for word in message.split()}
    done = cli.run()
    assert done.code == 0, done.stderr


def test_a_missing_privilege_is_named(cli: FerryCli) -> None:
    """``ferry run`` names it too, before it does anything."""
    source, target = documented(cli.pair, cli.schema)
    give(cli.pair.source, source)
    give(cli.pair.target, target)
    cli.pair.source.execute("REVOKE REPLICATION SLAVE ON *.* FROM ferry@'%'")
    cli.run().refused(64, "MissingPrivilege", "source 127.0.0.1", "GRANT REPLICATION SLAVE ON *.* TO")
    cli.assert_nothing_begun()
    cli.pair.source.execute("GRANT REPLICATION SLAVE ON *.* TO ferry@'%'")
    cli.pair.target.execute(f"REVOKE INSERT, DROP ON `{cli.schema}`.* FROM ferry@'%'")
    cli.run().refused(64, "MissingPrivilege", "target 127.0.0.1", "GRANT INSERT, DROP ON")
    cli.assert_nothing_begun()
