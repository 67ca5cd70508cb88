"""Tables whose names joined by a dot are the same text, `a`.`b.c` and `a.b`.`c`: each is moved, resumed and dropped
alone. So are two whose names differ only in case.
"""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.servers import Pair

pytestmark = pytest.mark.slow

ROWS = 6_000
UNVERIFIED: dict[str, Any] = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
VERIFIED: dict[str, Any] = {"verify": {"mode": "Final"}, "checkpoint": {"store": "Target"}}
AT_ONCE = {"mode": "Automatic", "watchFor": "0s"}
COMMON: dict[str, Any] = {
    "throttle": {"maxRowsPerSecond": 600},
    "copy": {"chunkTargetBytes": "64Ki", "workers": 2},
    "cutover": {"maxLag": "20s", "watchFor": "0s"},
}
Name = tuple[str, str]


def quoted(name: Name) -> str:
    return ".".join(f"`{part.replace('`', '``')}`" for part in name)


def fill(pair: Pair, name: Name, first: int, value: str) -> None:
    """A table with its own keys and values, so that the progress of one says nothing about the other."""
    numbers = ", ".join(f"({number}, '{value}{number}')" for number in range(first, first + ROWS))
    pair.source.execute(
        f"CREATE DATABASE IF NOT EXISTS `{name[0].replace('`', '``')}`",
        f"CREATE TABLE {quoted(name)} (id INT PRIMARY KEY, v VARCHAR(40) NOT NULL)",
        f"INSERT INTO {quoted(name)} VALUES {numbers}",
    )


def alike(schema: str) -> tuple[Name, Name]:
    return (schema, "b.c"), (f"{schema}.b", "c")


@contextlib.contextmanager
def killed(cli: FerryCli, copied: int) -> Iterator[FerryProcess]:
    """A run that was killed by SIGKILL while it copied. Its restart has no rate limit."""
    with cli.process() as process:
        if "checkpoint" in cli.spec:
            process.arguments = []  # --state would select a file anyway
        process.start().wait_status(lambda status: copied < status["progress"]["rowsCopied"] < 2 * ROWS)
        process.kill()
        cli.spec["throttle"] = {}
        process.manifest = cli.manifest()
        yield process


@pytest.mark.parametrize("spec", [UNVERIFIED, VERIFIED], ids=["state file, unverified", "on the target, verified"])
def test_a_killed_run_resumes_each_of_two_tables_whose_names_join_alike(
    pair: Pair, schema: str, tmp_path: Path, spec: dict[str, Any]
) -> None:
    names = alike(schema)
    fill(pair, names[0], 0, "one")
    fill(pair, names[1], ROWS, "other")
    cli = FerryCli(tmp_path, pair, schema, tables={"include": [f"{schema}*.*"]}, **(COMMON | spec))
    with killed(cli, ROWS // 2) as process:
        process.start().wait_stage("ReadyForCutover")
        assert {one["name"] for one in process.get("/api/v1/tables")["tables"]} == {
            f"{schema}.`b.c`",
            f"`{schema}.b`.c",
        }
        process.post("cutover")
        process.succeed()
    for name in names:
        assert_equal_tables(pair.source, pair.target, name)


def test_ferries_of_tables_whose_names_join_alike_keep_and_drop_their_own(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    mine, other = alike(schema)
    fill(pair, mine, 0, "one")
    fill(pair, other, ROWS, "other")
    begun = FerryCli(
        tmp_path / "begun", pair, schema, tables={"include": [quoted(mine)]}, deletionPolicy="DropTarget", **COMMON
    )
    done = FerryCli(
        tmp_path / "done", pair, schema, tables={"include": [quoted(other)]},
        **(COMMON | {"throttle": {}, "cutover": AT_ONCE}),
    )  # fmt: skip
    done.documents[0]["metadata"]["name"] += "-2"
    with killed(begun, ROWS // 4) as process:
        ended = done.run()
        assert ended.code == 0, ended
        # otherwise nothing is dropped, because the target may be live
        pair.source.execute("SET GLOBAL read_only = OFF")
        cleaned = process.command("cleanup")
    assert (cleaned.code, f"dropped {schema}.`b.c`\n" in cleaned.stdout.replace("; ", "\n")) == (0, True)
    assert begun.target_tables() == [other]
    assert_equal_tables(pair.source, pair.target, other)


@contextlib.contextmanager
def writing(pair: Pair, names: tuple[Name, ...]) -> Iterator[None]:
    """While entered, each table is written to, with values of its own."""
    over = threading.Event()

    def write() -> None:
        with contextlib.closing(pair.source.connect()) as connection, connection.cursor() as cursor:
            number = 0
            while not over.wait(0.005):
                number += 1
                for at, name in enumerate(names):
                    cursor.execute(f"UPDATE {quoted(name)} SET v = '{at} {number}' WHERE id % 97 = {number % 97}")
                    cursor.execute(f"INSERT INTO {quoted(name)} VALUES ({100_000 + number * (at + 1)}, 'new {at}')")
                    cursor.execute(f"DELETE FROM {quoted(name)} WHERE id = {number * (at + 3)}")

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        try:
            yield
        finally:
            over.set()
            written.result()


def test_two_tables_whose_names_differ_in_case_only(pair: Pair, schema: str, tmp_path: Path) -> None:
    """On servers that distinguish them: both hold the same keys, are written to, and the run is killed meanwhile."""
    assert {server.value("SELECT @@lower_case_table_names") for server in (pair.source, pair.target)} == {0}
    names = (schema, "Orders"), (schema, "orders")
    fill(pair, names[0], 0, "one")
    fill(pair, names[1], 0, "other")
    cli = FerryCli(tmp_path, pair, schema, **(COMMON | {"verify": {"mode": "Final"}}))
    with writing(pair, names), killed(cli, ROWS // 2) as process:
        process.start().wait_stage("ReadyForCutover")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        assert {one["name"] for one in process.get("/api/v1/tables")["tables"]} == {
            f"{schema}.Orders",
            f"{schema}.orders",
        }
        process.post("cutover")
        process.succeed()
    for name in names:
        assert_equal_tables(pair.source, pair.target, name)


def test_servers_that_ignore_the_case_of_names(make_server: ServerFactory, tmp_path: Path) -> None:
    """``lower_case_table_names=1`` on both ends: statements of the source spell names in any case. Of MariaDB, because
    MySQL fixes the setting when a data folder is created; 2 needs a file system that ignores case.
    """
    pair = Pair(*(make_server("mariadb", lower_case_table_names=1) for _ in range(2)))
    pair.source.execute(
        "CREATE DATABASE Shop",
        "CREATE TABLE Shop.Customers (Id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE SHOP.Orders (id INT PRIMARY KEY, Customer INT, FOREIGN KEY (customer) REFERENCES CUSTOMERS (ID) "
        "ON DELETE CASCADE ON UPDATE CASCADE)",
        "INSERT INTO shop.customers VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO shop.orders VALUES (1, 1), (2, 1), (3, 2), (4, 3)",
    )
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": ["shop.*"]}, **COMMON) as ferry:
        ferry.start_streaming()
        pair.source.execute(
            "DELETE FROM SHOP.CUSTOMERS WHERE id = 1",
            "UPDATE Shop.Customers SET ID = 7 WHERE id = 2",
            "INSERT INTO sHOP.oRDERS VALUES (5, 3)",
        )
        ferry.cut_over()
    for name in ("customers", "orders"):
        assert assert_equal_tables(pair.source, pair.target, f"shop.{name}").rows in (2, 3)
