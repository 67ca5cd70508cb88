"""A small graph of tables with every kind of cascade, and writers that change it at random.

Rows have few ids, so that they are deleted, moved and used again all the time.
"""

import random
import threading
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pymysql

from tests.support.servers import Server
from tests.support.waits import wait_until
from tests.support.writers import PASSWORD, USER, create_account, seed_of_run

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

IDS = 100
EXPECTED = {1205, 1213, 1062, 1451, 1452, 1290, 1761, 1762, 1836, 3008, 6575}
"""Lock waits, deadlocks, duplicates, refused by a constraint or by its depth, read-only."""

TABLES = (
    "CREATE TABLE region (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE)",
    (
        "CREATE TABLE customer (id INT PRIMARY KEY, region VARCHAR(9), v INT NOT NULL DEFAULT 0, "
        "CONSTRAINT in_region FOREIGN KEY (region) REFERENCES region (code) ON DELETE SET NULL ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, v INT NOT NULL DEFAULT 0, "
        "CONSTRAINT by_customer FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE line (orders INT, n INT, v INT NOT NULL DEFAULT 0, PRIMARY KEY (orders, n), "
        "CONSTRAINT of_order FOREIGN KEY (orders) REFERENCES orders (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE part (orders INT, n INT, k INT, PRIMARY KEY (k, orders, n), "
        "CONSTRAINT of_line FOREIGN KEY (orders, n) REFERENCES line (orders, n) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE note (id INT PRIMARY KEY, n INT, orders INT, "
        "CONSTRAINT on_line FOREIGN KEY (orders, n) REFERENCES line (orders, n) ON DELETE SET NULL ON UPDATE SET NULL)"
    ),
    (
        "CREATE TABLE tree (id INT PRIMARY KEY, p INT, CONSTRAINT above FOREIGN KEY (p) REFERENCES tree (id) "
        "ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE leaf (id INT PRIMARY KEY, t INT, CONSTRAINT of_tree FOREIGN KEY (t) REFERENCES tree (id) "
        "ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE chain (id INT PRIMARY KEY, p INT, CONSTRAINT before_it FOREIGN KEY (p) REFERENCES chain (id) "
        "ON DELETE SET NULL)"
    ),
    "CREATE TABLE one (id INT PRIMARY KEY, other INT)",
    (
        "CREATE TABLE two (id INT PRIMARY KEY, other INT, "
        "CONSTRAINT to_one FOREIGN KEY (other) REFERENCES one (id) ON DELETE CASCADE)"
    ),
    "ALTER TABLE one ADD CONSTRAINT to_two FOREIGN KEY (other) REFERENCES two (id) ON DELETE CASCADE",
)
CHANGES = (
    *("INSERT INTO region VALUES ({a}, '{b}')", "UPDATE region SET code = '{c}' WHERE id = {a}"),
    *("DELETE FROM region WHERE id = {a}", "REPLACE INTO region VALUES ({a}, '{b}')"),
    *("INSERT INTO customer VALUES ({a}, '{b}', {n})", "INSERT INTO customer VALUES ({a}, NULL, {n})"),
    *("UPDATE customer SET region = '{b}' WHERE id = {a}", "UPDATE customer SET id = {b} WHERE id = {a}"),
    *("DELETE FROM customer WHERE id = {a}", "UPDATE customer SET v = {n} WHERE id = {a}"),
    *("INSERT INTO orders VALUES ({a}, {b}, {n})", "UPDATE orders SET customer = {b} WHERE id = {a}"),
    *("UPDATE orders SET id = {b} WHERE id = {a}", "UPDATE orders SET v = {n} WHERE id = {a}"),
    *("INSERT INTO orders VALUES ({a}, {b}, {n})", "DELETE FROM orders WHERE id = {a}"),
    *("INSERT INTO line VALUES ({a}, {k}, {n})", "INSERT INTO line VALUES ({a}, {k}, {n})"),
    *("UPDATE line SET n = {k} + 1 WHERE orders = {a}", "DELETE FROM line WHERE orders = {a} AND n = {k}"),
    *("INSERT INTO part VALUES ({a}, {k}, {n})", "INSERT INTO part SELECT orders, n, {n} FROM line WHERE orders = {a}"),
    *("REPLACE INTO note SELECT {n}, n, orders FROM line WHERE orders = {a}", "DELETE FROM note WHERE id = {n}"),
    *("INSERT INTO tree VALUES ({a}, {b})", "INSERT INTO tree VALUES ({a}, NULL)", "DELETE FROM tree WHERE id = {a}"),
    *(
        "UPDATE tree SET p = {b} WHERE id = {a}",
        "INSERT INTO leaf VALUES ({n}, {a})",
        "DELETE FROM leaf WHERE id = {n}",
    ),
    *(
        "INSERT INTO chain VALUES ({a}, {b})",
        "INSERT INTO chain VALUES ({a}, NULL)",
        "DELETE FROM chain WHERE id = {a}",
    ),
    *("INSERT INTO one VALUES ({a}, NULL)", "INSERT INTO two VALUES ({b}, {a})", "DELETE FROM two WHERE id = {a}"),
    *("UPDATE one SET other = {b} WHERE id = {a}", "DELETE FROM one WHERE id = {a}"),
)


def create(server: Server, schema: str, seed: int, changes: int) -> None:
    """The tables, with the rows that so many random changes leave."""
    server.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"USE `{schema}`")
    server.execute(f"USE `{schema}`", *TABLES)
    rng = random.Random(seed)
    with server.connect(database=schema) as connection:
        for _ in range(changes):
            _try(connection, _statement(rng), Counter())


def _statement(rng: random.Random) -> str:
    numbers = {name: rng.randrange(IDS) for name in "abc"}
    return rng.choice(CHANGES).format(**numbers, k=rng.randrange(4), n=rng.randrange(1000))


def _try(connection: "Connection[Cursor]", statement: str, done: Counter[str]) -> bool:
    """False if the server refuses writes."""
    try:
        with connection.cursor() as cursor:
            done[statement.split(maxsplit=1)[0]] += cursor.execute(statement)
    except pymysql.MySQLError as error:
        if error.args[0] not in EXPECTED:
            raise
        return error.args[0] not in (1290, 1836)
    return True


class RelatedWriters:
    """``with RelatedWriters(server, schema): ...`` writes until then, also while the server refuses it."""

    def __init__(self, server: Server, schema: str, seed: int, threads: int = 3) -> None:
        self._server, self._schema = server, schema
        self._seed = seed_of_run(seed)
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self.done: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> Self:
        create_account(self._server, self._schema)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        print(f"  rows written: {dict(self.done)}")
        if self._errors:
            raise self._errors[0]

    def wait(self, rows: int) -> None:
        """Wait until that many more rows are written."""
        goal = self.done.total() + rows
        wait_until(lambda: self._errors or self.done.total() >= goal, f"{rows} more rows are written")

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        try:
            with self._server.connect(user=USER, password=PASSWORD, database=self._schema) as connection:
                while not self._stopping.wait(0.005):
                    self._transaction(connection, rng)
        except BaseException as error:  # noqa: BLE001 - raised where the writers are stopped
            self._errors.append(error)

    def _transaction(self, connection: "Connection[Cursor]", rng: random.Random) -> None:
        alone = rng.random() < 0.5
        if not alone:
            connection.begin()
        for _ in range(1 if alone else rng.randrange(2, 5)):
            _try(connection, _statement(rng), self.done)
        if not alone:
            try:
                if rng.random() < 0.8:
                    connection.commit()
            except pymysql.MySQLError as error:
                if error.args[0] not in EXPECTED:
                    raise
            connection.rollback()  # a refused commit leaves the transaction open, and the next BEGIN would commit it
